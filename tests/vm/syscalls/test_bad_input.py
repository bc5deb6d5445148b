"""Bad input to system calls: the kernel's errno or an unmoved brk, and nothing has changed."""

from __future__ import annotations

import pytest
from vm_world import HEAP, Beside, assert_clean, assert_invariants, page, run_alone

from sugarbush.concurrency import Failure, Kind
from sugarbush.vm.access.page_fault import handle_user_fault
from sugarbush.vm.access.user import Killed, user_load, user_store
from sugarbush.vm.objects.errno import EFAULT, EINVAL, ENOMEM, EPERM, ESRCH
from sugarbush.vm.objects.layout import (
    MMAP_MIN_ADDR,
    PAGE_SIZE,
    STACK_GUARD_GAP,
    TASK_SIZE,
    VM_DATA_FLAGS,
    VM_GROWSDOWN,
    VM_READ,
)
from sugarbush.vm.syscalls import brk, mmap
from sugarbush.vm.syscalls.brk import sys_brk
from sugarbush.vm.syscalls.mmap import do_mmap
from sugarbush.vm.vmas import munmap
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import boot
from sugarbush.vm.vmas.munmap import do_munmap

ULONG_MAX = (1 << 64) - 1


@pytest.fixture
def process() -> Beside:
    """A heap of four pages, with something in two of them."""
    beside = Beside(boot(16))
    for action in (("move_brk", 8, 0, 0), ("store", 4, 0, 0), ("store", 6, 0, 0)):
        beside.do(action)
    return beside


@pytest.mark.parametrize(
    ("start", "length", "errno"),
    [
        (HEAP + 1, PAGE_SIZE, EINVAL),
        (HEAP, 0, EINVAL),
        (HEAP, -1, EINVAL),
        (-PAGE_SIZE, PAGE_SIZE, EINVAL),
        (HEAP, TASK_SIZE, EINVAL),
        (HEAP, ULONG_MAX, EINVAL),
        (TASK_SIZE, PAGE_SIZE, EINVAL),
        (TASK_SIZE + PAGE_SIZE, PAGE_SIZE, EINVAL),
        (ULONG_MAX - PAGE_SIZE + 1, PAGE_SIZE, EINVAL),
        (HEAP + 64 * PAGE_SIZE, PAGE_SIZE, 0),
        (0, PAGE_SIZE, 0),
    ],
)
def test_munmap(process: Beside, start: int, length: int, errno: int) -> None:
    assert do_munmap(process.mm, start, length) == errno
    process.compare()


@pytest.mark.parametrize(
    ("address", "length", "errno"),
    [
        (HEAP + 1, PAGE_SIZE, EINVAL),
        (HEAP, 0, EINVAL),
        (None, 0, EINVAL),
        (None, -1, ENOMEM),
        (None, ULONG_MAX, ENOMEM),
        (None, TASK_SIZE, ENOMEM),
        (None, TASK_SIZE + 1, ENOMEM),
        (HEAP, TASK_SIZE, ENOMEM),
        (TASK_SIZE, PAGE_SIZE, ENOMEM),
        (-PAGE_SIZE, PAGE_SIZE, ENOMEM),
        (0, PAGE_SIZE, EPERM),
        (MMAP_MIN_ADDR - PAGE_SIZE, 2 * PAGE_SIZE, EPERM),
    ],
)
def test_mmap(process: Beside, address: int | None, length: int, errno: int) -> None:
    assert do_mmap(process.mm, address, length, VM_READ) == errno
    process.compare()


@pytest.mark.parametrize("brk", [0, -1, HEAP - 1, TASK_SIZE, TASK_SIZE + 1, ULONG_MAX, ULONG_MAX - PAGE_SIZE])
def test_brk_out_of_range_stays(process: Beside, brk: int) -> None:
    if brk == TASK_SIZE:
        do_mmap(process.mm, HEAP + (1 << 30), PAGE_SIZE, VM_READ)
        process.mapped[HEAP + (1 << 30)] = VM_READ
    assert sys_brk(process.mm, brk) == page(8)
    process.compare()


def test_brk_keeps_a_page_away_from_a_foreign_mapping(process: Beside) -> None:
    process.do(("map_at", 10, 2, VM_READ))
    assert sys_brk(process.mm, page(11)) == page(8)
    assert sys_brk(process.mm, page(10)) == page(8)
    process.compare()
    assert sys_brk(process.mm, page(9)) == page(9)


def test_brk_keeps_away_from_a_stack(process: Beside) -> None:
    stack = page(9) + PAGE_SIZE + STACK_GUARD_GAP
    assert do_mmap(process.mm, stack, PAGE_SIZE, VM_DATA_FLAGS | VM_GROWSDOWN) == stack
    assert sys_brk(process.mm, page(10)) == page(8)
    assert sys_brk(process.mm, page(9)) == page(9)


def test_brk_does_not_grow_a_foreign_mapping_that_ends_where_the_heap_begins() -> None:
    beside = Beside(boot(4))
    beside.do(("map_at", 2, 2, brk.VM_DATA_FLAGS | brk.VM_ACCOUNT))
    beside.do(("move_brk", 6, 0, 0))
    assert beside.mm.map_count == 2


def test_brk_into_a_hole_that_was_unmapped_by_hand_stays(process: Beside) -> None:
    process.do(("unmap", 5, 3, 0))
    assert sys_brk(process.mm, page(5)) == page(8)
    process.compare()
    process.do(("move_brk", 4, 0, 0))


@pytest.mark.parametrize("brk", [HEAP + 1, HEAP + PAGE_SIZE - 1, HEAP + PAGE_SIZE])
def test_brk_within_a_page_moves_without_mapping_more(process: Beside, brk: int) -> None:
    assert sys_brk(process.mm, brk) == brk
    assert sys_brk(process.mm, HEAP + PAGE_SIZE - 1) == HEAP + PAGE_SIZE - 1
    with pytest.raises(Killed, match=rf"signal at {HEAP + PAGE_SIZE:#x} \(error {EFAULT}\)"):
        user_load(process.mm, HEAP + PAGE_SIZE)


@pytest.fixture
def few_mappings(monkeypatch: pytest.MonkeyPatch) -> int:
    """The limit on mappings, made small."""
    monkeypatch.setattr(mmap, "MAX_MAP_COUNT", 3)
    monkeypatch.setattr(brk, "MAX_MAP_COUNT", 3)
    monkeypatch.setattr(munmap, "MAX_MAP_COUNT", 3)
    return 3


def test_the_limit_on_mappings(process: Beside, few_mappings: int) -> None:
    """As in v6.1, mmap and brk may go one above the limit, a split by munmap may not reach it."""
    for number, flags in ((10, VM_READ), (12, VM_DATA_FLAGS), (14, VM_READ)):
        process.do(("map_at", number, 1, flags))
    assert process.mm.map_count == few_mappings + 1
    assert do_mmap(process.mm, page(17), PAGE_SIZE, VM_READ) == ENOMEM
    assert do_mmap(process.mm, None, PAGE_SIZE, VM_READ) == ENOMEM
    assert sys_brk(process.mm, page(9)) == page(8)
    assert do_munmap(process.mm, page(5), PAGE_SIZE) == ENOMEM
    process.compare()
    process.do(("unmap", 14, 1, 0))
    assert do_munmap(process.mm, page(5), PAGE_SIZE) == ENOMEM
    process.compare()


def test_at_the_limit_an_end_may_still_be_cut_off(process: Beside, few_mappings: int) -> None:
    for number, flags in ((10, VM_READ), (12, VM_DATA_FLAGS)):
        process.do(("map_at", number, 1, flags))
    assert process.mm.map_count == few_mappings
    process.do(("unmap", 4, 1, 0))
    process.do(("move_brk", 6, 0, 0))


@pytest.mark.parametrize("address", [0, -PAGE_SIZE, -1, HEAP + 8 * PAGE_SIZE, TASK_SIZE, ULONG_MAX])
def test_touching_what_is_not_mapped(process: Beside, address: int) -> None:
    assert handle_user_fault(process.mm, address) == EFAULT
    with pytest.raises(Killed):
        user_store(process.mm, address, "x")
    process.compare()


def test_no_frame_left() -> None:
    beside = Beside(boot(1))
    beside.do(("move_brk", 8, 0, 0))
    user_store(beside.mm, HEAP, "first")
    with pytest.raises(Killed, match=str(ENOMEM)):
        user_store(beside.mm, HEAP + PAGE_SIZE, "second")
    assert user_load(beside.mm, HEAP) == "first"
    assert_invariants(beside.machine)
    assert sys_brk(beside.mm, HEAP) == HEAP
    assert len(beside.machine.memory.free_list) == 1


def test_an_address_space_that_has_ended(process: Beside) -> None:
    exit_mmap(process.mm)
    assert do_mmap(process.mm, None, PAGE_SIZE, VM_READ) == ESRCH
    assert do_munmap(process.mm, HEAP, PAGE_SIZE) == ESRCH
    assert sys_brk(process.mm, page(9)) == page(8)
    assert handle_user_fault(process.mm, HEAP) == EFAULT
    assert process.mm.mmap_lock.free
    assert_invariants(process.machine)
    with pytest.raises(Failure, match="mm_users"):
        exit_mmap(process.mm)


def test_an_address_space_that_was_freed_is_not_touched() -> None:
    def program() -> None:
        beside = Beside(boot(4))
        beside.end()
        do_munmap(beside.mm, HEAP, PAGE_SIZE)

    result = run_alone(program)
    assert [one.failure.kind for one in result.failures] == [Kind.USE_AFTER_FREE]


def test_every_allocation_of_a_heap_fails_once() -> None:
    """Grow, fill, cut in two, trim, exit: with one failing allocation, wherever it is."""

    def program() -> None:
        beside = Beside(boot(16), may_fail=True)
        for action in (
            ("move_brk", 10, 0, 0),
            *(("store", number, 0, 0) for number in (1, 2, 3, 4, 5, 6)),
            ("unmap", 5, 2, 0),
            ("map_at", 6, 1, VM_DATA_FLAGS),
            ("move_brk", 5, 0, 0),
        ):
            beside.do(action)
        beside.end()

    assert_clean(run_alone(program, executions=120, faults=1))
    assert_clean(run_alone(program, executions=120, faults=20))
