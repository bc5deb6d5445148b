"""The model's lock order is the kernel's, as the lock validator keeps it whole; reclaim has its place in it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from vm_world import HEAP, run_alone

from sugarbush.concurrency import RwSemaphore, direct_reclaim, fs_reclaim
from sugarbush.lockdep.engine.lockorder import MM_LOCK_ORDER
from sugarbush.lockdep.model.gfp import GFP_DIRECT_RECLAIM, GFP_KERNEL, GFP_NOFS, GFP_NOWAIT
from sugarbush.vm.checks.lock_order import LOCK_ORDER
from sugarbush.vm.objects.mm_types import AddressSpace, AnonVma
from sugarbush.vm.reclaim.vmscan import allow_direct_reclaim
from sugarbush.vm.reverse.anon_vma import avc_cache
from sugarbush.vm.vmas.machine import Machine, boot


def test_the_locks_that_both_name_stand_in_the_same_order() -> None:
    shared = [[name for name in stack if name in LOCK_ORDER] for stack in MM_LOCK_ORDER]
    assert sum(len(stack) for stack in shared) >= 4
    for stack in shared:
        assert stack == sorted(stack, key=LOCK_ORDER.index)


def outer(machine: Machine) -> RwSemaphore:
    return machine.add_mm("cc1", HEAP).mmap_lock


def of_a_file(_: Machine) -> RwSemaphore:
    return AddressSpace("data").i_mmap_rwsem


def of_an_anon_vma(_: Machine) -> RwSemaphore:
    return AnonVma().rwsem


def allocate(gfp: int) -> Callable[[], object]:
    return lambda: avc_cache.alloc(gfp)


def reclaim() -> None:
    with fs_reclaim():
        pass


def asks(lock: Callable[[Machine], RwSemaphore], enter: Callable[[], object]) -> list[str]:
    """What the check says of `enter` under that lock, whatever the lock validator thinks of it."""

    def program() -> None:
        machine = boot(2)
        allow_direct_reclaim(machine.memory, 0)
        held = lock(machine)
        held.down_write()
        enter()
        held.up_write()

    failures = run_alone(program, without=("lockdep", "leak")).failures
    assert all(one.failure.check == "lock-order" for one in failures)
    return [one.failure.headline for one in failures]


@pytest.mark.parametrize("lock", [of_a_file, of_an_anon_vma])
@pytest.mark.parametrize("enter", [allocate(GFP_KERNEL), reclaim, direct_reclaim])
def test_reclaim_is_not_entered_under_a_lock_that_it_takes(
    lock: Callable[[Machine], RwSemaphore], enter: Callable[[], object]
) -> None:
    (said,) = asks(lock, enter)
    assert said.startswith("lock order: main asks for fs_reclaim while it holds ")


@pytest.mark.parametrize("enter", [allocate(GFP_KERNEL), reclaim, direct_reclaim])
def test_it_is_entered_under_mmap_lock(enter: Callable[[], object]) -> None:
    assert asks(outer, enter) == []


@pytest.mark.parametrize("gfp", [GFP_NOWAIT, GFP_NOFS, GFP_DIRECT_RECLAIM])
def test_what_cannot_enter_it_may_allocate_anywhere(gfp: int) -> None:
    assert asks(of_an_anon_vma, allocate(gfp)) == []


def test_mmap_lock_is_not_asked_for_in_reclaim_and_reclaim_allocates() -> None:
    def inside(machine: Machine) -> RwSemaphore:
        mm = machine.add_mm("cc1", HEAP)
        with fs_reclaim():
            assert avc_cache.alloc(GFP_KERNEL) is not None
            mm.mmap_lock.down_read()
        return mm.mmap_lock

    (said,) = asks(inside, reclaim)
    assert said == "lock order: main asks for mm->mmap_lock while it holds fs_reclaim"
