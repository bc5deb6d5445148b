"""The zero page and the huge one: who maps them, who counts them (nobody), and when the huge one is freed."""

from __future__ import annotations

import pytest
from vm_world import HEAP, HEAP_FLAGS, assert_clean, assert_invariants, run_alone

from sugarbush.concurrency import check, join, spawn
from sugarbush.concurrency.lowlevel import peek, quiet
from sugarbush.vm.access.user import user_load, user_store
from sugarbush.vm.faults.uffd import userfaultfd_register, userfaultfd_writeprotect
from sugarbush.vm.huge import huge_zero
from sugarbush.vm.huge.huge_zero import put_huge_zero_page, shrink_huge_zero_page_scan
from sugarbush.vm.objects.layout import PAGE_SIZE, VM_HUGEPAGE, VM_MERGEABLE
from sugarbush.vm.objects.mm_types import MM_ANONPAGES, MmStruct
from sugarbush.vm.objects.pgtable_types import Present
from sugarbush.vm.reclaim.migrate import compact_zone
from sugarbush.vm.reclaim.numa import task_numa_work
from sugarbush.vm.reclaim.vmscan import kswapd
from sugarbush.vm.spaces.mm import get_mm_counter
from sugarbush.vm.syscalls.fork import sys_fork
from sugarbush.vm.syscalls.madvise import sys_madvise
from sugarbush.vm.syscalls.mman import (
    MADV_DONTNEED,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    PROT_NONE,
    PROT_READ,
    PROT_WRITE,
)
from sugarbush.vm.syscalls.mmap import do_mmap
from sugarbush.vm.syscalls.mprotect import sys_mprotect
from sugarbush.vm.syscalls.mremap import sys_mremap
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import Machine, boot
from sugarbush.vm.vmas.munmap import do_munmap

PMD_SIZE = 2 * PAGE_SIZE
FRAMES = 8
KINDS = pytest.mark.parametrize("huge", [False, True], ids=["small", "huge"])
STRATEGIES = ["pct", "random"]


def started(huge: bool = False, pages: int = 2) -> tuple[Machine, MmStruct]:
    """A process with fresh memory."""
    machine = boot(FRAMES)
    mm = machine.add_mm("cc1", HEAP)
    do_mmap(mm, HEAP, pages * PAGE_SIZE, HEAP_FLAGS | VM_MERGEABLE | (VM_HUGEPAGE if huge else 0))
    return machine, mm


def ended(machine: Machine, *mms: MmStruct) -> None:
    """All ends, and the shrinker comes: nothing is left."""
    for mm in mms:
        exit_mmap(mm)
        machine.remove_mm(mm)
    shrink_huge_zero_page_scan(machine.memory)
    check(len(machine.memory.free_list) == FRAMES, "all frames are free")
    check(peek(machine.memory.zero_page, "refcount") == 1, "nobody has counted the zero page")


def users(machine: Machine) -> int:
    """How many address spaces have a reference to the huge zero page."""
    return max(0, peek(machine.memory.huge_zero, "refcount") - 1)


# -- alone --------------------------------------------------------------------------------------------------------


def test_what_is_only_read_costs_nothing_and_has_no_anon_vma() -> None:
    def program() -> None:
        machine, mm = started()
        check([user_load(mm, HEAP), user_load(mm, HEAP + PAGE_SIZE)] == [0, 0], "zeroes")
        with quiet():
            [(_, _, vma)] = mm.mm_mt.ranges()
            assert vma.anon_vma is None
            assert len(machine.memory.free_list) == FRAMES
        check(get_mm_counter(mm, MM_ANONPAGES) == 0, "not resident")
        check(
            compact_zone(machine.memory) == 0 and kswapd(machine.memory, 4) == 0,
            "never moved, never reclaimed",
        )
        user_store(mm, HEAP, "token")
        check(user_load(mm, HEAP) == "token" and user_load(mm, HEAP + PAGE_SIZE) == 0, "one copy")
        check(get_mm_counter(mm, MM_ANONPAGES) == 1, "which counts")
        assert_invariants(machine)
        ended(machine, mm)

    assert_clean(run_alone(program))


def test_the_huge_zero_page_is_one_for_all_and_goes_with_the_last() -> None:
    def program() -> None:
        machine, mm = started(huge=True, pages=4)
        other = machine.add_mm("as", HEAP)
        do_mmap(other, HEAP, PMD_SIZE, HEAP_FLAGS | VM_HUGEPAGE)
        for address in (HEAP, HEAP + PMD_SIZE):
            check(user_load(mm, address) == 0, "zeroes")
        check(user_load(other, HEAP + PAGE_SIZE) == 0, "zeroes")
        check(users(machine) == 2, "one reference for each address space")
        check(len(machine.memory.free_list) == FRAMES - 2, "one huge page")
        check(get_mm_counter(mm, MM_ANONPAGES) == 0, "not resident")
        assert_invariants(machine)
        do_munmap(mm, HEAP, 2 * PMD_SIZE)
        check(shrink_huge_zero_page_scan(machine.memory) == 0, "it stays until the address spaces end")
        ended(machine, mm, other)

    assert_clean(run_alone(program))


def test_a_store_to_the_huge_zero_page_copies_one_small_page() -> None:
    def program() -> None:
        machine, mm = started(huge=True)
        user_load(mm, HEAP)
        user_store(mm, HEAP + PAGE_SIZE, "token")
        check(user_load(mm, HEAP) == 0 and user_load(mm, HEAP + PAGE_SIZE) == "token", "one copy")
        check(get_mm_counter(mm, MM_ANONPAGES) == 1, "which counts")
        assert_invariants(machine)
        ended(machine, mm)

    assert_clean(run_alone(program))


def test_without_the_huge_zero_page_a_read_gets_a_huge_page() -> None:
    def program() -> None:
        machine, mm = started(huge=True)
        machine.memory.huge_zero.use = False
        check(user_load(mm, HEAP) == 0 and get_mm_counter(mm, MM_ANONPAGES) == 2, "a page of its own")
        check(users(machine) == 0, "none is made")
        ended(machine, mm)

    assert_clean(run_alone(program))


@KINDS
def test_everything_that_takes_an_entry_treats_it_as_special(huge: bool) -> None:
    def program() -> None:
        machine, mm = started(huge)
        user_load(mm, HEAP)
        task_numa_work(mm)
        with quiet():
            entry = mm.pmds[HEAP // PMD_SIZE]
            entry = entry if isinstance(entry, Present) else entry.entries[0]
            assert not entry.protnone
        for rights in (PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE):
            check(sys_mprotect(mm, HEAP, PMD_SIZE, rights) == 0, "mprotect")
        child = sys_fork(machine, mm, "as")
        there = HEAP + 4 * PMD_SIZE
        sys_mremap(mm, HEAP, PMD_SIZE, PMD_SIZE, MREMAP_FIXED | MREMAP_MAYMOVE, there)
        check(user_load(mm, there) == 0 and user_load(child, HEAP) == 0, "zeroes in both")
        user_store(mm, there, "parent")
        user_store(child, HEAP, "child")
        check(user_load(mm, there) == "parent" and user_load(child, HEAP) == "child", "each its own")
        sys_madvise(mm, there, PMD_SIZE, MADV_DONTNEED)
        check(user_load(mm, there) == 0, "fresh")
        assert_invariants(machine)
        ended(machine, child, mm)

    assert_clean(run_alone(program))


@KINDS
def test_a_protection_by_userfaultfd_outlives_the_split(huge: bool) -> None:
    def program() -> None:
        machine, mm = started(huge)
        user_load(mm, HEAP)
        user_load(mm, HEAP + PAGE_SIZE)
        userfaultfd_register(mm, HEAP)
        userfaultfd_writeprotect(mm, HEAP, HEAP + PMD_SIZE, protect=True)
        # Half of it goes, so that a huge entry has to be split.
        sys_madvise(mm, HEAP + PAGE_SIZE, PAGE_SIZE, MADV_DONTNEED)
        store = spawn(user_store, mm, HEAP, "late")
        check(user_load(mm, HEAP) == 0, "the store waits")
        userfaultfd_writeprotect(mm, HEAP, HEAP + PMD_SIZE, protect=False)
        join(store)
        check(user_load(mm, HEAP) == "late", "and is made")
        ended(machine, mm)

    assert_clean(run_alone(program, executions=60))


@pytest.mark.parametrize("faults", [1, 2])
def test_without_memory_nothing_is_counted(faults: int) -> None:
    def program() -> None:
        machine, mm = started(huge=True)
        child = None
        try:
            user_load(mm, HEAP)
            child = sys_fork(machine, mm, "as")
            user_store(mm, HEAP, "token")
        except Exception as signal:
            check(type(signal).__name__ == "Killed", str(signal))
        assert_invariants(machine)
        ended(machine, *([mm] if child is None else [child, mm]))

    assert_clean(run_alone(program, executions=150, faults=faults))


# -- at the same time ---------------------------------------------------------------------------------------------


def readers_beside_a_shrinker() -> None:
    """Two processes read fresh memory, one gives it up and reads again; the shrinker comes by."""
    machine, mm = started(huge=True)
    other = machine.add_mm("as", HEAP)
    do_mmap(other, HEAP, PMD_SIZE, HEAP_FLAGS | VM_HUGEPAGE)

    def use() -> None:
        check(user_load(mm, HEAP) == 0, "zeroes")
        sys_madvise(mm, HEAP, PMD_SIZE, MADV_DONTNEED)
        check(user_load(mm, HEAP + PAGE_SIZE) == 0, "zeroes")

    def live() -> None:
        check(user_load(other, HEAP) == 0, "zeroes")
        exit_mmap(other)
        machine.remove_mm(other)

    join(spawn(use), spawn(live), spawn(shrink_huge_zero_page_scan, machine.memory))
    ended(machine, mm)


@pytest.mark.parametrize("executions", [100, pytest.param(300, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_shrinker_beside_those_who_come_and_go(strategy: str, executions: int) -> None:
    assert_clean(run_alone(readers_beside_a_shrinker, executions=executions, strategy=strategy))


@pytest.mark.parametrize("executions", [40, pytest.param(120, marks=pytest.mark.exhaustive)])
@KINDS
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_read_beside_a_store_and_a_fork(huge: bool, strategy: str, executions: int) -> None:
    def program() -> None:
        machine, mm = started(huge)
        child, _, _ = join(
            spawn(sys_fork, machine, mm, "as"),
            spawn(user_load, mm, HEAP),
            spawn(user_store, mm, HEAP + PAGE_SIZE, "token"),
        )
        check(user_load(mm, HEAP) == 0 and user_load(mm, HEAP + PAGE_SIZE) == "token", "the parent")
        check(user_load(child, HEAP + PAGE_SIZE) in (0, "token"), "the child")
        assert_invariants(machine)
        ended(machine, mm, child)

    assert_clean(run_alone(program, executions=executions, strategy=strategy))


# -- what would be wrong ------------------------------------------------------------------------------------------


def test_a_reference_that_is_given_back_too_early_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address space drops what it has at its first DONTNEED: the page goes while it is mapped."""

    def program() -> None:
        machine, mm = started(huge=True, pages=4)
        user_load(mm, HEAP)
        user_load(mm, HEAP + PMD_SIZE)
        put_huge_zero_page(machine.memory)
        shrink_huge_zero_page_scan(machine.memory)

    assert [one.failure.check for one in run_alone(program).failures] == ["tlb"]
    monkeypatch.setattr(huge_zero, "_SHRINKER", 0)

    def none_for_the_shrinker() -> None:
        machine, mm = started(huge=True)
        user_load(mm, HEAP)
        exit_mmap(mm)
        machine.remove_mm(mm)

    assert [one.failure.check for one in run_alone(none_for_the_shrinker).failures] == ["refcount"]
