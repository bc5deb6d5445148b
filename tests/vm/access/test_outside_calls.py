"""Calls from beside: mbind, UFFDIO_COPY, remap_file_pages, and writes to files that are mapped."""

from __future__ import annotations

import pytest
from vm_world import HEAP, assert_clean, run_alone

from sugarbush.concurrency import check, join, spawn
from sugarbush.vm.access.file_io import generic_file_write
from sugarbush.vm.access.user import user_load, user_store
from sugarbush.vm.faults.uffd_copy import userfaultfd, userfaultfd_copy, userfaultfd_read
from sugarbush.vm.files.filemap import fput
from sugarbush.vm.objects.errno import EEXIST, EFAULT, EINVAL, ESRCH
from sugarbush.vm.objects.layout import PAGE_SIZE
from sugarbush.vm.objects.mm_types import AddressSpace, MmStruct
from sugarbush.vm.reclaim.mempolicy import do_mbind
from sugarbush.vm.reclaim.migrate import compact_zone
from sugarbush.vm.reclaim.workqueue import Workqueue, destroy_workqueue, worker_thread
from sugarbush.vm.syscalls.brk import sys_brk
from sugarbush.vm.syscalls.fork import sys_fork
from sugarbush.vm.syscalls.mman import MAP_FIXED, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE
from sugarbush.vm.syscalls.mmap import sys_mmap
from sugarbush.vm.syscalls.remapping import sys_remap_file_pages
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import Machine, boot

STRATEGIES = ["pct", "random"]
MAPPED = HEAP + 8 * PAGE_SIZE


def started() -> tuple[Machine, MmStruct]:
    machine = boot(8)
    mm = machine.add_mm("cc1", HEAP)
    sys_brk(mm, HEAP + 2 * PAGE_SIZE)
    return machine, mm


def ended(machine: Machine, *mms: MmStruct) -> None:
    for mm in mms:
        exit_mmap(mm)
        machine.remove_mm(mm)


def mapped_file(mm: MmStruct, kind: int = MAP_SHARED) -> AddressSpace:
    file = AddressSpace("data")
    file.disk.update({0: "first", 1: "second"})
    sys_mmap(mm, MAPPED, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, kind | MAP_FIXED, file)
    return file


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_mbind_moves_pages_beside_stores_and_compaction(strategy: str) -> None:
    def program() -> None:
        machine, mm = started()
        kevent = Workqueue()
        worker = spawn(worker_thread, kevent)
        user_store(mm, HEAP, "token")
        moved, *_ = join(
            spawn(do_mbind, mm, kevent, HEAP, PAGE_SIZE),
            spawn(user_store, mm, HEAP + PAGE_SIZE, "other"),
            spawn(compact_zone, machine.memory),
        )
        check(moved == 0, "mbind")
        check([user_load(mm, HEAP), user_load(mm, HEAP + PAGE_SIZE)] == ["token", "other"], "content")
        destroy_workqueue(kevent)
        join(worker)
        ended(machine, mm)

    assert_clean(run_alone(program, executions=100, strategy=strategy))


def test_mbind_takes_the_page_to_another_frame() -> None:
    def program() -> None:
        machine, mm = started()
        kevent = Workqueue()
        worker = spawn(worker_thread, kevent)
        user_store(mm, HEAP, "token")
        check(machine.memory.mem_map[0] not in machine.memory.free_list, "in the first frame")
        check(do_mbind(mm, kevent, HEAP, PAGE_SIZE) == 0, "mbind")
        check(machine.memory.mem_map[0] in machine.memory.free_list, "which is free now")
        check(do_mbind(mm, kevent, HEAP + 1, PAGE_SIZE) == EINVAL, "unaligned")
        check(do_mbind(mm, kevent, MAPPED, PAGE_SIZE) == EFAULT, "nothing there")
        destroy_workqueue(kevent)
        join(worker)
        ended(machine, mm)

    assert_clean(run_alone(program))


def test_a_page_is_filled_once_and_its_fork_is_told() -> None:
    def program() -> None:
        machine, mm = started()
        ctx = userfaultfd(mm)
        check(userfaultfd_copy(ctx, HEAP, "image") == 0, "filled")
        check(userfaultfd_copy(ctx, HEAP, "again") == EEXIST, "there is one")
        check(userfaultfd_copy(ctx, MAPPED, "image") == EFAULT, "nothing mapped")
        fork = spawn(sys_fork, machine, mm, "as")
        child = userfaultfd_read(ctx)
        check(userfaultfd_copy(child, HEAP + PAGE_SIZE, "child's") == 0, "the child is filled")
        join(fork)
        check([user_load(child.mm, HEAP + n * PAGE_SIZE) for n in (0, 1)] == ["image", "child's"], "child")
        check([user_load(mm, HEAP + n * PAGE_SIZE) for n in (0, 1)] == ["image", 0], "parent")
        ended(machine, mm, child.mm)

    assert_clean(run_alone(program, executions=50))


def test_remap_file_pages_shows_another_page() -> None:
    def program() -> None:
        machine, mm = started()
        file = mapped_file(mm)
        check(user_load(mm, MAPPED) == "first", "before")
        check(sys_remap_file_pages(mm, MAPPED, PAGE_SIZE, 1) == 0, "remapped")
        check([user_load(mm, MAPPED), user_load(mm, MAPPED + PAGE_SIZE)] == ["second", "second"], "after")
        check(sys_remap_file_pages(mm, HEAP, PAGE_SIZE, 0) == EINVAL, "no file")
        check(sys_remap_file_pages(mm, MAPPED, 1, 0) == EINVAL, "unaligned")
        exit_mmap(mm)
        check(sys_remap_file_pages(mm, MAPPED, PAGE_SIZE, 0) == ESRCH, "ended")
        machine.remove_mm(mm)
        fput(machine.memory, file)

    assert_clean(run_alone(program))


@pytest.mark.parametrize("executions", [50, pytest.param(150, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("kind", [MAP_SHARED, MAP_PRIVATE])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_mapping_shows_a_page_of_the_file_before_or_after_a_write(
    strategy: str, kind: int, executions: int
) -> None:
    def program() -> None:
        machine, mm = started()
        file = mapped_file(mm, kind)
        user_store(mm, HEAP, "written")
        _, seen = join(
            spawn(generic_file_write, mm, file, 0, HEAP, name="write"),
            spawn(user_load, mm, MAPPED, name="load"),
        )
        check(seen in ("first", "written"), f"the mapping shows {seen!r}")
        check(user_load(mm, MAPPED) == "written", "afterwards")
        ended(machine, mm)
        fput(machine.memory, file)

    assert_clean(run_alone(program, executions=executions, strategy=strategy))
