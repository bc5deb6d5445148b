"""Mapped files: sharing, private copies, truncation, and mappings with an order of their own."""

from __future__ import annotations

import pytest
from vm_world import HEAP, assert_clean, assert_invariants, run_alone

from sugarbush.vm.access.user import Killed, user_load, user_store
from sugarbush.vm.files.filemap import fput
from sugarbush.vm.objects.errno import EINVAL
from sugarbush.vm.objects.layout import PAGE_SIZE
from sugarbush.vm.objects.mm_types import AddressSpace
from sugarbush.vm.reclaim.nonlinear import remap_file_pages
from sugarbush.vm.reclaim.truncate import do_truncate
from sugarbush.vm.syscalls.fork import sys_fork
from sugarbush.vm.syscalls.mman import MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, MAP_SHARED
from sugarbush.vm.syscalls.mmap import sys_mmap
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import boot

SECOND = HEAP + PAGE_SIZE


def test_a_shared_mapping_is_seen_by_all_and_a_private_one_by_one() -> None:
    def program() -> None:
        machine = boot(10)
        file = AddressSpace("file")
        shared, private = machine.add_mm("a", HEAP), machine.add_mm("b", HEAP)
        assert sys_mmap(shared, HEAP, PAGE_SIZE, 3, MAP_SHARED | MAP_FIXED, file) == HEAP
        assert sys_mmap(private, HEAP, PAGE_SIZE, 3, MAP_PRIVATE | MAP_FIXED, file) == HEAP
        user_store(shared, HEAP, "one")
        assert user_load(private, HEAP) == "one"
        user_store(private, HEAP, "two")
        user_store(shared, HEAP, "three")
        assert user_load(private, HEAP) == "two"
        assert_invariants(machine)
        for mm in (shared, private):
            exit_mmap(mm)
            machine.remove_mm(mm)
        fput(machine.memory, file)

    assert_clean(run_alone(program))


@pytest.mark.parametrize("kind", [MAP_SHARED, MAP_PRIVATE])
def test_fork_shares_what_is_shared(kind: int) -> None:
    def program() -> None:
        machine = boot(10)
        mm = machine.add_mm("a", HEAP)
        sys_mmap(mm, HEAP, PAGE_SIZE, 3, kind | MAP_ANONYMOUS | MAP_FIXED)
        user_store(mm, HEAP, "before")
        child = sys_fork(machine, mm, "b")
        assert child is not None
        user_store(mm, HEAP, "after")
        assert user_load(child, HEAP) == ("after" if kind == MAP_SHARED else "before")
        for one in (mm, child):
            exit_mmap(one)
            machine.remove_mm(one)

    assert_clean(run_alone(program))


def test_behind_the_new_end_of_a_truncated_file_is_nothing() -> None:
    def program() -> None:
        machine = boot(6)
        mm, file = machine.add_mm("a", HEAP), AddressSpace("file")
        sys_mmap(mm, HEAP, 2 * PAGE_SIZE, 3, MAP_SHARED | MAP_FIXED, file)
        user_store(mm, HEAP, "kept")
        user_store(mm, SECOND, "cut off")
        do_truncate(machine.memory, file, 1)
        assert user_load(mm, HEAP) == "kept"
        with pytest.raises(Killed):
            user_load(mm, SECOND)
        exit_mmap(mm)
        machine.remove_mm(mm)
        fput(machine.memory, file)

    assert_clean(run_alone(program))


def test_a_mapping_may_have_an_order_of_its_own() -> None:
    def program() -> None:
        machine = boot(6)
        mm, file = machine.add_mm("a", HEAP), AddressSpace("file")
        sys_mmap(mm, HEAP, 2 * PAGE_SIZE, 3, MAP_SHARED | MAP_FIXED, file)
        user_store(mm, HEAP, "first")
        user_store(mm, SECOND, "second")
        assert remap_file_pages(mm, SECOND, PAGE_SIZE, 0) == 0
        assert user_load(mm, SECOND) == "first"
        assert remap_file_pages(mm, SECOND + 1, PAGE_SIZE, 0) == EINVAL
        assert remap_file_pages(mm, SECOND, 2 * PAGE_SIZE, 0) == EINVAL
        assert remap_file_pages(mm, HEAP + 8 * PAGE_SIZE, PAGE_SIZE, 0) == EINVAL
        exit_mmap(mm)
        machine.remove_mm(mm)
        fput(machine.memory, file)

    assert_clean(run_alone(program))
