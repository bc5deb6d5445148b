"""What the kernel's validator misses or invents, and this one does not (facts section 6)."""

from __future__ import annotations

import pytest
from lockdep_world import World

from sugarbush.lockdep import LockClassKey, Lockdep, LockMap, LockType, ReportKind, TaskContext
from sugarbush.lockdep.reports import CircularReport

CIRCULAR, GUARDED = ReportKind.CIRCULAR, ReportKind.GUARDED


def test_middle_reader_edge(world: World) -> None:
    """W(A) R(B) W(C) against W(C) W(A): the recursive reader in the middle does not hide A -> C."""
    a, b, c = world.locks("a b c")
    with world.held(a), world.held(b, read=2):
        world.take(c)
    assert "a -EN> c" in world.edges()
    world.take(c, a)
    assert world.kinds == [CIRCULAR]


def test_edge_lost_behind_a_nested_lock(world: World) -> None:
    """A lock that its nest lock excused made no dependencies: those of the locks below it are not lost."""
    nest, first, other, second, c = (world.lock(name) for name in ("nest", "x", "other", "x", "c"))
    with (
        world.held(nest),
        world.held(first, nest_lock=nest),
        world.held(other),
        world.held(second, nest_lock=nest),
    ):
        world.take(c)
    world.take(c, other)
    assert world.kinds == [CIRCULAR]


def test_wrong_instance_released_out_of_a_merged_entry(world: World) -> None:
    """Locks merged under a nest lock keep their identity: a release of another of the class is seen."""
    nest, first, second, never = (world.lock(name) for name in ("nest", "x", "x", "x"))
    with world.held(nest), world.held(first, nest_lock=nest), world.held(second, nest_lock=nest):
        world.lockdep.release(never)
    assert world.kinds == [ReportKind.BAD_UNLOCK]
    assert world.ctx.held == []


def test_per_class_visited_mark(world: World) -> None:
    """WA->WB, WA->RC, WB->WC, RC->WA: C is first reached weakly, and A->B->C->A is real all the same."""
    a, b, c = world.locks("a b c")
    world.take(a, b)
    with world.held(a):
        world.take(c, read=2)
    world.take(b, c)
    assert world.kinds == []
    with world.held(c, read=2):
        world.take(a)
    assert world.kinds == [CIRCULAR]


def test_guarded_cycles_are_reported_as_guarded(world: World) -> None:
    gate, a, b = world.locks("gate a b")
    world.take(gate, a, b)
    world.take(gate, b, a)
    report = world.only
    assert isinstance(report, CircularReport)
    assert report.kind is GUARDED
    assert report.guards == ("gate",)
    assert not report.is_failure


def test_a_guarded_cycle_is_not_handed_to_on_report() -> None:
    ctx, seen = TaskContext("main", 1), []
    lockdep = Lockdep(lambda: ctx, on_report=seen.append)
    world = World()
    world.lockdep, world.ctx = lockdep, ctx
    gate, a, b = world.locks("gate a b")
    world.take(gate, a, b)
    world.take(gate, b, a)
    assert (len(lockdep.reports), seen) == (1, [])


@pytest.mark.parametrize("read", [1, 2])
def test_a_shared_guard_protects_nothing(world: World, read: int) -> None:
    gate, a, b = world.locks("gate a b")
    for order in ((a, b), (b, a)):
        with world.held(gate, read=read):
            world.take(*order)
    assert world.kinds == [CIRCULAR]


def test_a_guard_held_shared_on_one_side_only_protects(world: World) -> None:
    gate, a, b = world.locks("gate a b")
    with world.held(gate, read=1):
        world.take(a, b)
    with world.held(gate):
        world.take(b, a)
    assert world.kinds == [GUARDED]


def test_a_guard_taken_by_trylock_protects(world: World) -> None:
    gate, a, b = world.locks("gate a b")
    for order in ((a, b), (b, a)):
        with world.held(gate, trylock=True):
            world.take(*order)
    assert world.kinds == [GUARDED]


def test_a_guard_on_one_side_only_protects_nothing(world: World) -> None:
    gate, a, b = world.locks("gate a b")
    world.take(gate, a, b)
    world.take(b, a)
    assert world.kinds == [CIRCULAR]


def test_an_annotation_is_no_guard(world: World) -> None:
    gate = world.lock("work", lock_type=LockType.ANNOTATION)
    a, b = world.locks("a b")
    world.take(gate, a, b)
    world.take(gate, b, a)
    assert world.kinds == [CIRCULAR]


def test_a_class_of_two_instances_is_no_guard(world: World) -> None:
    one, two, a, b = world.lock("gate"), world.lock("gate"), world.lock("a"), world.lock("b")
    world.take(one, a, b)
    world.take(two, b, a)
    assert world.kinds == [CIRCULAR]


def test_a_guarded_cycle_becomes_real_when_its_guard_gets_a_second_instance(world: World) -> None:
    gate, a, b = world.locks("gate a b")
    world.take(gate, a, b)
    world.take(gate, b, a)
    assert world.kinds == [GUARDED]
    world.take(world.lock("gate"))
    assert world.kinds == [GUARDED, CIRCULAR]


def test_a_second_guard_still_guards_when_the_first_gets_a_second_instance(world: World) -> None:
    one, two, a, b = world.locks("one two a b")
    world.take(one, two, a, b)
    world.take(one, two, b, a)
    world.take(world.lock("one"))
    world.take(world.lock("a"))
    assert world.kinds == [GUARDED]
    world.take(world.lock("two"))
    assert world.kinds == [GUARDED, CIRCULAR]


def test_a_guarded_cycle_becomes_real_when_a_lock_joins_the_guards_class(world: World) -> None:
    gate, a, b, other = world.locks("gate a b other")
    world.take(other)
    world.take(gate, a, b)
    world.take(gate, b, a)
    world.lockdep.set_subclass(gate, 1)
    assert world.kinds == [GUARDED]
    world.lockdep.set_class(other, gate.key)
    assert world.kinds == [GUARDED, CIRCULAR]


def test_a_guarded_cycle_becomes_real_when_one_side_runs_without_the_guard(world: World) -> None:
    gate, a, b = world.locks("gate a b")
    world.take(gate, a, b)
    world.take(gate, b, a)
    world.take(a, b)
    assert world.kinds == [GUARDED, CIRCULAR]


def test_two_of_three_tasks_that_share_a_guard_cannot_be_in_the_ring_together(world: World) -> None:
    gate, a, b, c = world.locks("gate a b c")
    world.take(gate, a, b)
    world.take(b, c)
    world.take(gate, c, a)
    assert world.kinds == [GUARDED]


def test_a_lock_let_go_out_of_order_still_guarded_the_wait(world: World) -> None:
    gate, a, b = world.locks("gate a b")
    for first, second in ((a, b), (b, a)):
        world.lockdep.acquire(gate)
        world.lockdep.acquire(first)
        world.lockdep.acquire(second)
        world.lockdep.release(gate)
        world.lockdep.release(second)
        world.lockdep.release(first)
    assert world.kinds == [GUARDED]


def test_goes_on_after_a_report(world: World) -> None:
    x, y, a, b = world.lock("x"), world.lock("x"), world.lock("a"), world.lock("b")
    world.take(x, y)
    assert world.ctx.held == []
    world.lockdep.assert_held(a)
    world.take(a, b)
    world.take(b, a)
    world.lockdep.release(a)
    assert world.kinds == [ReportKind.RECURSIVE, ReportKind.ASSERT, CIRCULAR, ReportKind.BAD_UNLOCK]


def test_no_fixed_tables() -> None:
    """10,000 classes, a stack 1,000 deep, 64 subclasses, and the cycle at the end of it is still found."""
    ctx = TaskContext("main", 1)
    lockdep = Lockdep(lambda: ctx)
    maps = [LockMap(LockClassKey(f"lock{index}")) for index in range(10_000)]
    for lock_map in maps:
        lockdep.acquire(lock_map)
        lockdep.release(lock_map)
    for lock_map in maps[:1000]:
        lockdep.acquire(lock_map)
    for subclass in range(1, 64):
        lockdep.acquire(maps[0], subclass=subclass)
    assert len(ctx.held) == 1063
    for _ in range(63):
        lockdep.release(maps[0])
    for lock_map in reversed(maps[:1000]):
        lockdep.release(lock_map)
    assert lockdep.reports == []
    lockdep.acquire(maps[999])
    lockdep.acquire(maps[0])
    (report,) = lockdep.reports
    assert isinstance(report, CircularReport)
    assert len(report.chain) == 1000
