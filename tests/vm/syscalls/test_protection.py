"""What userfaultfd protects from stores stays protected wherever the page goes, and nobody else waits for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from vm_world import HEAP, assert_clean, run_alone

from sugarbush.concurrency import check, join, spawn
from sugarbush.stress.kit.process import Process
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.access.gup import access_remote_vm, pin_user_page, unpin_user_page
from sugarbush.vm.access.user import user_load, user_store
from sugarbush.vm.faults.uffd import userfaultfd_register, userfaultfd_unregister, userfaultfd_writeprotect
from sugarbush.vm.faults.uffd_copy import userfaultfd, userfaultfd_copy, userfaultfd_read
from sugarbush.vm.files.filemap import fput
from sugarbush.vm.files.writeback import write_cache_pages
from sugarbush.vm.frames.swap import swapon
from sugarbush.vm.huge.khugepaged import collapse_huge_page
from sugarbush.vm.objects.errno import EFAULT, EINVAL
from sugarbush.vm.objects.layout import PAGE_SIZE
from sugarbush.vm.objects.mm_types import AddressSpace, MmStruct
from sugarbush.vm.reclaim.migrate import compact_zone
from sugarbush.vm.reclaim.numa import task_numa_work
from sugarbush.vm.reclaim.vmscan import kswapd
from sugarbush.vm.syscalls.fork import sys_fork
from sugarbush.vm.syscalls.madvise import sys_madvise
from sugarbush.vm.syscalls.mman import (
    MADV_DONTNEED,
    MADV_HUGEPAGE,
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_SHARED,
    PROT_EXEC,
    PROT_READ,
    PROT_WRITE,
)
from sugarbush.vm.syscalls.mmap import sys_mmap
from sugarbush.vm.syscalls.mprotect import sys_mprotect
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import Machine, boot

END = HEAP + 2 * PAGE_SIZE
Shake = Callable[[Machine, MmStruct], object]


def snapshot(machine: Machine, mm: MmStruct, shake: Shake, *, before: Shake | None = None) -> None:
    """A monitor protects a page that another thread stores to, and sees it change only after it says so."""
    if before is not None:
        before(machine, mm)
    userfaultfd_register(mm, HEAP)
    assert userfaultfd_writeprotect(mm, HEAP, END, protect=True) == 0
    seen = user_load(mm, HEAP)
    writer = spawn(user_store, mm, HEAP, "new", name="writer")
    shaker = spawn(shake, machine, mm, name="shaker")
    join(shaker)
    check(user_load(mm, HEAP) == seen, "no store goes through while the page is protected")
    assert userfaultfd_writeprotect(mm, HEAP, END, protect=False) == 0
    join(writer)
    check(user_load(mm, HEAP) == "new", "the store goes on afterwards")


def private(shake: Shake, before: Shake | None = None, *, huge: bool = False, era: str = "6.1") -> None:
    machine, process = heap(2, frames=10, slots=4, huge=huge, era=era)
    snapshot(machine, process.mm, shake, before=before)
    process.exit(machine)


def shared(shake: Shake, before: Shake | None = None) -> None:
    machine = boot(10)
    swapon(machine.memory, 4)
    mm, file = machine.add_mm("cc1", HEAP), AddressSpace("shmem")
    sys_mmap(mm, HEAP, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file)
    user_store(mm, HEAP, "old")
    snapshot(machine, mm, shake, before=before)
    exit_mmap(mm)
    machine.remove_mm(mm)
    fput(machine.memory, file)


def swap_out(machine: Machine, _mm: MmStruct) -> None:
    kswapd(machine.memory, 2)


def write_and_drop(machine: Machine, mm: MmStruct) -> None:
    """Reclaim a page of a file, for which it must be clean."""
    file = next(folio for folio in machine.memory.mem_map if isinstance(folio.mapping, AddressSpace))
    mapping = file.mapping
    assert isinstance(mapping, AddressSpace)
    write_cache_pages(machine.memory, mapping, [file])
    kswapd(machine.memory, 2)


def compact(machine: Machine, _mm: MmStruct) -> None:
    compact_zone(machine.memory, alloc_contig=True)


def change_rights(_machine: Machine, mm: MmStruct) -> None:
    for prot in (PROT_READ | PROT_WRITE | PROT_EXEC, PROT_READ | PROT_WRITE):
        assert sys_mprotect(mm, HEAP, 2 * PAGE_SIZE, prot) == 0


def hint(_machine: Machine, mm: MmStruct) -> None:
    task_numa_work(mm)


def collapse(_machine: Machine, mm: MmStruct) -> None:
    assert sys_madvise(mm, HEAP, 2 * PAGE_SIZE, MADV_HUGEPAGE) == 0
    collapse_huge_page(mm, HEAP)


def nothing(_machine: Machine, _mm: MmStruct) -> None:
    pass


@pytest.mark.parametrize(
    "shake", [nothing, swap_out, compact, change_rights, hint, collapse], ids=lambda one: one.__name__
)
@pytest.mark.parametrize("before", [None, swap_out])
def test_private_memory_stays_protected(shake: Shake, before: Shake | None) -> None:
    assert_clean(run_alone(lambda: private(shake, before), executions=5))


@pytest.mark.parametrize("shake", [nothing, compact, swap_out, hint], ids=lambda one: one.__name__)
def test_a_huge_page_stays_protected(shake: Shake) -> None:
    assert_clean(run_alone(lambda: private(shake, huge=True), executions=5))


@pytest.mark.parametrize(
    "shake", [compact, change_rights, hint, write_and_drop], ids=lambda one: one.__name__
)
@pytest.mark.parametrize("before", [None, write_and_drop])
def test_shared_memory_stays_protected(shake: Shake, before: Shake | None) -> None:
    assert_clean(run_alone(lambda: shared(shake, before), executions=5))


def test_a_fault_under_the_lock_of_the_vma_waits_too() -> None:
    assert_clean(run_alone(lambda: private(swap_out, era="6.6"), executions=8))


def test_a_part_of_a_huge_page_is_protected_alone() -> None:
    def program() -> None:
        machine, process = heap(2, frames=6, huge=True)
        mm = process.mm
        userfaultfd_register(mm, HEAP)
        assert userfaultfd_writeprotect(mm, HEAP, HEAP + PAGE_SIZE, protect=True) == 0
        process.store(page(1), "new")
        assert access_remote_vm(mm, HEAP, "forced") == EFAULT
        process.load(HEAP)
        process.exit(machine)

    assert_clean(run_alone(program))


def test_one_page_is_waited_for_alone() -> None:
    """The page beside it stays protected, and its monitor never comes."""

    def program() -> None:
        machine, process = heap(2)
        mm = process.mm
        userfaultfd_register(mm, HEAP)
        userfaultfd_writeprotect(mm, HEAP, END, protect=True)
        writer = spawn(process.store, HEAP, "new")
        userfaultfd_writeprotect(mm, HEAP, HEAP + PAGE_SIZE, protect=False)
        join(writer)
        process.exit(machine)

    assert_clean(run_alone(program, executions=10))


def test_whoever_waits_is_woken_by_the_end_of_the_registration() -> None:
    def program() -> None:
        machine, process = heap(2)
        mm = process.mm
        userfaultfd_register(mm, HEAP)
        userfaultfd_writeprotect(mm, HEAP, END, protect=True)
        writer = spawn(process.store, HEAP, "new")
        assert userfaultfd_unregister(mm, HEAP) == 0
        join(writer)
        assert userfaultfd_unregister(mm, HEAP) == EFAULT
        process.load(HEAP)
        process.exit(machine)

    assert_clean(run_alone(program, executions=10))


@pytest.mark.parametrize("before", [nothing, swap_out])
def test_a_child_that_no_monitor_knows_does_not_wait(before: Shake) -> None:
    def program() -> None:
        machine, process = heap(2, frames=10, slots=4)
        mm = process.mm
        userfaultfd_register(mm, HEAP)
        userfaultfd_writeprotect(mm, HEAP, END, protect=True)
        before(machine, mm)
        child = process.fork(machine, "as")
        assert child is not None
        child.store(HEAP, "the child's")
        child.exit(machine)
        assert access_remote_vm(mm, HEAP, "forced") == EFAULT
        process.load(HEAP)
        process.exit(machine)

    assert_clean(run_alone(program))


def test_a_child_of_a_monitor_that_hears_of_forks_is_protected() -> None:
    def program() -> None:
        machine, process = heap(2, frames=10)
        mm = process.mm
        ctx = userfaultfd(mm)
        userfaultfd_register(mm, HEAP)
        userfaultfd_writeprotect(mm, HEAP, END, protect=True)
        reader = spawn(userfaultfd_read, ctx)
        child = process.fork(machine, "as")
        join(reader)
        assert child is not None
        assert access_remote_vm(child.mm, HEAP, "forced") == EFAULT
        assert userfaultfd_writeprotect(child.mm, HEAP, END, protect=False) == 0
        child.store(HEAP, "the child's")
        for one in (child, process):
            one.load(HEAP)
            one.exit(machine)

    assert_clean(run_alone(program))


def test_what_moves_is_protected_no_more() -> None:
    def program() -> None:
        machine, process = heap(4, frames=10)
        mm = process.mm
        userfaultfd_register(mm, HEAP)
        userfaultfd_writeprotect(mm, HEAP, page(4), protect=True)
        there = page(16)
        assert process.mremap(HEAP, 2, there) == there
        process.store(there, "new")
        assert access_remote_vm(mm, page(2), "forced") == EFAULT
        process.exit(machine)

    assert_clean(run_alone(program))


def test_what_was_given_up_is_protected_no_more_unless_it_is_of_a_file() -> None:
    def program() -> None:
        machine, process = heap(2)
        userfaultfd_register(process.mm, HEAP)
        userfaultfd_writeprotect(process.mm, HEAP, END, protect=True)
        process.dontneed(HEAP, 2)
        process.store(HEAP, "new")
        process.exit(machine)
        mm, file = machine.add_mm("ld", HEAP), AddressSpace("shmem")
        sys_mmap(mm, HEAP, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file)
        userfaultfd_register(mm, HEAP)
        userfaultfd_writeprotect(mm, HEAP, END, protect=True)
        assert access_remote_vm(mm, HEAP, "before it is mapped") == EFAULT
        user_load(mm, HEAP)
        sys_madvise(mm, HEAP, 2 * PAGE_SIZE, MADV_DONTNEED)
        assert access_remote_vm(mm, HEAP, "after it was given up") == EFAULT
        exit_mmap(mm)
        machine.remove_mm(mm)
        fput(machine.memory, file)

    assert_clean(run_alone(program))


def test_the_shared_file_mapping_of_a_child_keeps_what_a_monitor_hears_of() -> None:
    def program() -> None:
        machine = boot(8)
        mm, file = machine.add_mm("ld", HEAP), AddressSpace("shmem")
        ctx = userfaultfd(mm)
        sys_mmap(mm, HEAP, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file)
        user_store(mm, HEAP, "old")
        userfaultfd_register(mm, HEAP)
        userfaultfd_writeprotect(mm, HEAP, END, protect=True)
        reader = spawn(userfaultfd_read, ctx)
        child = sys_fork(machine, mm, "as")
        join(reader)
        assert child is not None
        for address in (HEAP, HEAP + PAGE_SIZE):
            assert access_remote_vm(child, address, "forced") == EFAULT
        for one in (child, mm):
            exit_mmap(one)
            machine.remove_mm(one)
        fput(machine.memory, file)

    assert_clean(run_alone(program))


def test_a_pin_waits_for_the_monitor_and_ptrace_does_not() -> None:
    def pin(process: Process) -> None:
        found = pin_user_page(process.mm, HEAP)
        assert not isinstance(found, int)
        check(bool(allowed), "it was pinned after the monitor let it be")
        unpin_user_page(process.mm.memory, found)

    allowed: list[bool] = []

    def program() -> None:
        allowed.clear()
        machine, process = heap(2)
        mm = process.mm
        userfaultfd_register(mm, HEAP)
        userfaultfd_writeprotect(mm, HEAP, END, protect=True)
        device = spawn(pin, process)
        assert access_remote_vm(mm, HEAP, "forced") == EFAULT
        allowed.append(True)
        userfaultfd_writeprotect(mm, HEAP, END, protect=False)
        join(device)
        assert access_remote_vm(mm, HEAP, "forced") == 0
        process.written[HEAP] = "forced"
        process.load(HEAP)
        process.exit(machine)

    assert_clean(run_alone(program, executions=8))


def test_only_private_memory_is_filled_from_outside() -> None:
    """An anonymous page in a shared mapping would be one process's own."""

    def program() -> None:
        machine = boot(8)
        mm = machine.add_mm("ld", HEAP)
        ctx = userfaultfd(mm)
        sys_mmap(mm, HEAP, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED)
        assert userfaultfd_copy(ctx, HEAP, "from outside") == EINVAL
        exit_mmap(mm)
        machine.remove_mm(mm)

    assert_clean(run_alone(program))
