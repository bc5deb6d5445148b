"""Fork shares pages, the first write copies, and nobody goes on using a translation that was flushed."""

from __future__ import annotations

import pytest
from vm_world import HEAP, assert_clean, run_alone

from sugarbush.concurrency import check, join, spawn
from sugarbush.vm.access.user import user_load, user_store
from sugarbush.vm.faults.cow import copy_page_range
from sugarbush.vm.frames.tlb import flush_tlb_mm
from sugarbush.vm.objects.layout import PAGE_SIZE
from sugarbush.vm.objects.mm_types import MmStruct
from sugarbush.vm.reclaim.migrate import compact_zone
from sugarbush.vm.reverse.anon_vma_chain import anon_vma_clone
from sugarbush.vm.spaces.find import vma_find
from sugarbush.vm.spaces.mm import SINGLE_DEPTH_NESTING, mmap_write_lock, mmap_write_unlock
from sugarbush.vm.spaces.vma import vm_area_alloc
from sugarbush.vm.syscalls.brk import sys_brk
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import Machine, boot

PAGES = 3


def started() -> tuple[Machine, MmStruct]:
    machine = boot(12)
    mm = machine.add_mm("cc1", HEAP)
    sys_brk(mm, HEAP + PAGES * PAGE_SIZE)
    for number in range(PAGES):
        user_store(mm, HEAP + number * PAGE_SIZE, f"token {number}")
    return machine, mm


def forked(machine: Machine, mm: MmStruct) -> MmStruct:
    """A child with the heap of its parent, whose pages go on in the parent's anon_vma."""
    child = machine.add_mm("as", HEAP)
    mmap_write_lock(mm)
    child.mmap_lock.down_write(SINGLE_DEPTH_NESTING)
    vma = vma_find(mm, HEAP)
    assert vma is not None
    copy = vm_area_alloc(child, vma.vm_start, vma.vm_end, vma.vm_pgoff, vma.vm_flags)
    assert copy is not None
    copy.anon_vma = vma.anon_vma
    anon_vma_clone(copy, vma)
    child.mm_mt.cursor(copy.vm_start, copy.vm_end - 1).store_gfp(copy, 0)
    child.map_count += 1
    child.brk = mm.brk
    copy_page_range(copy, vma)
    flush_tlb_mm(mm)
    mmap_write_unlock(child)
    mmap_write_unlock(mm)
    return child


def ended(machine: Machine, *mms: MmStruct) -> None:
    for mm in mms:
        exit_mmap(mm)
        machine.remove_mm(mm)
    check(len(machine.memory.free_list) == 12, "all frames are free")


def contents(mm: MmStruct) -> list[object]:
    return [user_load(mm, HEAP + number * PAGE_SIZE) for number in range(PAGES)]


def test_pages_are_shared_until_somebody_writes() -> None:
    def program() -> None:
        machine, mm = started()
        child = forked(machine, mm)
        check(len(machine.memory.free_list) == 12 - PAGES, "nothing was copied")
        check(contents(child) == ["token 0", "token 1", "token 2"], "the child sees what the parent wrote")
        user_store(mm, HEAP, "parent")
        user_store(child, HEAP + PAGE_SIZE, "child")
        check(contents(mm) == ["parent", "token 1", "token 2"], "the child's write is not the parent's")
        check(contents(child) == ["token 0", "child", "token 2"], "and the other way round")
        check(len(machine.memory.free_list) == 12 - PAGES - 2, "two pages were copied")
        ended(machine, mm, child)

    assert_clean(run_alone(program))


def test_the_last_who_has_a_page_writes_to_it_without_a_copy() -> None:
    def program() -> None:
        machine, mm = started()
        child = forked(machine, mm)
        exit_mmap(child)
        machine.remove_mm(child)
        user_store(mm, HEAP, "again")
        check(len(machine.memory.free_list) == 12 - PAGES, "the page was reused")
        ended(machine, mm)

    assert_clean(run_alone(program))


@pytest.mark.parametrize("executions", [40, pytest.param(120, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("strategy", ["pct", "random"])
def test_fork_beside_a_store_and_compaction(strategy: str, executions: int) -> None:
    """A store of another thread is in both or in the parent only, and never lost to the parent."""

    def program() -> None:
        machine, mm = started()
        child, _, _ = join(
            spawn(forked, machine, mm),
            spawn(user_store, mm, HEAP, "late"),
            spawn(compact_zone, machine.memory, name="kcompactd"),
        )
        check(contents(mm) == ["late", "token 1", "token 2"], "the parent keeps its store")
        check(user_load(child, HEAP) in ("late", "token 0"), "the child has either")
        user_store(mm, HEAP, "later")
        check(user_load(child, HEAP) != "later", "what comes after is not the child's")
        ended(machine, mm, child)

    assert_clean(run_alone(program, executions=executions, strategy=strategy))


@pytest.mark.parametrize("executions", [40, pytest.param(120, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("strategy", ["pct", "random"])
def test_parent_and_child_write_to_one_page(strategy: str, executions: int) -> None:
    def program() -> None:
        machine, mm = started()
        child = forked(machine, mm)
        join(
            spawn(user_store, mm, HEAP, "parent"),
            spawn(user_store, child, HEAP, "child"),
            spawn(compact_zone, machine.memory, name="kcompactd"),
        )
        check((user_load(mm, HEAP), user_load(child, HEAP)) == ("parent", "child"), "each has its own")
        ended(machine, mm, child)

    assert_clean(run_alone(program, executions=executions, strategy=strategy))
