"""madvise(2): what each advice does to pages, and how it says no."""

from __future__ import annotations

import pytest
from vm_world import HEAP, assert_clean, assert_invariants, run_alone

from sugarbush.concurrency import check, join, spawn
from sugarbush.concurrency.lowlevel import quiet
from sugarbush.vm.access.user import user_load, user_store
from sugarbush.vm.files.filemap import fput
from sugarbush.vm.objects.errno import EACCES, EFAULT, EINVAL, ENOMEM, EPERM, ESRCH
from sugarbush.vm.objects.layout import PAGE_SIZE, VM_DONTDUMP, VM_IO, VM_LOCKED
from sugarbush.vm.objects.mm_types import MM_ANONPAGES, AddressSpace, MmStruct, VmArea
from sugarbush.vm.reclaim.truncate import do_truncate
from sugarbush.vm.spaces.mm import get_mm_counter
from sugarbush.vm.syscalls.brk import sys_brk
from sugarbush.vm.syscalls.madvise import sys_madvise
from sugarbush.vm.syscalls.mman import (
    MADV_COLD,
    MADV_DODUMP,
    MADV_DONTDUMP,
    MADV_DONTNEED,
    MADV_DONTNEED_LOCKED,
    MADV_FREE,
    MADV_HWPOISON,
    MADV_PAGEOUT,
    MADV_POPULATE_READ,
    MADV_POPULATE_WRITE,
    MADV_REMOVE,
    MADV_SOFT_OFFLINE,
    MADV_WILLNEED,
    MAP_FIXED,
    MAP_PRIVATE,
    MAP_SHARED,
    PROT_READ,
    PROT_WRITE,
)
from sugarbush.vm.syscalls.mmap import sys_mmap
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import Machine, boot
from sugarbush.vm.vmas.munmap import do_munmap

MAPPED = HEAP + 8 * PAGE_SIZE
BOTH = PROT_READ | PROT_WRITE


def started() -> tuple[Machine, MmStruct]:
    """A heap of three pages, two of them written to."""
    machine = boot(8)
    mm = machine.add_mm("cc1", HEAP)
    sys_brk(mm, HEAP + 3 * PAGE_SIZE)
    for number in range(2):
        user_store(mm, HEAP + number * PAGE_SIZE, f"token {number}")
    return machine, mm


def map_file(mm: MmStruct, kind: int = MAP_SHARED, prot: int = BOTH) -> AddressSpace:
    file = AddressSpace("data")
    file.disk.update({0: "first", 1: "second"})
    assert sys_mmap(mm, MAPPED, 2 * PAGE_SIZE, prot, kind | MAP_FIXED, file) == MAPPED
    return file


def vma_at(mm: MmStruct, address: int) -> VmArea:
    with quiet():
        vma = mm.mm_mt.load(address)
    assert vma is not None
    return vma


def advise(mm: MmStruct, advice: int, start: int = HEAP, pages: int = 1) -> int:
    return sys_madvise(mm, start, pages * PAGE_SIZE, advice)


# -- MADV_REMOVE -------------------------------------------------------------------------------------------------------


def test_a_hole_is_seen_by_all_who_map_the_file_and_the_rest_stays() -> None:
    def program() -> None:
        machine, mm = started()
        other = machine.add_mm("as", HEAP)
        file = map_file(mm)
        sys_mmap(other, MAPPED, 2 * PAGE_SIZE, BOTH, MAP_SHARED | MAP_FIXED, file)
        user_store(other, MAPPED, "written")
        check(advise(mm, MADV_REMOVE, MAPPED) == 0, "punched")
        for one in (mm, other):
            check(
                [user_load(one, MAPPED), user_load(one, MAPPED + PAGE_SIZE)] == [0, "second"], "both see it"
            )
        assert_invariants(machine)
        for one in (mm, other):
            exit_mmap(one)
            machine.remove_mm(one)
        fput(machine.memory, file)

    assert_clean(run_alone(program))


def test_the_file_outlives_its_mapping_while_the_hole_is_punched() -> None:
    def program() -> None:
        machine, mm = started()
        fput(machine.memory, map_file(mm))
        punched, _ = join(
            spawn(advise, mm, MADV_REMOVE, MAPPED, 2), spawn(do_munmap, mm, MAPPED, 2 * PAGE_SIZE)
        )
        check(punched in (0, ENOMEM), "there, or gone")
        exit_mmap(mm)
        machine.remove_mm(mm)

    assert_clean(run_alone(program, executions=150, strategy="pct"))


@pytest.mark.parametrize(("kind", "prot"), [(MAP_PRIVATE, BOTH), (MAP_SHARED, PROT_READ)])
def test_no_hole_through_a_mapping_that_could_not_write_zeroes(kind: int, prot: int) -> None:
    _, mm = started()
    file = map_file(mm, kind, prot)
    assert advise(mm, MADV_REMOVE, MAPPED) == EACCES
    assert user_load(mm, MAPPED) == file.disk[0] == "first"


def test_no_hole_where_there_is_no_file_or_it_is_locked() -> None:
    _, mm = started()
    assert advise(mm, MADV_REMOVE) == EINVAL
    map_file(mm)
    vma_at(mm, MAPPED).vm_flags |= VM_LOCKED
    assert advise(mm, MADV_REMOVE, MAPPED) == EINVAL


def test_a_range_with_a_gap_is_punched_on_both_sides() -> None:
    _, mm = started()
    file = AddressSpace("data")
    for number in (0, 2):
        sys_mmap(
            mm, MAPPED + number * PAGE_SIZE, PAGE_SIZE, BOTH, MAP_SHARED | MAP_FIXED, file, number * PAGE_SIZE
        )
        user_store(mm, MAPPED + number * PAGE_SIZE, "written")
    assert advise(mm, MADV_REMOVE, MAPPED, 3) == ENOMEM
    assert [user_load(mm, MAPPED + number * PAGE_SIZE) for number in (0, 2)] == [0, 0]


# -- pages that are not wanted, or are ---------------------------------------------------------------------------------


@pytest.mark.parametrize("advice", [MADV_DONTNEED, MADV_DONTNEED_LOCKED, MADV_FREE])
def test_what_is_given_up_reads_as_fresh(advice: int) -> None:
    _, mm = started()
    assert advise(mm, advice) == 0
    assert [user_load(mm, HEAP), user_load(mm, HEAP + PAGE_SIZE)] == [0, "token 1"]


@pytest.mark.parametrize(
    ("advice", "errno"),
    [
        (MADV_DONTNEED, EINVAL),
        (MADV_DONTNEED_LOCKED, 0),
        (MADV_FREE, EINVAL),
        (MADV_COLD, EINVAL),
        (MADV_PAGEOUT, EINVAL),
        (MADV_WILLNEED, 0),
    ],
)
def test_locked_memory(advice: int, errno: int) -> None:
    _, mm = started()
    vma_at(mm, HEAP).vm_flags |= VM_LOCKED
    assert advise(mm, advice) == errno
    assert user_load(mm, HEAP) == (0 if advice == MADV_DONTNEED_LOCKED else "token 0")


def test_only_private_memory_is_freed_lazily() -> None:
    _, mm = started()
    map_file(mm)
    assert advise(mm, MADV_FREE, MAPPED) == EINVAL


@pytest.mark.parametrize("advice", [MADV_WILLNEED, MADV_COLD, MADV_PAGEOUT])
def test_hints_change_nothing(advice: int) -> None:
    _, mm = started()
    assert advise(mm, advice, HEAP, 2) == 0
    assert [user_load(mm, HEAP), user_load(mm, HEAP + PAGE_SIZE)] == ["token 0", "token 1"]
    assert advise(mm, advice, HEAP, 5) == ENOMEM


@pytest.mark.parametrize("advice", [MADV_POPULATE_READ, MADV_POPULATE_WRITE])
def test_populating_maps_pages_and_keeps_what_is_there(advice: int) -> None:
    _, mm = started()
    assert advise(mm, advice, HEAP, 3) == 0
    # What is only read gets the zero page, which counts for nobody.
    assert get_mm_counter(mm, MM_ANONPAGES) == (3 if advice == MADV_POPULATE_WRITE else 2)
    assert user_load(mm, HEAP) == "token 0"
    assert advise(mm, advice, HEAP + PAGE_SIZE, 3) == ENOMEM


def test_populating_says_what_a_fault_would() -> None:
    machine, mm = started()
    file = map_file(mm, prot=PROT_READ)
    assert advise(mm, MADV_POPULATE_WRITE, MAPPED) == EINVAL
    assert advise(mm, MADV_POPULATE_READ, MAPPED) == 0
    do_truncate(machine.memory, file, 1)
    assert advise(mm, MADV_POPULATE_READ, MAPPED, 2) == EFAULT


# -- the rest ----------------------------------------------------------------------------------------------------------


def test_what_is_not_dumped_is_a_vma_of_its_own() -> None:
    _, mm = started()
    assert advise(mm, MADV_DONTDUMP, HEAP + PAGE_SIZE) == 0
    assert mm.map_count == 3
    assert vma_at(mm, HEAP + PAGE_SIZE).vm_flags & VM_DONTDUMP
    assert advise(mm, MADV_DODUMP, HEAP + PAGE_SIZE) == 0
    assert mm.map_count == 1
    vma_at(mm, HEAP).vm_flags |= VM_IO
    assert advise(mm, MADV_DODUMP) == EINVAL


@pytest.mark.parametrize("advice", [MADV_HWPOISON, MADV_SOFT_OFFLINE])
def test_pages_are_broken_by_who_may(advice: int) -> None:
    _, mm = started()
    assert advise(mm, advice) == EPERM
    assert advise(mm, advice, HEAP, 0) == 0
    assert advise(mm, advice, HEAP + 1) == EINVAL


@pytest.mark.parametrize("advice", [5, 7, 99, -1])
def test_advice_that_there_is_not(advice: int) -> None:
    _, mm = started()
    assert advise(mm, advice, HEAP, 0) == EINVAL


@pytest.mark.parametrize("advice", [MADV_REMOVE, MADV_FREE, MADV_POPULATE_READ, MADV_DONTDUMP, MADV_COLD])
def test_a_process_that_has_ended(advice: int) -> None:
    _, mm = started()
    exit_mmap(mm)
    assert advise(mm, advice) == ESRCH
    assert mm.mmap_lock.free
