"""The ends of locks, tasks and keys (facts 1.1, 1.17)."""

from __future__ import annotations

import gc

import pytest
from lockdep_world import World

from sugarbush.lockdep import LockClassKey, Lockdep, LockdepError, LockMap, ReportKind, TaskContext
from sugarbush.lockdep.reports import HeldFreedReport
from sugarbush.lockdep.show.snapshot import take


def test_freeing_a_held_lock(world: World) -> None:
    a, b = world.locks("a b")
    with world.held(a):
        world.lockdep.free_check([b])
        assert world.kinds == []
        world.lockdep.free_check([b, a])
    report = world.only
    assert isinstance(report, HeldFreedReport)
    assert report.freed.name == "a"


def test_only_the_current_task_is_looked_at(world: World) -> None:
    a = world.lock("a")
    with world.held(a), world.task("other"):
        world.lockdep.free_check([a])
    assert world.kinds == []


def test_exit_with_locks_held(world: World) -> None:
    a = world.lock("a")
    world.lockdep.task_exit(world.ctx)
    assert world.kinds == []
    world.lockdep.acquire(a)
    world.lockdep.task_exit(world.ctx)
    assert world.only.headline == "WARNING: main/1 still has locks held!"


def test_return_to_user_with_locks_held(world: World) -> None:
    world.lockdep.return_to_user()
    assert world.kinds == []
    with world.held(world.lock("a")):
        world.lockdep.return_to_user()
    assert world.kinds == [ReportKind.RETURN_TO_USER]


def test_an_unregistered_key_takes_its_dependencies_along(world: World) -> None:
    a, b, c = world.locks("a b c")
    world.take(a, b, c)
    world.take(world.lock("b", subclass=1))
    with world.held(b):
        world.take(world.lock("b"), subclass=1)
    world.lockdep.unregister_key(b.key)
    assert world.edges() == set()
    assert world.lockdep.state().edges == 0
    assert [len(row.locks) for row in take(world.lockdep).chains] == [1]
    world.take(c, a)
    assert world.kinds == []


def test_a_key_can_be_used_again_as_a_new_class(world: World) -> None:
    a, b = world.locks("a b")
    world.take(a, b)
    world.lockdep.unregister_key(b.key)
    world.take(b, a)
    assert world.kinds == []
    world.take(a, b)
    assert world.kinds == [ReportKind.CIRCULAR]
    assert world.lockdep.state().zapped == 1


def test_unregistering_forgets_guarded_cycles_and_waits(world: World) -> None:
    gate, a, b = world.locks("gate a b")
    world.take(gate, a, b)
    world.take(gate, b, a)
    world.lockdep.unregister_key(b.key)
    world.take(world.lock("gate"))
    assert world.kinds == [ReportKind.GUARDED]
    world.take(a, b)
    world.take(b, a)
    assert world.kinds == [ReportKind.GUARDED, ReportKind.CIRCULAR]


def test_a_lock_held_while_its_key_goes_can_be_released(world: World) -> None:
    a, b = world.locks("a b")
    world.lockdep.acquire(a)
    world.lockdep.acquire(b)
    world.lockdep.unregister_key(a.key)
    world.lockdep.release(b)
    world.lockdep.release(a)
    assert world.ctx.held == []
    assert world.kinds == []


def test_unregistering_an_unknown_key_is_an_error(world: World) -> None:
    with pytest.raises(LockdepError, match="has not been registered"):
        world.lockdep.unregister_key(LockClassKey("never"))


def test_names_of_different_keys_are_told_apart_by_number(world: World) -> None:
    same = [LockMap(LockClassKey("lock")) for _ in range(3)]
    world.take(*same)
    assert world.edges() == {"lock -EN> lock#2", "lock#2 -EN> lock#3"}


def test_name_and_subclass_are_shown_together(world: World) -> None:
    first, second = LockMap(LockClassKey("lock")), LockMap(LockClassKey("lock"), subclass=1)
    world.take(first, second)
    assert world.edges() == {"lock -EN> lock#2/1"}


def test_a_class_is_made_at_the_first_acquire(world: World) -> None:
    world.lock("never taken")
    assert world.lockdep.state().classes == []


def test_maps_outlive_validators() -> None:
    key = LockClassKey("static")
    lock, other = LockMap(key), LockMap(LockClassKey("other"))
    for _ in range(3):
        ctx = TaskContext("main", 1)
        lockdep = Lockdep(lambda ctx=ctx: ctx)
        lockdep.acquire(lock)
        lockdep.acquire(other)
        assert [line.address & 0xFFF for line in lockdep.held_locks(ctx)] == [0x40, 0x80]
        assert lockdep.reports == []


def test_two_validators_may_watch_one_map_in_turns() -> None:
    a, b = LockMap(LockClassKey("a")), LockMap(LockClassKey("b"))
    contexts = [TaskContext("one", 1), TaskContext("two", 2)]
    one, two = (Lockdep(lambda ctx=ctx: ctx) for ctx in contexts)
    for lockdep, order in ((one, (a, b)), (two, (b, a)), (one, (a, b)), (two, (b, a))):
        for lock in order:
            lockdep.acquire(lock)
        for lock in reversed(order):
            lockdep.release(lock)
    assert one.reports == two.reports == []


def test_a_context_can_go_on_to_another_validator() -> None:
    ctx, a, b = TaskContext("main", 1), LockMap(LockClassKey("a")), LockMap(LockClassKey("b"))
    for _ in range(3):
        lockdep = Lockdep(lambda: ctx)
        for order in ((a, b), (b, a)):
            for lock in order:
                lockdep.acquire(lock)
            for lock in reversed(order):
                lockdep.release(lock)
        lockdep.acquire(a)
        assert [report.kind for report in lockdep.reports] == [ReportKind.CIRCULAR]
        assert len(lockdep.held_locks(ctx)) == 1


def test_tasks_that_went_are_not_listed(world: World) -> None:
    with world.task("short"):
        world.lockdep.acquire(world.lock("a"))
    assert [ctx.comm for ctx in world.lockdep.state().tasks] == ["short"]
    del world.tasks["short"]
    gc.collect()
    assert world.lockdep.state().tasks == []
