"""Making huge pages of small ones: MADV_COLLAPSE and khugepaged, and what they leave alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from vm_world import HEAP, HEAP_FLAGS, assert_clean, assert_invariants, run_alone

from sugarbush.concurrency import check, join, spawn
from sugarbush.concurrency.lowlevel import quiet
from sugarbush.vm.access.user import Killed, user_load, user_store
from sugarbush.vm.faults.uffd import userfaultfd_register, userfaultfd_writeprotect
from sugarbush.vm.files.filemap import fput
from sugarbush.vm.huge import collapse
from sugarbush.vm.huge.collapse import khugepaged_scan_mm_slot
from sugarbush.vm.huge.huge_zero import shrink_huge_zero_page_scan
from sugarbush.vm.objects.errno import EAGAIN, EINVAL, ENOMEM
from sugarbush.vm.objects.layout import PAGE_SIZE, VM_HUGEPAGE
from sugarbush.vm.objects.mm_types import MM_ANONPAGES, AddressSpace, MmStruct, VmArea
from sugarbush.vm.objects.pgtable_types import Present
from sugarbush.vm.spaces.mm import get_mm_counter
from sugarbush.vm.syscalls.fork import sys_fork
from sugarbush.vm.syscalls.madvise import sys_madvise
from sugarbush.vm.syscalls.mman import (
    MADV_COLLAPSE,
    MADV_DONTNEED,
    MADV_HUGEPAGE,
    MADV_NOHUGEPAGE,
    MAP_FIXED,
    MAP_PRIVATE,
    PROT_READ,
    PROT_WRITE,
)
from sugarbush.vm.syscalls.mmap import do_mmap, sys_mmap
from sugarbush.vm.syscalls.mprotect import sys_mprotect
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import Machine, boot
from sugarbush.vm.vmas.munmap import do_munmap

PMD_SIZE = 2 * PAGE_SIZE
FRAMES = 12
STRATEGIES = ["pct", "random"]


def started(pages: int, *stored: int, huge: bool = False) -> tuple[Machine, MmStruct]:
    """A process with so many pages, of which the given ones were stored to."""
    machine = boot(FRAMES)
    mm = machine.add_mm("cc1", HEAP)
    do_mmap(mm, HEAP, pages * PAGE_SIZE, HEAP_FLAGS | (VM_HUGEPAGE if huge else 0))
    for number in stored:
        user_store(mm, HEAP + number * PAGE_SIZE, number)
    return machine, mm


def ended(machine: Machine, *mms: MmStruct) -> None:
    assert_invariants(machine)
    for mm in mms:
        exit_mmap(mm)
        machine.remove_mm(mm)
    shrink_huge_zero_page_scan(machine.memory)
    check(len(machine.memory.free_list) == FRAMES, "all frames are free")


def huge_pages(mm: MmStruct) -> list[int]:
    """Where huge pages are mapped, in units of one."""
    with quiet():
        return [
            index - HEAP // PMD_SIZE for index, pmd in sorted(mm.pmds.items()) if isinstance(pmd, Present)
        ]


def collapsed(mm: MmStruct, first: int = 0, pages: int = 2) -> int:
    return sys_madvise(mm, HEAP + first * PAGE_SIZE, pages * PAGE_SIZE, MADV_COLLAPSE)


def alone(program: Callable[[], object]) -> None:
    assert_clean(run_alone(program))


# -- alone --------------------------------------------------------------------------------------------------------


def test_small_pages_become_a_huge_one_without_having_been_asked_for() -> None:
    def program() -> None:
        machine, mm = started(4, 0, 1, 2, 3)
        check(khugepaged_scan_mm_slot(mm) == 0, "khugepaged goes by MADV_HUGEPAGE")
        check(collapsed(mm, 0, 4) == 0 and huge_pages(mm) == [0, 1], "MADV_COLLAPSE is an order")
        check([user_load(mm, HEAP + n * PAGE_SIZE) for n in range(4)] == [0, 1, 2, 3], "nothing is lost")
        check(collapsed(mm, 0, 4) == 0, "what is huge already counts as made")
        ended(machine, mm)

    alone(program)


@pytest.mark.parametrize("read", [False, True], ids=["empty", "zero-page"])
def test_holes_become_part_of_it_and_count(read: bool) -> None:
    def program() -> None:
        machine, mm = started(2, 1, huge=False)
        if read:
            user_load(mm, HEAP)
        check(get_mm_counter(mm, MM_ANONPAGES) == 1, "one page")
        check(collapsed(mm) == 0 and huge_pages(mm) == [0], "collapsed")
        check(get_mm_counter(mm, MM_ANONPAGES) == 2, "the hole counts now")
        check(user_load(mm, HEAP) == 0 and user_load(mm, HEAP + PAGE_SIZE) == 1, "zeroes, and what was there")
        ended(machine, mm)

    alone(program)


def test_khugepaged_comes_where_it_was_asked_for() -> None:
    def program() -> None:
        machine = boot(FRAMES)
        mm = machine.add_mm("cc1", HEAP)
        do_mmap(mm, HEAP, 4 * PAGE_SIZE, HEAP_FLAGS)
        for number in (0, 1, 3):
            user_store(mm, HEAP + number * PAGE_SIZE, number)
        sys_madvise(mm, HEAP, 4 * PAGE_SIZE, MADV_HUGEPAGE)
        check(khugepaged_scan_mm_slot(mm) == 1 and huge_pages(mm) == [0], "one at a time")
        check(khugepaged_scan_mm_slot(mm) == 1 and huge_pages(mm) == [0, 1], "one hole of two it permits")
        ended(machine, mm)

    alone(program)


def test_what_cannot_be_collapsed_says_why() -> None:
    def program() -> None:
        machine, mm = started(8, 0, 1, 2, 3)
        check(collapsed(mm, 0, 1) == 0 and not huge_pages(mm), "no huge page fits, so none is missing")
        check(collapsed(mm, 4, 2) == EINVAL, "nothing is there, and no page table")
        check(collapsed(mm, 6, 4) == EINVAL, "the same, and a hole behind it")
        sys_mprotect(mm, HEAP, PMD_SIZE, PROT_READ)
        check(collapsed(mm) == EINVAL, "nothing that may be written to")
        sys_madvise(mm, HEAP + PMD_SIZE, PMD_SIZE, MADV_NOHUGEPAGE)
        check(collapsed(mm, 2, 2) == EINVAL, "not wanted")
        file = AddressSpace("object.o")
        there = HEAP + 16 * PAGE_SIZE
        sys_mmap(mm, there, PMD_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file)
        check(sys_madvise(mm, there, PMD_SIZE, MADV_COLLAPSE) == EINVAL, "files are not")
        check(not huge_pages(mm), "nothing was made")
        exit_mmap(mm)
        machine.remove_mm(mm)
        fput(machine.memory, file)

    alone(program)


def test_a_page_that_somebody_else_has_is_left_and_the_next_is_made() -> None:
    def program() -> None:
        machine, mm = started(4, 0, 1, 2, 3)
        child = sys_fork(machine, mm, "as")
        assert child is not None
        for number in (2, 3):
            user_store(mm, HEAP + number * PAGE_SIZE, "own")
        check(collapsed(mm, 0, 4) in (EAGAIN, EINVAL), "not all")
        check(huge_pages(mm) == [1], "what could be")
        ended(machine, child, mm)

    alone(program)


def test_without_a_huge_page_it_is_for_want_of_memory() -> None:
    def program() -> None:
        machine, mm = started(2 * FRAMES, *range(FRAMES - 1))
        check(collapsed(mm) == ENOMEM, "no huge page is free")
        ended(machine, mm)

    alone(program)


def test_what_userfaultfd_protects_stays_small() -> None:
    def program() -> None:
        machine, mm = started(2, 0, 1)
        userfaultfd_register(mm, HEAP)
        userfaultfd_writeprotect(mm, HEAP, HEAP + PAGE_SIZE, protect=True)
        check(collapsed(mm) == EINVAL and not huge_pages(mm), "protected")
        userfaultfd_writeprotect(mm, HEAP, HEAP + PAGE_SIZE, protect=False)
        sys_madvise(mm, HEAP + PAGE_SIZE, PAGE_SIZE, MADV_DONTNEED)
        check(collapsed(mm) == EINVAL, "a hole is not filled where somebody watches")
        ended(machine, mm)

    alone(program)


# -- at the same time ---------------------------------------------------------------------------------------------


def collapse_beside_the_process() -> None:
    """The process unmaps, stores and gives up what another thread has collapsed."""
    machine, mm = started(6, 0, 1, 2, 3, 4, 5)

    def change() -> None:
        user_store(mm, HEAP + PAGE_SIZE, "late")
        do_munmap(mm, HEAP + 3 * PAGE_SIZE, 3 * PAGE_SIZE)
        sys_madvise(mm, HEAP, PAGE_SIZE, MADV_DONTNEED)

    join(spawn(collapsed, mm, 0, 6), spawn(change), spawn(lambda: khugepaged_scan_mm_slot(mm)))
    check([user_load(mm, HEAP + n * PAGE_SIZE) for n in range(3)] == [0, "late", 2], "nothing is lost")
    ended(machine, mm)


@pytest.mark.parametrize("executions", [83, pytest.param(250, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_collapse_beside_changes(strategy: str, executions: int) -> None:
    assert_clean(run_alone(collapse_beside_the_process, executions=executions, strategy=strategy))


def collapse_beside_growth() -> None:
    """What is behind the range is collapsed by nobody, however long the VMA becomes while mmap_lock is not held."""
    machine, mm = started(4, 0, 1, 2, 3)
    join(
        spawn(collapsed, mm, 0, 4),
        spawn(lambda: (do_mmap(mm, HEAP + 4 * PAGE_SIZE, PMD_SIZE, HEAP_FLAGS), store_behind(mm))),
    )
    check(not set(huge_pages(mm)) - {0, 1}, "no more than was asked for")
    ended(machine, mm)


def store_behind(mm: MmStruct) -> None:
    for number in (4, 5):
        try:
            user_store(mm, HEAP + number * PAGE_SIZE, "behind")
        except Killed:
            pass


def test_no_more_is_collapsed_than_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """52dc031088f0: the end of the VMA, which is looked up again, is not the end of the range."""
    assert_clean(run_alone(collapse_beside_growth, executions=200, strategy="pct"))

    def limit_of_collapse(vma: VmArea, _last: int) -> int:
        return int(vma.vm_end & -PMD_SIZE)

    monkeypatch.setattr(collapse, "limit_of_collapse", limit_of_collapse)
    result = run_alone(collapse_beside_growth, executions=2000, strategy="pct")
    assert ["no more than was asked for" in one.failure.headline for one in result.failures] == [True]
