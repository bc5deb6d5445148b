"""lockdep_assert_held and its family (facts 1.13)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lockdep_world import World

from sugarbush.lockdep import Lockdep, Report, ReportKind, TaskContext

HELD = ("assert_held", "assert_held_write", "assert_held_read", "assert_not_held")


@pytest.mark.parametrize(
    ("read", "passing"),
    [
        (None, {"assert_not_held"}),
        (0, {"assert_held", "assert_held_write"}),
        (1, {"assert_held", "assert_held_read"}),
        (2, {"assert_held", "assert_held_read"}),
    ],
)
@pytest.mark.parametrize("name", HELD)
def test_asserts_about_one_lock(world: World, name: str, read: int | None, passing: set[str]) -> None:
    a = world.lock("a")
    if read is not None:
        world.lockdep.acquire(a, read=read)
    getattr(world.lockdep, name)(a)
    assert world.kinds == ([] if name in passing else [ReportKind.ASSERT])
    if world.kinds:
        assert f"lockdep_{name}(a)" in world.only.headline
        assert world.only.stack[0].file == __file__


STATES: dict[str, Callable[[World], Any]] = {
    "process": lambda world: world.held(),
    "irqs_off": World.irqs_off,
    "hardirq": World.hardirq,
    "softirq": World.softirq,
    "holding": lambda world: world.held(world.lock("a")),
}


@pytest.mark.parametrize(
    ("name", "passing"),
    [
        ("assert_irqs_enabled", {"process", "softirq", "holding"}),
        ("assert_irqs_disabled", {"irqs_off", "hardirq"}),
        ("assert_in_irq", {"hardirq"}),
        ("assert_no_hardirq", {"process", "softirq", "holding"}),
        ("assert_in_softirq", {"softirq"}),
        ("assert_preemption_enabled", {"process", "softirq", "holding"}),
        ("assert_preemption_disabled", {"irqs_off", "hardirq"}),
        ("assert_none_held", {"process", "irqs_off", "hardirq", "softirq"}),
    ],
)
@pytest.mark.parametrize("state", list(STATES))
def test_asserts_about_context(world: World, name: str, passing: set[str], state: str) -> None:
    with STATES[state](world):
        getattr(world.lockdep, name)()
    assert world.kinds == ([] if state in passing else [ReportKind.ASSERT])


def test_preemption_asserts_follow_the_preempt_count(world: World) -> None:
    world.ctx.preempt_count = 1
    world.lockdep.assert_preemption_disabled()
    assert world.kinds == []
    world.lockdep.assert_preemption_enabled()
    assert world.kinds == [ReportKind.ASSERT]


def test_softirq_under_a_hardirq_is_not_in_softirq(world: World) -> None:
    with world.softirq(), world.hardirq():
        world.lockdep.assert_in_softirq()
    assert world.kinds == [ReportKind.ASSERT]


def test_a_condition_of_ones_own(world: World) -> None:
    world.lockdep.warn("mm->map_count > 0")
    assert world.only.headline.endswith(": mm->map_count > 0")
    assert world.only.stack[0].file == __file__


def test_a_failed_assert_is_kept_once_but_handed_over_each_time(world: World) -> None:
    ctx, seen = TaskContext("main", 1), []
    lockdep = Lockdep(lambda: ctx, on_report=seen.append)
    a = world.lock("a")
    for _ in range(3):
        lockdep.assert_held(a)
    assert (len(lockdep.reports), len(seen)) == (1, 3)


def test_what_on_report_raises_reaches_the_caller_and_nothing_is_held(world: World) -> None:
    class Stop(Exception):
        pass

    def stop(report: Report) -> None:
        raise Stop(report.headline)

    ctx = TaskContext("main", 1)
    lockdep = Lockdep(lambda: ctx, on_report=stop)
    a = world.lock("a")
    with pytest.raises(Stop, match="lockdep_assert_held"):
        lockdep.assert_held(a)
    lockdep.acquire(a)
    with pytest.raises(Stop, match="recursive"):
        lockdep.acquire(a)
    lockdep.release(a)
    assert ctx.held == []
