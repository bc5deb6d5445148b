"""Condition, flag and barrier: Python's faces, with every wake-up that is allowed."""

from __future__ import annotations

from threading import BrokenBarrierError
from typing import Any

import pytest
from concurrency_programs import Cell, every_schedule, first_failure, outcomes

from sugarbush.concurrency import (
    Barrier,
    ConcurrencyError,
    Condition,
    Flag,
    Kind,
    Settings,
    check,
    explore,
    join,
    spawn,
)


def handover(waits: Any) -> Any:
    """One task waits, in the way of `waits`, for what the other sets."""

    def program() -> None:
        condition, cell = Condition(name="condition"), Cell()

        def consume() -> None:
            with condition:
                waits(condition, cell)
                check(cell.plain == 1, "there it is")

        consumer = spawn(consume, name="consumer")
        with condition:
            cell.plain = 1
            condition.notify()
        join(consumer)

    return program


def loop(condition: Condition, cell: Cell) -> None:
    while not cell.plain:
        condition.wait()


def wait_for(condition: Condition, cell: Cell) -> None:
    check(condition.wait_for(lambda: cell.plain) == 1, "gives the value")


def if_only(condition: Condition, cell: Cell) -> None:
    if not cell.plain:
        condition.wait()


def blindly(condition: Condition, cell: Cell) -> None:
    condition.wait()


@pytest.mark.parametrize("waits", [loop, wait_for, if_only])
def test_a_notified_waiter_goes_on(waits: Any, run) -> None:
    assert run(handover(waits)) is None
    every_schedule(handover(waits))


def test_a_wait_without_a_look_loses_the_wake_up() -> None:
    failure = first_failure(handover(blindly))
    assert failure.kind is Kind.DEADLOCK
    assert "consumer waits in condition_wait(condition)" in failure.detail


def test_spurious_wake_ups_break_the_if_and_not_the_loop() -> None:
    spurious = Settings(spurious=1)
    for strategy in ("dfs", "dpor", "random", "pct"):
        failure = first_failure(handover(if_only), spurious, strategy=strategy)
        assert failure.headline == "check failed: there it is"
    every_schedule(handover(loop), spurious)
    every_schedule(handover(wait_for), spurious)


def test_a_spurious_wake_up_is_in_the_schedule() -> None:
    result = explore(handover(if_only), strategy="dfs", settings=Settings(spurious=1))
    assert "=1" in str(result.failures[0].schedule)
    assert any(event.what == "spurious wake-up" for event in result.failures[0].events)


def test_any_waiter_may_be_the_one_that_is_notified() -> None:
    def program(log: list[Any]) -> None:
        condition = Condition()

        def wait(name: str) -> None:
            with condition:
                condition.wait()
                log.append(name)

        for name in "ab":
            spawn(wait, name)
        Cell().once = 1
        with condition:
            everybody = [task.name for task in condition._waiters] == ["wait", "wait#2"]
            condition.notify()
        if everybody:
            log.append("both")
        with condition:
            condition.notify_all()

    seen = {entry for entry in outcomes(program) if "both" in entry}
    assert {tuple(name for name in entry if name != "both") for entry in seen} == {("a", "b"), ("b", "a")}


def test_notify_wakes_n() -> None:
    def program() -> None:
        condition = Condition()

        def wait() -> None:
            with condition:
                check(condition.wait(1), "notified")

        def late() -> None:
            with condition:
                check(not condition.wait(0.001), "not notified")

        join(spawn(late))
        with condition:
            condition.notify(5)
            condition.notify_all()

    every_schedule(program)


def test_a_timed_wait_says_whether_it_was_notified(run) -> None:
    def program() -> None:
        condition = Condition()
        with condition:
            check(condition.wait(0.002) is False, "nobody notifies")
            check(not condition._waiters, "and it waits no more")
            check(condition.wait_for(lambda: 0, 0.002) == 0, "the last value")

    assert run(program) is None


def test_what_needs_the_lock_says_so(run) -> None:
    for what in (Condition().wait, Condition().notify, Condition().notify_all):
        failure = run(what)
        assert failure.kind is Kind.EXCEPTION
        assert failure.headline.startswith("RuntimeError: cannot ")


def test_two_conditions_may_share_a_lock(run) -> None:
    """The bounded buffer as it should be: one condition a reason."""

    def program() -> None:
        items, condition = Cell(), Condition()
        full, empty = Condition(condition.lock, "full"), Condition(condition.lock, "empty")

        def put() -> None:
            with condition:
                full.wait_for(lambda: items.plain == 0)
                items.plain = 1
                empty.notify()

        def take() -> None:
            with condition:
                empty.wait_for(lambda: items.plain == 1)
                items.plain = 0
                full.notify()

        join(*[spawn(fn) for fn in (put, take, put, take)])

    assert run(program) is None


def test_a_flag_lets_everybody_through(run) -> None:
    def program() -> None:
        flag, cell = Flag("flag"), Cell()

        def wait() -> None:
            check(flag.wait(), "set")
            check(cell.plain == 1, "published")

        waiters = [spawn(wait) for _ in range(2)]
        check(flag.wait(0.001) is False, "not set yet")
        cell.plain = 1
        flag.set()
        join(*waiters)
        check(flag.is_set() and flag.wait(1), "set")
        flag.clear()
        check(not flag.is_set(), "cleared")

    assert run(program) is None


def test_a_flag_that_nobody_sets_is_a_deadlock() -> None:
    assert "main waits in wait(flag)" in first_failure(lambda: Flag().wait()).detail


def test_a_barrier_lets_all_go_on_together(run) -> None:
    def program(rounds: int) -> None:
        barrier, cell = Barrier(2), Cell()

        def work() -> list[int]:
            places = []
            for turn in range(rounds):
                cell.count += 0
                places.append(barrier.wait())
                check(len(barrier._waiting) < 2, f"turn {turn}")
            return places

        places = join(spawn(work), spawn(work))
        check(all({one, two} == {0, 1} for one, two in zip(*places, strict=True)), "one place each")

    assert run(lambda: program(3)) is None
    every_schedule(lambda: program(1))


def test_a_barrier_orders_what_came_before_it() -> None:
    def program() -> None:
        barrier, cells = Barrier(2), [Cell(), Cell()]

        def work(me: int) -> None:
            cells[me].plain = 1
            barrier.wait()
            check(cells[1 - me].plain == 1, "written before")

        join(spawn(work, 0), spawn(work, 1))

    every_schedule(program)


def test_a_missing_party_is_a_deadlock_or_breaks_the_barrier(run) -> None:
    def program(timeout: float | None) -> None:
        barrier = Barrier(2)
        try:
            barrier.wait(timeout)
        except BrokenBarrierError:
            check(barrier.broken, "broken")
            barrier.reset()
            check(not barrier.broken, "as new")

    assert "main waits in barrier_wait(barrier)" in run(lambda: program(None)).detail
    assert run(lambda: program(0.001)) is None


def test_abort_breaks_the_barrier_for_those_that_wait(run) -> None:
    def program() -> None:
        barrier = Barrier(3)

        def wait() -> str:
            try:
                barrier.wait()
            except BrokenBarrierError:
                return "broken"
            return "passed"

        tasks = [spawn(wait) for _ in range(2)]
        barrier.abort()
        check(join(*tasks) == ["broken", "broken"], "both hear of it")

    assert run(program) is None
    every_schedule(program)


def test_bad_input_and_how_they_look() -> None:
    with pytest.raises(ConcurrencyError, match="a barrier is for at least 1 task, not 0"):
        Barrier(0)
    assert repr(Barrier(2)) == "<Barrier barrier: 0 of 2>"
    assert repr(Flag()) == "<Flag flag: not set>"
    assert repr(Condition()) == "<Condition condition: nobody waits>"
