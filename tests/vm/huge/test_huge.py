"""Huge pages: faulted in whole, cut in every way, shared by fork, moved, and split."""

from __future__ import annotations

import pytest
from vm_world import HEAP, assert_clean, run_alone

from sugarbush.concurrency import check, join, spawn
from sugarbush.vm.access.user import user_load, user_store
from sugarbush.vm.frames.page_alloc import alloc_huge, folio_put
from sugarbush.vm.objects.folio import Folio, folio_try_get
from sugarbush.vm.objects.layout import PAGE_SIZE
from sugarbush.vm.objects.mm_types import Memory, MmStruct
from sugarbush.vm.objects.pgtable_types import PageTable
from sugarbush.vm.reclaim.huge_split import split_huge_page
from sugarbush.vm.reclaim.migrate import compact_zone, migrate_folio
from sugarbush.vm.syscalls.brk import sys_brk
from sugarbush.vm.syscalls.fork import sys_fork
from sugarbush.vm.syscalls.madvise import sys_madvise
from sugarbush.vm.syscalls.mman import (
    MADV_DONTNEED,
    MADV_HUGEPAGE,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    PROT_READ,
    PROT_WRITE,
)
from sugarbush.vm.syscalls.mprotect import sys_mprotect
from sugarbush.vm.syscalls.mremap import sys_mremap
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import Machine, boot

STRATEGIES = ["pct", "random"]


@pytest.fixture(params=[2, 4, 8])
def ptrs(request: pytest.FixtureRequest) -> int:
    """How many pages a huge page has."""
    size: int = request.param
    return size


def started(ptrs: int) -> tuple[Machine, MmStruct]:
    """A heap of two huge pages, which are the first on the machine."""
    machine = boot(7 * ptrs, ptrs_per_pte=ptrs)
    mm = machine.add_mm("cc1", HEAP)
    sys_brk(mm, HEAP + 2 * mm.pmd_size)
    sys_madvise(mm, HEAP, 2 * mm.pmd_size, MADV_HUGEPAGE)
    for number in range(2 * ptrs):
        user_store(mm, HEAP + number * PAGE_SIZE, f"token {number}")
    return machine, mm


def ended(machine: Machine, *mms: MmStruct) -> None:
    for mm in mms:
        exit_mmap(mm)
        machine.remove_mm(mm)
    check(len(machine.memory.free_list) == len(machine.memory.mem_map), "all frames are free")


def contents(mm: MmStruct) -> list[object]:
    return [user_load(mm, address) for address in range(HEAP, HEAP + 2 * mm.pmd_size, PAGE_SIZE)]


def tokens(ptrs: int) -> list[str]:
    return [f"token {number}" for number in range(2 * ptrs)]


def split(memory: Memory, folio: Folio) -> None:
    if folio_try_get(folio):
        folio.lock.lock()
        if folio.order:
            split_huge_page(memory, folio)
        folio.lock.unlock()
        folio_put(memory, folio)


def move(memory: Memory, folio: Folio) -> None:
    target = alloc_huge(memory)
    if target is None:
        return
    if folio_try_get(folio):
        migrate_folio(memory, folio, target)
        folio_put(memory, folio)
    else:
        folio_put(memory, target)


def test_a_fault_maps_the_whole_of_it(ptrs: int) -> None:
    def program() -> None:
        machine, mm = started(ptrs)
        check(not any(isinstance(pmd, PageTable) for pmd in mm.pmds.values()), "both are huge")
        check(contents(mm) == tokens(ptrs), "content")
        ended(machine, mm)

    assert_clean(run_alone(program))


@pytest.mark.parametrize(("huge", "small"), [(0, 1), (1, 0), (1, 1), (1, -1)])
def test_trimming_cuts_a_huge_page_where_it_must(ptrs: int, huge: int, small: int) -> None:
    keep = huge * ptrs + small

    def program() -> None:
        machine, mm = started(ptrs)
        sys_brk(mm, HEAP + keep * PAGE_SIZE)
        check(
            [user_load(mm, HEAP + n * PAGE_SIZE) for n in range(keep)] == tokens(ptrs)[:keep], "what is left"
        )
        ended(machine, mm)

    assert_clean(run_alone(program))


def test_parts_and_wholes_of_every_call(ptrs: int) -> None:
    def program() -> None:
        machine, mm = started(ptrs)
        sys_mprotect(mm, HEAP, PAGE_SIZE, PROT_READ)
        sys_mprotect(mm, HEAP, mm.pmd_size, PROT_READ | PROT_WRITE)
        sys_mprotect(mm, HEAP + mm.pmd_size, mm.pmd_size, PROT_READ)
        sys_mprotect(mm, HEAP + mm.pmd_size, mm.pmd_size, PROT_READ | PROT_WRITE)
        target = HEAP + 16 * PAGE_SIZE
        sys_mremap(mm, HEAP + mm.pmd_size, mm.pmd_size, mm.pmd_size, MREMAP_FIXED | MREMAP_MAYMOVE, target)
        check(user_load(mm, target + PAGE_SIZE) == f"token {ptrs + 1}", "moved")
        sys_madvise(mm, target, PAGE_SIZE, MADV_DONTNEED)
        check(user_load(mm, target) == 0, "dropped")
        check(user_load(mm, target + PAGE_SIZE) == f"token {ptrs + 1}", "kept")
        ended(machine, mm)

    assert_clean(run_alone(program))


def test_fork_shares_and_the_first_store_copies_a_page(ptrs: int) -> None:
    def program() -> None:
        machine, mm = started(ptrs)
        child = sys_fork(machine, mm, "as")
        assert child is not None
        user_store(child, HEAP, "child")
        check(contents(mm) == tokens(ptrs), "the parent's")
        check(contents(child) == ["child", *tokens(ptrs)[1:]], "the child's")
        user_store(mm, HEAP + PAGE_SIZE, "parent")
        check(user_load(child, HEAP + PAGE_SIZE) == "token 1", "not the child's")
        ended(machine, mm, child)

    assert_clean(run_alone(program))


def test_split_and_move(ptrs: int) -> None:
    def program() -> None:
        machine, mm = started(ptrs)
        memory = machine.memory
        move(memory, memory.mem_map[0])
        check(memory.mem_map[0].refcount == 0, "the old frames are free")
        check(contents(mm) == tokens(ptrs), "content")
        split(memory, memory.mem_map[ptrs])
        check(memory.mem_map[ptrs].order == memory.mem_map[ptrs + 1].order == 0, "two small pages")
        check(memory.mem_map[ptrs + 1].refcount == 1, "the entry's reference")
        check(contents(mm) == tokens(ptrs), "content")
        ended(machine, mm)

    assert_clean(run_alone(program))


@pytest.mark.parametrize("executions", [50, pytest.param(150, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_everything_at_once(ptrs: int, strategy: str, executions: int) -> None:
    def use(mm: MmStruct) -> None:
        user_store(mm, HEAP, "one")
        check(user_load(mm, HEAP) == "one", "a thread reads back what it wrote")
        sys_brk(mm, HEAP + mm.pmd_size + PAGE_SIZE)
        user_store(mm, HEAP + mm.pmd_size, "two")

    def program() -> None:
        machine, mm = started(ptrs)
        memory = machine.memory
        join(
            spawn(use, mm),
            spawn(move, memory, memory.mem_map[0], name="migrate"),
            spawn(split, memory, memory.mem_map[ptrs], name="split"),
            spawn(compact_zone, memory, name="kcompactd"),
        )
        check(user_load(mm, HEAP) == "one", "the first store")
        check(user_load(mm, HEAP + PAGE_SIZE) == "token 1", "never written to")
        check(user_load(mm, HEAP + mm.pmd_size) == "two", "the last store")
        ended(machine, mm)

    assert_clean(run_alone(program, executions=executions, strategy=strategy))


@pytest.mark.parametrize("executions", [50, pytest.param(150, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_fork_beside_a_move_and_a_split(ptrs: int, strategy: str, executions: int) -> None:
    def program() -> None:
        machine, mm = started(ptrs)
        memory = machine.memory
        child, _, _, _ = join(
            spawn(sys_fork, machine, mm, "as"),
            spawn(move, memory, memory.mem_map[0], name="migrate"),
            spawn(split, memory, memory.mem_map[ptrs], name="split"),
            spawn(user_store, mm, HEAP + PAGE_SIZE, "late"),
        )
        check(user_load(mm, HEAP + PAGE_SIZE) == "late", "the parent keeps its store")
        check(user_load(child, HEAP + PAGE_SIZE) in ("late", "token 1"), "the child has either")
        user_store(child, HEAP, "child")
        check(user_load(mm, HEAP) == "token 0", "not the parent's")
        ended(machine, mm, child)

    assert_clean(run_alone(program, executions=executions, strategy=strategy))


@pytest.mark.parametrize("executions", [33, pytest.param(100, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_huge_page_is_cut_while_it_is_being_moved(ptrs: int, strategy: str, executions: int) -> None:
    """The huge migration entry is split between the two walks: the second finds the small ones."""

    def program() -> None:
        machine, mm = started(ptrs)
        join(
            spawn(sys_brk, mm, HEAP + (ptrs + 1) * PAGE_SIZE),
            spawn(move, machine.memory, machine.memory.mem_map[ptrs]),
        )
        left = [user_load(mm, HEAP + n * PAGE_SIZE) for n in range(ptrs + 1)]
        check(left == tokens(ptrs)[: ptrs + 1], "what is left")
        ended(machine, mm)

    assert_clean(run_alone(program, executions=executions, strategy=strategy))
