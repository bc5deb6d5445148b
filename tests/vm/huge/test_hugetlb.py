"""Files in hugetlbfs: who shares a page-table page, who leaves it and when, and what must never be shared."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from vm_world import HEAP, assert_clean, assert_invariants, run_alone

from sugarbush.concurrency import Failure, RwSemaphore, check, join, spawn
from sugarbush.concurrency.lowlevel import quiet
from sugarbush.stress.kit.patches import Patch, applied, patch
from sugarbush.vm.access.file_io import generic_file_write
from sugarbush.vm.access.user import Killed, user_load, user_store
from sugarbush.vm.checks.invariants import mapcounts, shared_in_vma
from sugarbush.vm.faults.uffd import userfaultfd_register
from sugarbush.vm.faults.uffd_copy import userfaultfd, userfaultfd_copy
from sugarbush.vm.files import hugetlbfs
from sugarbush.vm.files.filemap import fput
from sugarbush.vm.files.hugetlbfs import HugetlbFile
from sugarbush.vm.frames.pgtable import pte_cache
from sugarbush.vm.frames.tlb import MmuGather
from sugarbush.vm.huge import hugetlb
from sugarbush.vm.huge.hugetlb import hugetlb_change_protection
from sugarbush.vm.objects.errno import EFAULT, EINVAL
from sugarbush.vm.objects.layout import PAGE_SIZE, PTRS_PER_PTE
from sugarbush.vm.objects.mm_types import MmStruct, VmArea
from sugarbush.vm.objects.pgtable_types import PageTable
from sugarbush.vm.reclaim.nonlinear import remap_file_pages
from sugarbush.vm.reclaim.numa import task_numa_work
from sugarbush.vm.spaces.vma import vma_set_page_prot
from sugarbush.vm.syscalls import mprotect
from sugarbush.vm.syscalls.fork import sys_fork
from sugarbush.vm.syscalls.madvise import sys_madvise
from sugarbush.vm.syscalls.mman import (
    MADV_DONTFORK,
    MADV_DONTNEED,
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_NORESERVE,
    MAP_SHARED,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    PROT_READ,
    PROT_WRITE,
)
from sugarbush.vm.syscalls.mmap import sys_mmap
from sugarbush.vm.syscalls.mprotect import sys_mprotect
from sugarbush.vm.syscalls.mremap import sys_mremap
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import Machine, boot
from sugarbush.vm.vmas.munmap import do_munmap

PMD_SIZE = PTRS_PER_PTE * PAGE_SIZE
FRAMES = 8
PAGES = 4
SECOND = HEAP + PAGE_SIZE
"""The second page: its entry is in the page-table page of the first."""
READ_WRITE = PROT_READ | PROT_WRITE
STRATEGIES = ["pct", "random"]


class World:
    """Processes that map one file of `PAGES` huge pages at `HEAP`, all of it or so much as `sizes` say, in bytes."""

    def __init__(self, *sizes: int, prots: tuple[int, ...] = (), pages: int = PAGES) -> None:
        self.machine = boot(FRAMES)
        self.file = HugetlbFile("pool", pages)
        self.scarce = pages < PAGES
        self.mms: list[MmStruct] = []
        for number, size in enumerate(sizes):
            self.map(
                self.machine.add_mm("abc"[number], HEAP), HEAP, size, 0, (prots or (READ_WRITE,) * 3)[number]
            )

    def map(self, mm: MmStruct, address: int, size: int, offset: int = 0, prot: int = READ_WRITE) -> int:
        self.mms += [] if mm in self.mms else [mm]
        # Where there are too few pages for all that is mapped, nobody is promised any.
        flags = MAP_SHARED | MAP_FIXED | (MAP_NORESERVE if self.scarce else 0)
        return sys_mmap(mm, address, size, prot, flags, self.file, offset)

    def table(self, number: int, address: int = HEAP) -> PageTable | None:
        """The page-table page that a process has there."""
        table = self.mms[number].pmds.get(address // PMD_SIZE)
        assert table is None or isinstance(table, PageTable)
        return table

    def exit(self, mm: MmStruct) -> None:
        exit_mmap(mm)
        self.machine.remove_mm(mm)
        self.mms.remove(mm)

    def end(self) -> None:
        """Everything goes, and nothing is left."""
        for mm in list(self.mms):
            self.exit(mm)
        fput(self.machine.memory, self.file)
        check(len(self.machine.memory.free_list) == FRAMES, "all frames are free")


def store(mm: MmStruct, address: int, token: object) -> None:
    """A store that may be a signal, where something unmaps beside it, or memory is missing."""
    try:
        user_store(mm, address, token)
    except Killed:
        pass


def load(mm: MmStruct, address: int) -> object:
    try:
        return user_load(mm, address)
    except Killed:
        return None


def alone(program: Callable[[], object]) -> None:
    """The program ends cleanly under all checks, leaks among them."""
    assert_clean(run_alone(program))


# -- sharing ------------------------------------------------------------------------------------------------------


def test_mappings_that_cover_it_use_one_page_table_page() -> None:
    def program() -> None:
        world = World(PMD_SIZE, PMD_SIZE, PMD_SIZE)
        first, second, third = world.mms
        user_store(first, HEAP, "one")
        check(user_load(second, HEAP) == "one", "the file has what the first wrote")
        user_store(third, SECOND, "two")
        table = world.table(0)
        assert table is not None
        check(world.table(1) is table and world.table(2) is table, "they share")
        check(table.pt_share_count == 2, "two besides the first")
        check(user_load(first, SECOND) == "two", "the first had no fault there, and sees it")
        page = world.file.pages[1]
        check(page.mapcount == 1, "an entry of a shared table counts once")
        assert_invariants(world.machine)
        world.end()

    alone(program)


@pytest.mark.parametrize(
    ("size", "address", "offset", "prot"),
    [
        (PAGE_SIZE, HEAP, 0, READ_WRITE),
        (PMD_SIZE, SECOND, 0, READ_WRITE),
        (PMD_SIZE, HEAP, PAGE_SIZE, READ_WRITE),
        (PMD_SIZE, HEAP, 0, PROT_READ),
    ],
    ids=["a part", "across a border", "other pages", "other rights"],
)
def test_others_have_a_page_table_page_of_their_own(size: int, address: int, offset: int, prot: int) -> None:
    def program() -> None:
        world = World(PMD_SIZE)
        user_store(world.mms[0], HEAP, "one")
        other = world.machine.add_mm("b", HEAP)
        check(world.map(other, address, size, offset, prot) == address, "mapped")
        check(user_load(other, address) == ("one" if offset == 0 else 0), "the pages are the file's")
        table = world.table(1, address)
        check(table is not None and table.pt_share_count == 0, "a table of its own")
        check(table is not world.table(0), "not that of the first")
        world.end()

    alone(program)


def test_a_mapping_may_share_with_another_of_the_same_process() -> None:
    def program() -> None:
        world = World(PMD_SIZE)
        mm, again = world.mms[0], HEAP + 2 * PMD_SIZE
        user_store(mm, HEAP, "one")
        world.map(mm, again, PMD_SIZE)
        check(user_load(mm, again) == "one", "the same page")
        check(world.table(0, again) is world.table(0), "one table, twice")
        do_munmap(mm, HEAP, PMD_SIZE)
        check(user_load(mm, again) == "one", "it is still there")
        world.end()

    alone(program)


def test_fork_copies_no_entries_and_the_child_shares() -> None:
    def program() -> None:
        world = World(PMD_SIZE)
        user_store(world.mms[0], HEAP, "before")
        child = sys_fork(world.machine, world.mms[0], "child")
        assert child is not None
        world.mms.append(child)
        check(world.table(1) is None, "nothing yet")
        user_store(world.mms[0], HEAP, "after")
        check(user_load(child, HEAP) == "after", "shared memory")
        check(world.table(1) is world.table(0), "shared table")
        world.end()

    alone(program)


def test_numa_balancing_passes_it_over() -> None:
    def program() -> None:
        world = World(PMD_SIZE, PMD_SIZE)
        for mm in world.mms:
            user_store(mm, HEAP, mm.name)
        table = world.table(0)
        assert table is not None
        before = list(table.entries)
        check(task_numa_work(world.mms[0]), "nobody has mmap_lock")
        check(table.entries == before, "the entries are those of others, too")
        world.end()

    alone(program)


# -- leaving ------------------------------------------------------------------------------------------------------


def cut(mm: MmStruct, start: int, length: int) -> None:
    """Split the mapping, and change nothing else."""
    check(sys_madvise(mm, start, length, MADV_DONTFORK) == 0, "there is memory")


def test_a_cut_leaves_the_shared_page_and_does_not_share_it_again() -> None:
    def program() -> None:
        world = World(PMD_SIZE, PMD_SIZE)
        user_store(world.mms[0], HEAP, "one")
        user_load(world.mms[1], HEAP)
        cut(world.mms[0], SECOND, PMD_SIZE - PAGE_SIZE)
        check(world.mms[0].map_count == 2, "it is cut")
        check(world.table(0) is None, "it has left")
        table = world.table(1)
        check(table is not None and table.pt_share_count == 0, "the other one is alone")
        check(user_load(world.mms[0], HEAP) == "one", "a fault brings the page back")
        check(world.table(0) is not table, "in a table of its own")
        world.end()

    alone(program)


def test_a_cut_at_the_border_of_the_shared_page_leaves_nothing() -> None:
    def program() -> None:
        world = World(2 * PMD_SIZE, 2 * PMD_SIZE)
        for address in (HEAP, HEAP + PMD_SIZE):
            user_store(world.mms[0], address, address)
            user_load(world.mms[1], address)
        cut(world.mms[0], HEAP + PMD_SIZE, PMD_SIZE)
        for address in (HEAP, HEAP + PMD_SIZE):
            check(world.table(0, address) is world.table(1, address) is not None, "still shared")
        world.end()

    alone(program)


@pytest.mark.parametrize("size", [PAGE_SIZE, PMD_SIZE])
def test_mprotect_is_felt_by_its_process_only(size: int) -> None:
    def program() -> None:
        world = World(PMD_SIZE, PMD_SIZE)
        first, second = world.mms
        user_store(first, HEAP, "one")
        user_load(second, HEAP)
        check(sys_mprotect(first, HEAP, size, PROT_READ) == 0, "there is memory")
        user_store(second, HEAP, "two")
        check(user_load(first, HEAP) == "two", "readable")
        with pytest.raises(Killed):
            user_store(first, HEAP, "three")
        check(sys_mprotect(first, HEAP, size, READ_WRITE) == 0, "there is memory")
        user_store(first, HEAP, "four")
        check(user_load(second, HEAP) == "four", "writable again")
        assert_invariants(world.machine)
        world.end()

    alone(program)


def test_an_unmapped_part_is_gone_for_its_process_only() -> None:
    def program() -> None:
        world = World(PMD_SIZE, PMD_SIZE)
        first, second = world.mms
        for address in (HEAP, SECOND):
            user_store(first, address, address)
            user_load(second, address)
        check(do_munmap(first, SECOND, PMD_SIZE - PAGE_SIZE) == 0, "there is memory")
        check(user_load(first, HEAP) == HEAP, "the rest is there")
        with pytest.raises(Killed):
            user_load(first, SECOND)
        check(user_load(second, SECOND) == SECOND, "the other one has all of it")
        world.exit(second)
        check(user_load(first, HEAP) == HEAP, "the rest is still there")
        world.end()

    alone(program)


def test_given_up_pages_come_back_from_the_file() -> None:
    def program() -> None:
        world = World(PMD_SIZE, PMD_SIZE)
        user_store(world.mms[0], HEAP, "one")
        user_load(world.mms[1], HEAP)
        check(sys_madvise(world.mms[0], HEAP, PMD_SIZE, MADV_DONTNEED) == 0, "it may be given up")
        check(world.table(0) is None and world.table(1) is not None, "it has left")
        check(user_load(world.mms[0], HEAP) == "one", "a file keeps what was written")
        check(world.table(0) is world.table(1), "it has joined again")
        world.end()

    alone(program)


# -- what is refused ----------------------------------------------------------------------------------------------


def test_what_huge_pages_cannot_do_is_refused() -> None:
    def program() -> None:
        world = World(PMD_SIZE)
        mm, file, elsewhere = world.mms[0], world.file, HEAP + 4 * PMD_SIZE
        for flags, address, offset in (
            (MAP_SHARED | MAP_FIXED, elsewhere + 1, 0),
            (MAP_SHARED | MAP_FIXED, elsewhere, 1),
            (MAP_SHARED | MAP_ANONYMOUS, elsewhere, 0),
        ):
            check(sys_mmap(mm, address, PMD_SIZE, READ_WRITE, flags, file, offset) == EINVAL, "mmap")
        check(sys_mremap(mm, HEAP, PMD_SIZE, 2 * PMD_SIZE, MREMAP_MAYMOVE) == EINVAL, "grow")
        fixed = MREMAP_MAYMOVE | MREMAP_FIXED
        check(sys_mremap(mm, HEAP, PMD_SIZE, PMD_SIZE, fixed, elsewhere) == EINVAL, "move")
        check(do_munmap(mm, HEAP + 1, PAGE_SIZE) == EINVAL, "munmap")
        check(remap_file_pages(mm, HEAP, PAGE_SIZE, 1) == EINVAL, "remap_file_pages")
        check(generic_file_write(mm, file, 0, HEAP) == EINVAL, "write")
        check(userfaultfd_register(mm, HEAP) == EFAULT, "userfaultfd")
        check(userfaultfd_copy(userfaultfd(mm), HEAP, "token") == EFAULT, "UFFDIO_COPY")
        check(mm.map_count == 1 and not file.pages, "nothing has changed")
        check(sys_mremap(mm, HEAP, PMD_SIZE, PAGE_SIZE, 0) == HEAP, "it may shrink")
        world.end()

    alone(program)


def test_a_file_has_so_many_pages_and_no_more() -> None:
    def program() -> None:
        world = World(PMD_SIZE, PMD_SIZE, pages=1)
        user_store(world.mms[0], SECOND, "the only one")
        for mm in world.mms:
            with pytest.raises(Killed):
                user_load(mm, HEAP)
            check(user_load(mm, SECOND) == "the only one", "that one is there for all")
        world.end()

    alone(program)


def test_the_last_page_goes_to_one_of_two_faults() -> None:
    def program() -> None:
        world = World(PMD_SIZE, PMD_SIZE, pages=1)
        join(*(spawn(store, mm, HEAP + number * PAGE_SIZE, mm.name) for number, mm in enumerate(world.mms)))
        check(len(world.file.pages) == 1, "one page")
        check(world.file.free_huge_pages == 0, "and no more")
        world.end()

    assert_clean(run_alone(program, executions=200))


@pytest.mark.parametrize("executions", [60, pytest.param(200, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("faults", [1, 2, 3])
def test_without_memory_nothing_is_lost(faults: int, executions: int) -> None:
    def program() -> None:
        world = World(PMD_SIZE, PMD_SIZE)
        for mm in world.mms:
            store(mm, HEAP, mm.name)
            sys_mprotect(mm, SECOND, PAGE_SIZE, PROT_READ)
            do_munmap(mm, SECOND, PAGE_SIZE)
        check(world.file.free_huge_pages == PAGES - len(world.file.pages), "each page is counted")
        assert_invariants(world.machine)
        world.end()

    assert_clean(run_alone(program, executions=executions, faults=faults))


def test_behind_the_end_of_the_file_is_nothing() -> None:
    def program() -> None:
        world = World(PMD_SIZE)
        world.file.i_size = 1
        user_store(world.mms[0], HEAP, "one")
        with pytest.raises(Killed):
            user_load(world.mms[0], SECOND)
        world.end()

    alone(program)


# -- at the same time ---------------------------------------------------------------------------------------------


def dontneed_beside_a_fault() -> None:
    """One process gives its pages up and faults, another one ends its mapping: so the table changes hands."""
    world = World(PMD_SIZE, PMD_SIZE)
    first, second = world.mms
    store(first, HEAP, 1)
    load(second, HEAP)
    join(
        spawn(sys_madvise, first, HEAP, PMD_SIZE, MADV_DONTNEED),
        spawn(store, first, SECOND, 2),
        spawn(do_munmap, second, HEAP, PMD_SIZE),
    )
    world.end()


def munmap_beside_a_fault() -> None:
    """A mapping goes while another process would share its table."""
    world = World(PMD_SIZE, PMD_SIZE)
    first, second = world.mms
    store(first, HEAP, 1)
    join(spawn(do_munmap, first, HEAP, PMD_SIZE), spawn(store, second, SECOND, 2))
    world.end()


def mprotect_beside_a_fault() -> None:
    """A mapping becomes what that of another process is already, which faults."""
    world = World(PMD_SIZE, PMD_SIZE, prots=(READ_WRITE, PROT_READ))
    first, second = world.mms
    store(first, HEAP, 1)
    join(spawn(sys_mprotect, first, HEAP, PMD_SIZE, PROT_READ), spawn(load, second, HEAP))
    world.end()


def parts_beside_faults() -> None:
    """One process changes and unmaps parts, the others store, give up, fork."""
    world = World(PMD_SIZE, PMD_SIZE)
    first, second = world.mms
    store(first, HEAP, 1)

    def change() -> None:
        sys_mprotect(first, HEAP, PAGE_SIZE, PROT_READ)
        store(first, SECOND, 2)
        do_munmap(first, HEAP, PAGE_SIZE)

    def use() -> None:
        store(second, HEAP, 3)
        sys_madvise(second, HEAP, PMD_SIZE, MADV_DONTNEED)
        child = sys_fork(world.machine, second, "child")
        if child is not None:
            store(child, HEAP, 4)
            exit_mmap(child)
            world.machine.remove_mm(child)

    join(spawn(change), spawn(use), spawn(load, first, HEAP))
    world.end()


PROGRAMS = [dontneed_beside_a_fault, munmap_beside_a_fault, mprotect_beside_a_fault, parts_beside_faults]


@pytest.mark.parametrize("executions", [20, pytest.param(60, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("faults", [0, 2])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_all_of_it_may_happen_at_once(
    program: Callable[[], None], faults: int, strategy: str, executions: int
) -> None:
    assert_clean(run_alone(program, executions=executions, faults=faults, strategy=strategy))


class Unlocked:
    """What a VMA's lock would be if it kept nobody out."""

    def down_read(self) -> None:
        """Nothing."""

    up_read = down_write = up_write = down_read


@patch(hugetlbfs.hugetlb_vma_lock)
def hugetlb_vma_lock(_vma: VmArea) -> Unlocked:
    """A fault does not keep the table that it has found."""
    return Unlocked()


@patch(hugetlb.hugetlb_zap_end)
def hugetlb_zap_end(vma: VmArea, lock: RwSemaphore | None, *, final: bool) -> None:
    """An unmapped VMA may still be shared with."""
    hugetlb_zap_end.original(vma, lock, final=False)


@patch(mprotect.mprotect_fixup)
def mprotect_fixup(
    tlb: MmuGather, vma: VmArea, prev: VmArea | None, start: int, end: int, flags: int
) -> VmArea | int:
    """The flags go first, and the entries later, under the lock."""
    vma.vm_flags = flags
    vma_set_page_prot(vma)
    hugetlb_change_protection(vma, start, end, flags)
    return vma


@pytest.mark.parametrize(
    ("wrong", "program", "check_name"),
    [
        (hugetlb_vma_lock, dontneed_beside_a_fault, "coverage"),
        (hugetlb_zap_end, munmap_beside_a_fault, "coverage"),
        (mprotect_fixup, mprotect_beside_a_fault, "rights"),
    ],
    ids=["fault without the lock of the VMA", "unmapped and shared", "flags before the lock"],
)
def test_each_of_these_rules_is_needed(wrong: Patch, program: Callable[[], None], check_name: str) -> None:
    with applied((wrong,)):
        result = run_alone(program, executions=1000, strategy="pct", seed=3)
    assert [one.failure.check for one in result.failures] == [check_name]


# -- the check ----------------------------------------------------------------------------------------------------


def shared_world() -> tuple[World, Machine]:
    world = World(PMD_SIZE, PMD_SIZE)
    for mm in world.mms:
        user_store(mm, HEAP, mm.name)
    return world, world.machine


def test_a_shared_table_outside_of_a_vma_is_seen() -> None:
    world, machine = shared_world()
    with quiet():
        assert shared_in_vma(machine.mms, machine.memory) is None
        vma = world.mms[0].mm_mt.load(HEAP)
    assert vma is not None
    world.file.i_mmap_rwsem.down_write()
    vma.vm_end = SECOND
    with quiet():
        assert shared_in_vma(machine.mms, machine.memory) is None, "while the lock is held it may be so"
    world.file.i_mmap_rwsem.up_write()
    with quiet():
        assert shared_in_vma(machine.mms, machine.memory) == (
            f"a: the shared pte@{HEAP:#x}, mapped at {HEAP:#x}, lies in no VMA as a whole"
        )


def test_a_run_fails_where_a_shared_table_comes_to_lie_across_a_border() -> None:
    def program() -> None:
        world, _ = shared_world()
        with quiet():
            vma = world.mms[0].mm_mt.load(HEAP)
        assert vma is not None
        world.file.i_mmap_rwsem.down_write()
        vma.vm_end = SECOND
        world.file.i_mmap_rwsem.up_write()

    result = run_alone(program, without=("leak", "coverage", "interval-tree", "lockdep"))
    assert [one.failure.check for one in result.failures] == ["shared-in-vma"]


def test_mapcounts_count_a_shared_entry_once() -> None:
    world, machine = shared_world()
    page = world.file.pages[0]
    with quiet():
        assert mapcounts(machine.mms, machine.memory) is None
    page.mapcount = 2
    with quiet():
        assert mapcounts(machine.mms, machine.memory) == f"{page.name}: mapcount is 2, 1 entries map it"


def test_a_shared_table_that_is_used_after_its_free_is_seen() -> None:
    def program() -> None:
        world, _ = shared_world()
        table = world.table(0)
        assert table is not None
        pte_cache.free(table)
        world.mms[1].tlb.clear()
        user_load(world.mms[1], HEAP)

    failure: Failure = run_alone(program, without=("leak",)).failures[0].failure
    assert failure.check == "use-after-free"
