"""Time and timers: nothing fires early, everything may fire late, and nobody waits for real."""

from __future__ import annotations

import time
from typing import Any

import pytest
from concurrency_programs import BARE, NO_RACES, Cell, every_schedule, first_failure, outcomes

from sugarbush.concurrency import (
    Kind,
    Mutex,
    Settings,
    Spinlock,
    Timer,
    check,
    del_timer,
    del_timer_sync,
    explore,
    jiffies,
    join,
    ktime_get,
    mdelay,
    mod_timer,
    msleep,
    replay,
    spawn,
    timer_pending,
)


def test_virtual_time_passes_without_waiting() -> None:
    def program() -> None:
        msleep(3_600_000)
        check(jiffies() == 3_600_000, "an hour later")
        check(ktime_get() == 3_600 * 10**9, "in nanoseconds")

    start = time.monotonic()
    every_schedule(program)
    assert time.monotonic() - start < 60


def test_real_time_passes_under_threads() -> None:
    def program() -> None:
        before = time.monotonic()
        msleep(20)
        check(time.monotonic() - before >= 0.02, "so long it took")
        check(jiffies() >= 20, "and so late it is")

    assert not explore(program, runtime="threaded", executions=1).failures


def test_sleepers_wake_up_in_the_order_of_their_deadlines_or_later() -> None:
    def program(log: list[Any]) -> None:
        def sleep(msecs: int) -> None:
            msleep(msecs)
            log.append((msecs, jiffies()))

        join(spawn(sleep, 10), spawn(sleep, 20))
        log.sort()

    assert outcomes(program) == {
        ((10, 10), (20, 20)),
        ((10, 20), (20, 20)),
        ((10, 10), (20, 30)),
        ((10, 30), (20, 20)),
        ((10, 30), (20, 30)),
    }


def test_a_timer_fires_at_its_time_and_may_be_late() -> None:
    def program(log: list[Any]) -> None:
        timer = Timer(lambda timer: log.append(jiffies()))
        check(not mod_timer(timer, 5), "was not set")
        check(not timer_pending(timer) or mod_timer(timer, 7) or log, "was set, or it has fired")
        msleep(20)

    assert outcomes(program) >= {(5,), (7,), (5, 7)}


def test_a_timer_that_is_set_again_while_pending_fires_once(run) -> None:
    def program() -> None:
        fired: list[int] = []
        timer = Timer(lambda timer: fired.append(jiffies()))
        check(not mod_timer(timer, 2000), "new")
        pending = mod_timer(timer, 1)
        msleep(5)
        del_timer_sync(timer)
        check(len(fired) == (1 if pending else 2), "once, but that it had fired already")
        check(not timer_pending(timer) and not del_timer(timer), "over")

    assert run(program) is None


def test_a_deleted_timer_does_not_fire(run) -> None:
    def program() -> None:
        fired: list[int] = []
        timer = Timer(lambda timer: fired.append(1))
        mod_timer(timer, jiffies() + 1000)
        deleted = del_timer(timer)
        msleep(1)
        check(deleted != (fired == [1]), "one of the two")

    assert run(program) is None


def test_a_timer_may_set_itself_again(run) -> None:
    def program() -> None:
        ticks: list[int] = []

        def tick(timer: Timer) -> None:
            ticks.append(jiffies())
            if len(ticks) < 3:
                mod_timer(timer, jiffies() + 10)

        mod_timer(Timer(tick), 1)
        msleep(100)

    assert run(program) is None


def deleting(sync: bool) -> Any:
    def program() -> None:
        cell = Cell()

        def expire(timer: Timer) -> None:
            check(cell.once == 0, "not after it was deleted")

        timer = Timer(expire)
        mod_timer(timer, 1)
        (del_timer_sync if sync else del_timer)(timer)
        cell.once = 1

    return program


def test_only_del_timer_sync_waits_for_the_function() -> None:
    every_schedule(deleting(True))
    for strategy in ("dfs", "dpor", "random"):
        assert (
            first_failure(deleting(False), strategy=strategy).headline
            == "check failed: not after it was deleted"
        )


def test_what_came_before_mod_timer_is_seen_by_the_function() -> None:
    def program() -> None:
        cell = Cell()
        timer = Timer(lambda timer: check(cell.plain == 1, "written before"))
        cell.plain = 1
        mod_timer(timer, 1)
        msleep(10)
        del_timer_sync(timer)
        cell.plain = 2

    every_schedule(program)


def test_the_function_of_a_timer_may_not_sleep(run) -> None:
    def program() -> None:
        mutex = Mutex("mutex")

        def expire(timer: Timer) -> None:
            mutex.lock()

        mod_timer(Timer(expire), 1)
        msleep(5)

    assert run(program).headline.startswith("BUG: sleeping function called from invalid context")


def test_a_lock_that_a_timer_takes_needs_bottom_halves_off() -> None:
    """The timer may come in on top of the holder; kernel: inconsistent lock state."""

    def program(bh: bool) -> None:
        lock = Spinlock("lock")

        def expire(timer: Timer) -> None:
            with lock:
                pass

        mod_timer(Timer(expire), 1)
        with lock.bh() if bh else lock:
            pass
        msleep(5)

    assert first_failure(lambda: program(False)).headline == "WARNING: inconsistent lock state"
    assert not explore(lambda: program(True), strategy="dfs", executions=300).failures


def waiting_under_the_lock() -> None:
    """del_timer_sync() under a lock that the timer's function takes."""
    lock = Spinlock("lock")

    def expire(timer: Timer) -> None:
        with lock:
            pass

    timer = Timer(expire, "watchdog")
    mod_timer(timer, 1)
    with lock.bh():
        del_timer_sync(timer)


def test_waiting_for_a_timer_under_its_lock_is_reported_and_deadlocks() -> None:
    reported = first_failure(waiting_under_the_lock, NO_RACES)
    assert reported.headline == "WARNING: possible circular locking dependency detected"
    assert "watchdog" in reported.detail
    failure = first_failure(waiting_under_the_lock, BARE, strategy="dfs")
    assert failure.kind is Kind.DEADLOCK
    assert "main waits in del_timer_sync(clock), held by clock" in failure.detail


def test_a_timer_that_is_pending_at_the_end_fires() -> None:
    def program() -> None:
        mod_timer(Timer(lambda timer: check(False, "fired")), 100)

    assert first_failure(program).headline == "check failed: fired"


def test_mdelay_waits_under_a_spinlock(run) -> None:
    def program() -> None:
        with Spinlock("lock"):
            mdelay(2)
            check(jiffies() >= 2, "later")

    assert run(program) is None


def test_when_a_timer_fires_is_in_the_schedule() -> None:
    result = explore(deleting(False), strategy="dfs")
    witness = result.failures[0]
    assert replay(deleting(False), str(witness.schedule)).events == witness.events
    assert "clock" in witness.tasks


def test_outside_a_program_time_passes_when_somebody_sleeps() -> None:
    fired: list[int] = []
    timer = Timer(lambda timer: fired.append(jiffies()))
    mod_timer(timer, jiffies() + 10)
    assert timer_pending(timer)
    msleep(5)
    assert not fired
    msleep(10)
    assert len(fired) == 1
    assert not del_timer_sync(timer)


@pytest.mark.parametrize("strategy", ["dfs", "dpor"])
def test_the_searches_end_with_timers(strategy: str) -> None:
    def program() -> None:
        mod_timer(Timer(lambda timer: None), 5)
        msleep(1)

    assert explore(program, strategy=strategy, settings=Settings()).verdict == "passed"
