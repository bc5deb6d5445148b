"""Private mappings of huge pages, what is promised to them, and holes: who may have a page, and who loses it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from vm_world import HEAP, assert_clean, assert_invariants, run_alone

from sugarbush.concurrency import check, join, spawn
from sugarbush.concurrency.lowlevel import quiet
from sugarbush.vm.access.file_io import vfs_punch_hole
from sugarbush.vm.access.gup import pin_user_page, unpin_user_page
from sugarbush.vm.access.user import Killed, user_load, user_store
from sugarbush.vm.files.filemap import fput
from sugarbush.vm.files.hugetlbfs import HugetlbFile, is_vm_hugetlb_page
from sugarbush.vm.huge.hugetlb_reserve import hugetlb_report_meminfo
from sugarbush.vm.objects.errno import EFAULT, ENOMEM
from sugarbush.vm.objects.folio import Folio
from sugarbush.vm.objects.layout import PAGE_SIZE, VM_SHARED
from sugarbush.vm.objects.mm_types import MmStruct
from sugarbush.vm.objects.resv_map import ResvMap
from sugarbush.vm.reclaim import hugetlb_hole
from sugarbush.vm.reclaim.migrate import compact_zone
from sugarbush.vm.reclaim.truncate import do_truncate
from sugarbush.vm.syscalls.fork import sys_fork
from sugarbush.vm.syscalls.madvise import sys_madvise
from sugarbush.vm.syscalls.mman import (
    MADV_DONTNEED,
    MADV_REMOVE,
    MAP_FIXED,
    MAP_NORESERVE,
    MAP_PRIVATE,
    MAP_SHARED,
    PROT_READ,
    PROT_WRITE,
)
from sugarbush.vm.syscalls.mmap import sys_mmap
from sugarbush.vm.syscalls.mprotect import sys_mprotect
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import boot
from sugarbush.vm.vmas.munmap import do_munmap

READ_WRITE = PROT_READ | PROT_WRITE
FRAMES = 10
SECOND = HEAP + PAGE_SIZE
STRATEGIES = ["pct", "random"]


class World:
    """Processes that map one file of hugetlbfs, and the pool of so many pages behind it."""

    def __init__(self, pool: int, size: int | None = None) -> None:
        self.machine = boot(FRAMES)
        self.pool = pool
        self.file = HugetlbFile("pool", pool, size)
        self.mms: list[MmStruct] = []

    def process(self, pages: int, flags: int = MAP_PRIVATE) -> MmStruct:
        """A process that maps the first pages of the file."""
        mm = self.machine.add_mm("abc"[len(self.mms)], HEAP)
        self.mms.append(mm)
        check(sys_mmap(mm, HEAP, pages * PAGE_SIZE, READ_WRITE, flags | MAP_FIXED, self.file) == HEAP, "mmap")
        return mm

    def fork(self, mm: MmStruct) -> MmStruct:
        child = sys_fork(self.machine, mm, f"{mm.name}'")
        assert child is not None
        self.mms.append(child)
        return child

    def meminfo(self) -> tuple[int, int]:
        """What is free, what of it is promised; the second must be what the maps say."""
        free, reserved = hugetlb_report_meminfo(self.file)
        with quiet():
            expected = promised(self.mms, self.file)
        check(reserved == expected, f"HugePages_Rsvd is {reserved}, the maps say {expected}")
        return free, reserved

    def end(self) -> None:
        assert_invariants(self.machine)
        self.meminfo()
        for mm in self.mms:
            exit_mmap(mm)
            self.machine.remove_mm(mm)
        fput(self.machine.memory, self.file)
        check(hugetlb_report_meminfo(self.file) == (self.pool, 0), "all is back in the pool")
        check(len(self.machine.memory.free_list) == FRAMES, "all frames are free")


def promised(mms: Iterable[MmStruct], file: HugetlbFile) -> int:
    """How many pages are promised and not allocated, by the maps and not by the counter."""
    count = len(file.resv_map.regions - set(file.pages))
    for mm in mms:
        for _, _, vma in mm.mm_mt.ranges():
            resv = vma.vm_private_data
            if is_vm_hugetlb_page(vma) and not vma.vm_flags & VM_SHARED and isinstance(resv, ResvMap):
                first = vma.vm_pgoff
                count += len(
                    set(range(first, first + (vma.vm_end - vma.vm_start) // PAGE_SIZE)) - resv.regions
                )
    return count


def alone(program: Callable[[], object]) -> None:
    assert_clean(run_alone(program))


def load(mm: MmStruct, address: int) -> object:
    """What is there, None if the process is killed for looking."""
    try:
        return user_load(mm, address)
    except Killed:
        return None


def store(mm: MmStruct, address: int, token: object) -> bool:
    try:
        user_store(mm, address, token)
    except Killed:
        return False
    return True


# -- promises -----------------------------------------------------------------------------------------------------


def test_mmap_promises_and_faults_use_it_up() -> None:
    def program() -> None:
        world = World(3)
        mm = world.process(2)
        check(world.meminfo() == (3, 2), "promised")
        other = world.machine.add_mm("late", HEAP)
        flags = MAP_PRIVATE | MAP_FIXED
        check(
            sys_mmap(other, HEAP, 2 * PAGE_SIZE, READ_WRITE, flags, world.file) == ENOMEM, "too few are left"
        )
        check(sys_mmap(other, HEAP, PAGE_SIZE, READ_WRITE, flags, world.file) == HEAP, "one is")
        world.mms.append(other)
        user_store(mm, HEAP, "own")
        check(world.meminfo() == (2, 2), "used up")
        check(load(mm, SECOND) == 0 and world.meminfo() == (1, 1), "a read takes a page of its own, too")
        do_munmap(mm, SECOND, PAGE_SIZE)
        check(world.meminfo() == (2, 1), "its page is back, its promise was used")
        do_munmap(other, HEAP, PAGE_SIZE)
        check(world.meminfo() == (2, 0), "a promise that was not used is given back")
        world.end()

    alone(program)


def test_without_a_promise_a_fault_takes_what_nobody_was_promised() -> None:
    def program() -> None:
        world = World(2)
        mm = world.process(2, MAP_PRIVATE | MAP_NORESERVE)
        other = world.process(1)
        check(store(mm, HEAP, "one") and not store(mm, SECOND, "two"), "the other is promised")
        check(store(other, HEAP, "mine"), "to this one")
        world.end()

    alone(program)


def test_a_shared_promise_belongs_to_the_file() -> None:
    def program() -> None:
        world = World(2)
        mm, other = world.process(2, MAP_SHARED), world.process(2, MAP_SHARED)
        check(world.meminfo() == (2, 2), "promised once")
        user_store(mm, HEAP, "row")
        check(load(other, HEAP) == "row" and world.meminfo() == (1, 1), "and used once")
        do_munmap(mm, HEAP, 2 * PAGE_SIZE)
        check(world.meminfo() == (1, 1), "it outlives the mapping")
        check(sys_madvise(other, HEAP, 2 * PAGE_SIZE, MADV_REMOVE) == 0, "a hole in all of it")
        check(world.meminfo() == (2, 1), "ends the promise of what was there")
        check(load(other, HEAP) == 0, "a new page, if nobody was promised it")
        world.end()

    alone(program)


def test_a_cut_mapping_keeps_its_promises_apart() -> None:
    def program() -> None:
        world = World(4)
        mm = world.process(4)
        user_store(mm, SECOND, "own")
        sys_mprotect(mm, HEAP + 2 * PAGE_SIZE, PAGE_SIZE, PROT_READ)
        check(mm.map_count == 3 and world.meminfo() == (3, 3), "three parts")
        do_munmap(mm, HEAP, 2 * PAGE_SIZE)
        check(world.meminfo() == (4, 2), "the first part had one left")
        world.end()

    alone(program)


# -- copies -------------------------------------------------------------------------------------------------------


def test_a_store_copies_the_page_of_the_file_and_what_a_fork_shares() -> None:
    def program() -> None:
        world = World(6)
        shared, mm = world.process(1, MAP_SHARED), world.process(2)
        user_store(shared, HEAP, "row")
        check(load(mm, HEAP) == "row", "the file's")
        user_store(mm, HEAP, "own")
        check(load(shared, HEAP) == "row", "and not its own copy")
        child = world.fork(mm)
        check(load(child, HEAP) == "own", "shared")
        user_store(child, HEAP, "child")
        check(load(mm, HEAP) == "own", "no more")
        user_store(mm, HEAP, "again")
        check(load(child, HEAP) == "child", "nor this way")
        check(compact_zone(world.machine.memory) == 0, "they are not moved")
        world.end()

    alone(program)


def test_who_was_promised_a_page_takes_it_from_the_child() -> None:
    def program() -> None:
        world = World(1)
        mm = world.process(1)
        user_store(mm, HEAP, "own")
        child = world.fork(mm)
        user_store(mm, HEAP, "new")
        check(load(mm, HEAP) == "new", "the parent's store does not fail")
        check(load(child, HEAP) is None, "the child does not read zeroes where something was")
        world.end()

    alone(program)


def test_a_pinned_page_stays_with_its_process() -> None:
    def program() -> None:
        world = World(3)
        mm = world.process(1)
        user_store(mm, HEAP, "own")
        page = pin_user_page(mm, HEAP)
        assert isinstance(page, Folio)
        child = world.fork(mm)
        user_store(mm, HEAP, "new")
        check(page.token == "new" and load(child, HEAP) == "own", "the child has a copy")
        unpin_user_page(world.machine.memory, page)
        world.end()

    alone(program)


# -- holes --------------------------------------------------------------------------------------------------------


def test_what_is_cut_off_or_punched_out_is_gone_copies_too() -> None:
    def program() -> None:
        world = World(6, size=2)
        shared, mm = world.process(2, MAP_SHARED), world.process(2)
        for address in (HEAP, SECOND):
            user_store(shared, address, "row")
            user_store(mm, address, "own")
        vfs_punch_hole(world.machine.memory, world.file, 0, 0)
        check(load(shared, HEAP) == 0 and load(shared, SECOND) == "row", "a hole")
        check(load(mm, HEAP) == 0, "takes private copies away, other than in other files")
        do_truncate(world.machine.memory, world.file, 1)
        check(load(shared, SECOND) is None and load(mm, SECOND) is None, "nothing is behind the end")
        world.end()

    alone(program)


# -- at the same time ---------------------------------------------------------------------------------------------


def family(pool: int) -> None:
    """A parent and a child store to what they share; the parent gives up, forks again, unmaps."""
    world = World(pool)
    mm = world.process(2)
    user_store(mm, HEAP, "own")
    child = world.fork(mm)

    def parent() -> None:
        check(store(mm, HEAP, "parent"), "it was promised that this does not fail")
        check(load(mm, HEAP) == "parent", "its own")

    def other() -> None:
        check(load(child, HEAP) in ("own", None), "what it was, or nothing")
        if store(child, HEAP, "child"):
            check(load(child, HEAP) == "child", "its own")

    join(spawn(parent), spawn(other), spawn(sys_madvise, child, SECOND, PAGE_SIZE, MADV_DONTNEED))
    world.end()


@pytest.mark.parametrize("executions", [40, pytest.param(120, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("pool", [2, 3, 4])
def test_a_family_with_few_pages(pool: int, strategy: str, executions: int) -> None:
    assert_clean(run_alone(lambda: family(pool), executions=executions, strategy=strategy))


def hole_beside_faults() -> None:
    """A hole is punched into what two processes use, one of them privately."""
    world = World(6, size=2)
    shared, mm = world.process(2, MAP_SHARED), world.process(2)
    user_store(shared, HEAP, "row")

    def use() -> None:
        check(load(shared, HEAP) in ("row", 0), "the page, or the hole")
        store(shared, SECOND, "late")

    join(
        spawn(vfs_punch_hole, world.machine.memory, world.file, 0, 1),
        spawn(use),
        spawn(store, mm, HEAP, "own"),
    )
    for index, folio in world.file.pages.items():
        check(folio.mapping is world.file and folio.index == index, "what is there is the file's")
    world.end()


@pytest.mark.parametrize("executions", [50, pytest.param(150, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_hole_beside_faults(strategy: str, executions: int) -> None:
    assert_clean(run_alone(hole_beside_faults, executions=executions, strategy=strategy))


def mapped_beside_faults() -> None:
    """Mappings come and go, with promises and without, beside faults."""
    world = World(4)
    mm = world.process(2, MAP_SHARED | MAP_NORESERVE)
    other = world.machine.add_mm("late", HEAP)
    world.mms.append(other)

    def come_and_go() -> None:
        for kind in (MAP_SHARED, MAP_PRIVATE):
            sys_mmap(other, HEAP, 2 * PAGE_SIZE, READ_WRITE, kind | MAP_FIXED, world.file)
            check(store(other, HEAP, "here"), "promised")

    join(spawn(come_and_go), spawn(store, mm, HEAP, "row"))
    world.end()


@pytest.mark.parametrize("faults", [0, 2])
def test_promises_beside_faults(faults: int) -> None:
    def program() -> None:
        if faults == 0:
            mapped_beside_faults()
        else:
            without_memory()

    assert_clean(run_alone(program, executions=150, faults=faults, strategy="pct"))


def without_memory() -> None:
    """Allocations fail here and there, and nothing is counted for what was not had."""
    world = World(4)
    mm = world.machine.add_mm("a", HEAP)
    world.mms.append(mm)
    flags = MAP_PRIVATE | MAP_FIXED
    check(sys_mmap(mm, HEAP, 2 * PAGE_SIZE, READ_WRITE, flags, world.file) in (HEAP, ENOMEM), "mapped or not")
    store(mm, HEAP, "own")
    child = sys_fork(world.machine, mm, "child")
    if child is not None:
        world.mms.append(child)
        store(child, HEAP, "child")
    store(mm, HEAP, "again")
    check(pin_or_error(mm) in (EFAULT, ENOMEM, 0), "pinned or not")
    world.end()


def pin_or_error(mm: MmStruct) -> int:
    page = pin_user_page(mm, SECOND)
    if isinstance(page, int):
        return page
    unpin_user_page(mm.memory, page)
    return 0


# -- what would be wrong ------------------------------------------------------------------------------------------


def test_a_promise_that_is_counted_wrong_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sugarbush.vm.vmas.munmap.hugetlb_vm_op_close", lambda _vma: None)
    failures = run_alone(lambda: family(4), executions=5).failures
    assert ["all is back in the pool" in one.failure.headline for one in failures] == [True]


def test_a_hole_that_does_not_look_again_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault between the first unmapping and the end of the page maps what is no page of the file any more."""
    monkeypatch.setattr(hugetlb_hole, "folio_mapped", lambda _folio: False)
    result = run_alone(mapped_into_a_hole, executions=600, strategy="pct")
    assert ["reads the hole" in one.failure.headline for one in result.failures] == [True]


def mapped_into_a_hole() -> None:
    world = World(3, size=1)
    mm = world.process(1, MAP_SHARED)
    user_store(mm, HEAP, "row")
    join(
        spawn(vfs_punch_hole, world.machine.memory, world.file, 0, 0),
        spawn(load, mm, HEAP),
    )
    check(load(mm, HEAP) == 0, "who looks after it reads the hole")
    world.end()


def test_the_hole_is_read_by_whoever_looks_after_it() -> None:
    assert_clean(run_alone(mapped_into_a_hole, executions=300, strategy="pct"))
