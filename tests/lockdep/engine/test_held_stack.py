"""The held stack: release in any order, merges, nest locks, downgrade, class changes, pins (facts 1.2, 1.12,
1.13).
"""

from __future__ import annotations

import pytest
from lockdep_world import World

from sugarbush.lockdep import LockClassKey, LockMap, ReportKind
from sugarbush.lockdep.reports import BadUnlockReport


def names(world: World) -> list[str]:
    return [line.name for line in world.lockdep.held_locks(world.ctx)]


def headlines(world: World) -> list[str]:
    return [report.headline for report in world.lockdep.reports]


def test_release_in_any_order_leaves_the_others_held(world: World) -> None:
    a, b, c = world.locks("a b c")
    for lock in (a, b, c):
        world.lockdep.acquire(lock)
    world.lockdep.release(b)
    assert names(world) == ["a", "c"]
    world.lockdep.release(a)
    world.lockdep.release(c)
    assert names(world) == []
    assert world.kinds == []


def test_release_out_of_order_validates_what_was_above_anew(world: World) -> None:
    a, b, c = world.locks("a b c")
    for lock in (a, b, c):
        world.lockdep.acquire(lock)
    assert "a -EN> c" not in world.edges()
    world.lockdep.release(b)
    assert "a -EN> c" in world.edges()


def test_locks_taken_after_an_out_of_order_release_depend_on_what_is_left(world: World) -> None:
    a, b, c = world.locks("a b c")
    world.lockdep.acquire(a)
    world.lockdep.acquire(b)
    world.lockdep.release(a)
    world.lockdep.acquire(c)
    assert world.edges() == {"a -EN> b", "b -EN> c"}


def test_release_keeps_trylock_and_mode_of_what_was_above(world: World) -> None:
    a, b, c = world.locks("a b c")
    world.lockdep.acquire(a)
    world.lockdep.acquire(b, read=1, trylock=True)
    world.lockdep.release(a)
    world.take(c)
    assert world.edges() == {"b -SN> c"}
    assert world.lockdep.is_held(b, 1)


def test_release_of_a_lock_never_taken_is_reported_and_changes_nothing(world: World) -> None:
    a, b = world.locks("a b")
    world.lockdep.acquire(a)
    world.lockdep.release(b)
    report = world.only
    assert isinstance(report, BadUnlockReport)
    assert report.name == "b"
    assert names(world) == ["a"]


def test_release_does_not_reach_into_the_interrupted_context(world: World) -> None:
    a = world.lock("a")
    with world.held(a):
        with world.hardirq():
            world.lockdep.release(a)
        assert names(world) == ["a"]
    assert world.kinds == [ReportKind.BAD_UNLOCK]


def test_each_task_has_a_stack_of_its_own(world: World) -> None:
    a = world.lock("a")
    with world.held(a), world.task("other"):
        assert not world.lockdep.is_held(a)
        world.lockdep.release(a)
    assert world.kinds == [ReportKind.BAD_UNLOCK]


def test_the_instance_is_released_not_another_of_its_class(world: World) -> None:
    first, second = world.lock("x"), world.lock("x")
    world.lockdep.acquire(first, read=2)
    world.lockdep.acquire(second, read=2)
    world.lockdep.release(first)
    assert world.lockdep.is_held(second)
    assert not world.lockdep.is_held(first)


def test_locks_under_one_nest_lock_are_merged_and_counted(world: World) -> None:
    nest = world.lock("nest")
    members = [world.lock("member") for _ in range(3)]
    world.lockdep.acquire(nest)
    for member in members:
        world.lockdep.acquire(member, nest_lock=nest)
    assert names(world) == ["nest", "member"]
    for member in members[:2]:
        world.lockdep.release(member)
    assert names(world) == ["nest", "member"]
    world.lockdep.release(members[2])
    assert names(world) == ["nest"]
    world.lockdep.release(members[0])
    assert world.kinds == [ReportKind.BAD_UNLOCK]


def test_merging_needs_a_nest_lock(world: World) -> None:
    nest, x, y = world.lock("nest"), world.lock("x"), world.lock("x")
    with world.held(nest), world.held(x, nest_lock=nest):
        world.take(y)
    assert world.kinds == [ReportKind.RECURSIVE]


def test_merged_locks_answer_for_themselves(world: World) -> None:
    nest, first, second, never = (world.lock(name) for name in ("nest", "x", "x", "x"))
    world.lockdep.acquire(nest)
    world.lockdep.acquire(first, nest_lock=nest)
    world.lockdep.acquire(second, nest_lock=nest)
    assert [world.lockdep.is_held(lock) for lock in (first, second, never)] == [True, True, False]
    world.lockdep.release(never)
    assert world.kinds == [ReportKind.BAD_UNLOCK]
    world.lockdep.release(first)
    assert [world.lockdep.is_held(lock) for lock in (first, second)] == [False, True]
    world.lockdep.free_check([first])
    world.lockdep.free_check([second])
    assert world.kinds == [ReportKind.BAD_UNLOCK, ReportKind.HELD_FREED]
    world.lockdep.release(second)
    assert names(world) == ["nest"]


def test_locks_merge_when_what_stood_between_goes(world: World) -> None:
    nest, first, between, second = world.lock("nest"), world.lock("x"), world.lock("b"), world.lock("x")
    world.lockdep.acquire(nest)
    world.lockdep.acquire(first, nest_lock=nest)
    world.lockdep.acquire(between)
    world.lockdep.acquire(second, nest_lock=nest)
    assert names(world) == ["nest", "x", "b", "x"]
    world.lockdep.release(between)
    assert names(world) == ["nest", "x"]
    world.lockdep.release(second)
    world.lockdep.release(first)
    assert names(world) == ["nest"]
    assert world.kinds == []


def test_nest_lock_excuses_recursion_and_makes_no_dependencies(world: World) -> None:
    nest, x, other, y = world.lock("nest"), world.lock("x"), world.lock("other"), world.lock("x")
    with world.held(nest), world.held(x, nest_lock=nest), world.held(other):
        world.take(y, nest_lock=nest)
    assert world.kinds == []
    assert "other -EN> x" not in world.edges()


def test_nest_lock_taken_after_the_class_excuses_nothing(world: World) -> None:
    nest, x, y = world.lock("nest"), world.lock("x"), world.lock("x")
    with world.held(x), world.held(nest):
        world.take(y, nest_lock=nest)
    assert ReportKind.RECURSIVE in world.kinds


def test_nest_lock_must_be_held_each_time(world: World) -> None:
    nest, x = world.lock("nest"), world.lock("x")
    with world.held(nest):
        world.take(x, nest_lock=nest)
    assert world.kinds == []
    world.take(x, nest_lock=nest)
    assert world.kinds == [ReportKind.NEST_LOCK]


def test_a_stack_known_under_a_nest_lock_is_not_known_without(world: World) -> None:
    nest, x, other, y = world.lock("nest"), world.lock("x"), world.lock("other"), world.lock("x")
    with world.held(nest), world.held(x), world.held(other):
        world.take(y, nest_lock=nest)
        assert world.kinds == []
        world.take(y)
    assert ReportKind.RECURSIVE in world.kinds


def test_downgrade_turns_a_write_hold_into_a_read_hold(world: World) -> None:
    a, b = world.locks("a b")
    world.lockdep.acquire(a)
    world.lockdep.downgrade(a)
    assert world.lockdep.is_held(a, 1)
    assert not world.lockdep.is_held(a, 0)
    world.take(b)
    assert world.edges() == {"a -SN> b"}
    world.lockdep.release(a)
    assert world.kinds == []


def test_downgrade_below_the_top_keeps_what_is_above(world: World) -> None:
    a, b, c = world.locks("a b c")
    world.lockdep.acquire(a)
    world.lockdep.acquire(b)
    world.lockdep.downgrade(a)
    assert names(world) == ["a", "b"]
    assert world.edges() == {"a -EN|SN> b"}
    world.take(c)
    assert "b -EN> c" in world.edges()


def test_downgrade_of_a_read_hold_is_reported(world: World) -> None:
    a = world.lock("a")
    with world.held(a, read=1):
        world.lockdep.downgrade(a)
    assert headlines(world) == ["WARNING: downgrading a read lock (a)"]


def test_downgrade_of_a_lock_not_held_is_reported(world: World) -> None:
    world.lockdep.downgrade(world.lock("a"))
    assert world.kinds == [ReportKind.BAD_UNLOCK]


def test_set_class_on_a_held_lock_validates_it_in_the_new_class(world: World) -> None:
    a, b = world.locks("a b")
    other = LockClassKey("other")
    world.take(LockMap(other), a)
    world.lockdep.acquire(a)
    world.lockdep.acquire(b)
    world.lockdep.set_class(b, other)
    assert names(world) == ["a", "other"]
    assert world.kinds == [ReportKind.CIRCULAR]


def test_set_class_moves_dependencies_of_later_acquires(world: World) -> None:
    a, b = world.locks("a b")
    world.take(a, b)
    world.lockdep.set_class(b, LockClassKey("c"), "renamed")
    world.take(a, b)
    assert world.edges() == {"a -EN> b", "a -EN> renamed"}


def test_set_subclass_makes_a_class_of_its_own_under_the_same_name(world: World) -> None:
    parent, child = world.lock("x"), world.lock("x")
    world.lockdep.set_subclass(child, 1)
    world.take(parent, child)
    assert world.edges() == {"x -EN> x/1"}
    assert child.name == "x"


def test_subclass_of_an_acquire_replaces_that_of_the_map(world: World) -> None:
    lock = world.lock("x", subclass=1)
    world.take(lock)
    world.take(lock, subclass=2)
    with world.held(lock):
        assert names(world) == ["x/1"]
    with world.held(lock, subclass=2):
        assert names(world) == ["x/2"]


def test_novalidate_makes_no_dependencies_but_keeps_balance(world: World) -> None:
    a, b = world.locks("a b")
    world.lockdep.set_novalidate(b)
    world.take(a, b)
    world.take(b, a)
    world.take(b, b)
    assert world.edges() == set()
    assert world.kinds == []
    with world.held(b):
        assert world.lockdep.is_held(b)
    world.lockdep.release(b)
    assert world.kinds == [ReportKind.BAD_UNLOCK]


def test_notrack_is_ignored_altogether(world: World) -> None:
    a = world.lock("a")
    world.lockdep.set_notrack(a)
    world.lockdep.acquire(a)
    assert names(world) == []
    world.lockdep.release(a)
    world.lockdep.release(a)
    assert world.kinds == []


def test_a_pinned_lock_must_not_be_released(world: World) -> None:
    a = world.lock("a")
    world.lockdep.acquire(a)
    cookie = world.lockdep.pin(a)
    assert cookie
    world.lockdep.release(a)
    assert headlines(world) == ["WARNING: releasing a pinned lock (a)"]


def test_an_unpinned_lock_may_be_released(world: World) -> None:
    a = world.lock("a")
    world.lockdep.acquire(a)
    cookie = world.lockdep.pin(a)
    world.lockdep.unpin(a, cookie)
    world.lockdep.repin(a, cookie)
    world.lockdep.unpin(a, cookie)
    world.lockdep.release(a)
    assert world.kinds == []


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (lambda lockdep, a, b: lockdep.pin(b), "WARNING: pinning an unheld lock (b)"),
        (lambda lockdep, a, b: lockdep.repin(b, 1), "WARNING: repinning an unheld lock (b)"),
        (lambda lockdep, a, b: lockdep.unpin(b, 1), "WARNING: unpinning an unheld lock (b)"),
        (lambda lockdep, a, b: lockdep.unpin(a, 1), "WARNING: unpinning an unpinned lock (a)"),
        (lambda lockdep, a, b: lockdep.unpin(a, lockdep.pin(a) + 1), "WARNING: pin count corrupted (a)"),
    ],
)
def test_pins_that_do_not_fit_are_reported(world: World, action, expected: str) -> None:  # type: ignore[no-untyped-def]
    a, b = world.locks("a b")
    world.lockdep.acquire(a)
    action(world.lockdep, a, b)
    assert headlines(world) == [expected]


def test_two_pins_need_both_cookies(world: World) -> None:
    a = world.lock("a")
    world.lockdep.acquire(a)
    first, second = world.lockdep.pin(a), world.lockdep.pin(a)
    world.lockdep.unpin(a, first)
    world.lockdep.release(a)
    assert first != second
    assert headlines(world) == ["WARNING: releasing a pinned lock (a)"]


def test_off_means_nothing_is_seen_and_on_brings_the_stack_back(world: World) -> None:
    a, b = world.locks("a b")
    world.lockdep.acquire(a)
    world.lockdep.lockdep_off()
    world.lockdep.lockdep_off()
    world.lockdep.acquire(b)
    world.lockdep.release(b)
    world.lockdep.release(b)
    world.lockdep.lockdep_on()
    world.lockdep.assert_held(b)
    world.lockdep.lockdep_on()
    assert names(world) == ["a"]
    assert world.kinds == []
    world.take(b)
    assert world.edges() == {"a -EN> b"}


def test_a_changed_class_is_marked_as_it_was_acquired(world: World) -> None:
    a = world.lock("a")
    world.lockdep.acquire(a)
    with world.irqs_off():
        world.lockdep.set_class(a, LockClassKey("b"))
        assert world.usage("b") == "+.+."


def test_a_stack_that_is_looked_at_each_time_is_kept_once(world: World) -> None:
    nest, x = world.lock("nest"), world.lock("x")
    with world.held(nest):
        for _ in range(100):
            world.take(x, nest_lock=nest)
    assert len(world.lockdep.state().waits) == 2
