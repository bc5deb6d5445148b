"""Where the model once differed from the kernel, in what a process or its neighbours can see."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from vm_world import HEAP, assert_clean, run_alone

from sugarbush.concurrency import check, join, spawn
from sugarbush.concurrency.lowlevel import active
from sugarbush.stress.kit.process import Process
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.access.file_io import generic_file_write
from sugarbush.vm.access.user import Killed, user_load, user_store
from sugarbush.vm.files.filemap import fput
from sugarbush.vm.frames import tlb
from sugarbush.vm.frames.swap import swapon
from sugarbush.vm.huge.khugepaged import collapse_huge_page, retract_page_tables
from sugarbush.vm.objects.errno import EFAULT, ENOMEM
from sugarbush.vm.objects.layout import PAGE_SIZE
from sugarbush.vm.objects.mm_types import MM_SWAPENTS, AddressSpace, MmStruct
from sugarbush.vm.objects.swap_area import SwapArea
from sugarbush.vm.reclaim.migrate import compact_zone
from sugarbush.vm.reclaim.oom import oom_reap_task_mm
from sugarbush.vm.reclaim.truncate import do_truncate
from sugarbush.vm.reclaim.unmap import FlushBatch, set_tlb_ubc_flush_pending
from sugarbush.vm.reclaim.vmscan import kswapd
from sugarbush.vm.spaces.find import vma_lookup
from sugarbush.vm.spaces.mm import get_mm_counter, mmap_write_lock, mmap_write_unlock
from sugarbush.vm.syscalls.madvise import sys_madvise
from sugarbush.vm.syscalls.mman import (
    MADV_DONTNEED,
    MADV_HUGEPAGE,
    MADV_POPULATE_READ,
    MADV_REMOVE,
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_LOCKED,
    MAP_PRIVATE,
    MAP_SHARED,
    PROT_READ,
    PROT_WRITE,
)
from sugarbush.vm.syscalls.mmap import sys_mmap
from sugarbush.vm.vmas.adjust import vma_expand
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import Machine, boot

READ_WRITE = PROT_READ | PROT_WRITE


@pytest.mark.parametrize("strategy", ["pct", "random"])
@pytest.mark.parametrize("touch", ["load", "store"])
def test_a_fault_under_the_lock_of_the_vma_waits_for_a_collapse(strategy: str, touch: str) -> None:
    def program() -> None:
        machine, process = heap(2, frames=8, era="6.6")
        sys_madvise(process.mm, HEAP, 2 * PAGE_SIZE, MADV_HUGEPAGE)
        use = process.load if touch == "load" else lambda address: process.store(address, "new")
        join(spawn(collapse_huge_page, process.mm, HEAP, name="khugepaged"), spawn(use, HEAP, name="cc1"))
        for number in range(2):
            process.load(page(number))
        process.exit(machine)

    assert_clean(run_alone(program, executions=40, strategy=strategy))


@pytest.mark.parametrize("copied", [True, False])
def test_a_hole_in_a_file_leaves_private_copies(copied: bool) -> None:
    def program() -> None:
        machine, file = boot(10), AddressSpace("file")
        puncher, other = machine.add_mm("a", HEAP), machine.add_mm("b", HEAP)
        sys_mmap(puncher, HEAP, 2 * PAGE_SIZE, READ_WRITE, MAP_SHARED | MAP_FIXED, file)
        sys_mmap(other, HEAP, 2 * PAGE_SIZE, READ_WRITE, MAP_PRIVATE | MAP_FIXED, file)
        user_store(puncher, HEAP, "the file's")
        user_load(other, HEAP)
        if copied:
            user_store(other, HEAP, "b's own")
        assert sys_madvise(puncher, HEAP, 2 * PAGE_SIZE, MADV_REMOVE) == 0
        check(
            user_load(other, HEAP) == ("b's own" if copied else 0),
            "a process keeps what it wrote, and no more",
        )
        check(user_load(puncher, HEAP) == 0, "there is a hole in the file")
        do_truncate(machine.memory, file, 0)
        with pytest.raises(Killed):
            user_load(other, HEAP)
        for mm in (puncher, other):
            exit_mmap(mm)
            machine.remove_mm(mm)
        fput(machine.memory, file)

    assert_clean(run_alone(program))


def test_a_hole_leaves_private_copies_that_are_swapped_out() -> None:
    def program() -> None:
        machine, process = heap(1, slots=4)
        file = AddressSpace("file")
        there = page(8)
        sys_mmap(process.mm, there, PAGE_SIZE, READ_WRITE, MAP_PRIVATE | MAP_FIXED, file)
        process.store(there, "its own")
        kswapd(machine.memory, 2)
        other = machine.add_mm("b", HEAP)
        sys_mmap(other, HEAP, PAGE_SIZE, READ_WRITE, MAP_SHARED | MAP_FIXED, file)
        assert sys_madvise(other, HEAP, PAGE_SIZE, MADV_REMOVE) == 0
        process.load(there)
        process.exit(machine)
        exit_mmap(other)
        machine.remove_mm(other)
        fput(machine.memory, file)

    assert_clean(run_alone(program))


def anonymous(mm: MmStruct) -> AddressSpace | None:
    sys_mmap(mm, HEAP, 2 * PAGE_SIZE, READ_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)
    return None


def locked(mm: MmStruct) -> AddressSpace | None:
    sys_mmap(mm, HEAP, 2 * PAGE_SIZE, READ_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_LOCKED)
    return None


def huge(mm: MmStruct) -> AddressSpace | None:
    anonymous(mm)
    assert sys_madvise(mm, HEAP, 2 * PAGE_SIZE, MADV_HUGEPAGE) == 0
    return None


def copied(mm: MmStruct) -> AddressSpace | None:
    file = AddressSpace("file")
    sys_mmap(mm, HEAP, 2 * PAGE_SIZE, READ_WRITE, MAP_PRIVATE | MAP_FIXED, file)
    return file


@pytest.mark.parametrize("make", [anonymous, locked, huge, copied], ids=lambda one: one.__name__)
def test_a_victim_never_reads_zeroes_for_what_was_reaped(
    make: Callable[[MmStruct], AddressSpace | None],
) -> None:
    outcomes = set()

    def use(mm: MmStruct) -> None:
        for _ in range(14):
            check(user_load(mm, HEAP) == "written", "it reads what it wrote, or is killed")
            outcomes.add("read")

    def victim(mm: MmStruct) -> None:
        try:
            use(mm)
        except Killed:
            outcomes.add("killed")

    def program() -> None:
        machine = boot(8)
        mm = machine.add_mm("cc1", HEAP)
        file = make(mm)
        user_store(mm, HEAP, "written")
        join(spawn(victim, mm, name="victim"), spawn(oom_reap_task_mm, mm, name="oom_reaper"))
        check(
            sys_madvise(mm, HEAP, PAGE_SIZE, MADV_POPULATE_READ) in (0, EFAULT),
            "or an error, for system calls",
        )
        exit_mmap(mm)
        machine.remove_mm(mm)
        if file is not None:
            fput(machine.memory, file)

    assert_clean(run_alone(program, executions=30))
    assert outcomes == {"read", "killed"}


def test_what_is_shared_is_not_reaped() -> None:
    def program() -> None:
        machine = boot(8)
        mm = machine.add_mm("cc1", HEAP)
        sys_mmap(mm, HEAP, PAGE_SIZE, READ_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED)
        user_store(mm, HEAP, "written")
        assert oom_reap_task_mm(mm)
        check(user_load(mm, HEAP) == "written", "it is still there")
        exit_mmap(mm)
        machine.remove_mm(mm)

    assert_clean(run_alone(program))


def out_and_in(machine: Machine, process: Process) -> None:
    """One of four slots is taken, so the page keeps it while it is in memory."""
    kswapd(machine.memory, 1)
    process.load(HEAP)


@pytest.mark.parametrize("synchronous", [False, True])
def test_a_copy_from_before_zswap_was_switched_off_is_not_read(synchronous: bool) -> None:
    def switch(area: SwapArea) -> None:
        area.zswap = not area.zswap

    def program() -> None:
        machine, process = heap(1, slots=4, zswap=True, synchronous=synchronous)
        area = machine.memory.swap
        assert area is not None
        out_and_in(machine, process)
        admin = spawn(switch, area, name="admin")
        process.store(HEAP, "second")
        out_and_in(machine, process)
        join(admin)
        switch(area)
        process.store(HEAP, "third")
        out_and_in(machine, process)
        process.exit(machine)

    assert_clean(run_alone(program, executions=15))


def test_a_page_that_is_reused_moves_to_the_anon_vma_of_who_has_it() -> None:
    def program() -> None:
        machine, process = heap(1)
        child = process.fork(machine, "as")
        assert child is not None
        process.exit(machine)
        child.store(HEAP, "the child's")
        mmap_write_lock(child.mm)
        vma = vma_lookup(child.mm, HEAP)
        (page,) = (one for one in machine.memory.mem_map if one.mapcount)
        check(vma is not None and page.mapping is vma.anon_vma, "walks for it do not look at relatives")
        mmap_write_unlock(child.mm)
        child.exit(machine)

    assert_clean(run_alone(program))


def test_a_merge_that_fails_leaves_no_anon_vma_behind() -> None:
    """Whichever allocation fails, what was not touched is not touched afterwards."""
    failed = []

    def program() -> None:
        machine = boot(4)
        mm = machine.add_mm("java", HEAP)
        for number in (0, 2):
            sys_mmap(mm, page(number), PAGE_SIZE, READ_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)
        touched = True
        try:
            user_store(mm, page(2), "written")
        except Killed:
            touched = False
        mmap_write_lock(mm)
        below, above = vma_lookup(mm, page(0)), vma_lookup(mm, page(2))
        if touched and below is not None and above is not None:
            assert active.runtime is not None
            active.runtime.faults = 1
            if vma_expand(below, page(0), page(3), below.vm_pgoff, above) == ENOMEM:
                failed.append(1)
                check(below.anon_vma is None and not below.anon_vma_chain, "nothing has changed")
            else:
                check(below.anon_vma is not None, "it has the page now")
        mmap_write_unlock(mm)
        exit_mmap(mm)
        machine.remove_mm(mm)

    assert_clean(run_alone(program, executions=12))
    assert failed


def test_locked_memory_is_not_swapped_out() -> None:
    def program() -> None:
        machine = boot(8)
        swapon(machine.memory, 4)
        process = Process(machine.add_mm("db", HEAP))
        flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED
        sys_mmap(process.mm, HEAP, PAGE_SIZE, READ_WRITE, flags | MAP_LOCKED)
        sys_mmap(process.mm, page(4), PAGE_SIZE, READ_WRITE, flags)
        for address in (HEAP, page(4)):
            process.store(address, "written")
        check(kswapd(machine.memory, 2) == 1, "one page is for the taking")
        check(get_mm_counter(process.mm, MM_SWAPENTS) == 1, "the other one is locked")
        child = process.fork(machine, "child")
        assert child is not None
        for one in (child, process):
            one.load(HEAP)
            one.exit(machine)

    assert_clean(run_alone(program))


def test_a_huge_page_that_nobody_else_has_is_used_as_it_is() -> None:
    def program() -> None:
        machine, process = heap(2, frames=4, huge=True)
        child = process.fork(machine, "child")
        assert child is not None
        process.exit(machine)
        child.store(HEAP, "the child's")
        child.load(page(1))
        check(len(machine.memory.free_list) == 2, "nothing was copied")
        check(machine.memory.mem_map[0].order == 1, "and it is still huge")
        child.exit(machine)

    assert_clean(run_alone(program))


def test_no_walk_of_a_file_is_in_a_page_table_page_that_khugepaged_frees() -> None:
    """8d3c106e19e8: the walk holds i_mmap_rwsem for reading, so khugepaged holds it for writing."""

    def program() -> None:
        machine, file = boot(8), AddressSpace("lib.so")
        mm, other = machine.add_mm("a", HEAP), machine.add_mm("b", HEAP)
        for one in (mm, other):
            sys_mmap(one, HEAP, 2 * PAGE_SIZE, READ_WRITE, MAP_SHARED | MAP_FIXED, file)
            user_load(one, HEAP)
        sys_madvise(mm, HEAP, 2 * PAGE_SIZE, MADV_DONTNEED)
        join(
            spawn(retract_page_tables, file, 0, name="khugepaged"),
            spawn(compact_zone, machine.memory, name="kcompactd"),
        )
        for one in (mm, other):
            exit_mmap(one)
            machine.remove_mm(one)
        fput(machine.memory, file)

    assert_clean(run_alone(program, executions=60, strategy="pct"))


def test_a_flush_that_is_put_off_during_another_is_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """5ee2fa2f0636: reclaim clears an entry of another page-table page between the flush and its note."""
    flushed: list[MmStruct] = []
    batch = FlushBatch()

    def flush(mm: MmStruct) -> None:
        flushed.append(mm)
        if len(flushed) == 1:
            set_tlb_ubc_flush_pending(batch, mm)

    monkeypatch.setattr(tlb, "flush_tlb_mm", flush)
    mm = boot(2).add_mm("cc1", HEAP)
    set_tlb_ubc_flush_pending(batch, mm)
    for _ in range(3):
        tlb.flush_tlb_batched_pending(mm)
    assert len(flushed) == 2


def test_a_victim_has_no_children() -> None:
    def program() -> None:
        machine, process = heap(1)
        join(spawn(oom_reap_task_mm, process.mm), forker := spawn(process.fork, machine, "child"))
        child = forker.result
        if child is not None:
            child.load(HEAP)
            child.exit(machine)
        process.exit(machine)

    assert_clean(run_alone(program, executions=20))


def test_a_file_that_grows_again_reads_as_zeroes_where_it_was_cut_off() -> None:
    def program() -> None:
        machine, process = heap(1)
        file = AddressSpace("file", 1)
        file.disk[0] = "cut off"
        do_truncate(machine.memory, file, 0)
        assert generic_file_write(process.mm, file, 1, HEAP) == 0
        sys_mmap(process.mm, page(8), PAGE_SIZE, READ_WRITE, MAP_SHARED | MAP_FIXED, file)
        check(process.load(page(8)) == 0, "a hole")
        process.exit(machine)
        fput(machine.memory, file)

    assert_clean(run_alone(program))
