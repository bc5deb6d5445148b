"""Public puzzles: dining philosophers, double-checked locking, lost updates, Peterson's lock, a bounded buffer."""

from __future__ import annotations

from typing import Any

import pytest
from concurrency_programs import BARE, NO_RACES, Cell, clean, every_execution, first_failure, lost_update
from known_bugs import NOTIFY, Buffer, change

from sugarbush.concurrency import (
    Kind,
    Mutex,
    check,
    explore,
    join,
    smp_load_acquire,
    smp_store_release,
    spawn,
)
from sugarbush.concurrency.lowlevel import Operation


def philosophers(n: int, ordered: bool) -> Any:
    def program() -> None:
        forks = [Mutex(f"fork {i}") for i in range(n)]

        def dine(i: int) -> None:
            left, right = i, (i + 1) % n
            if ordered and left > right:
                left, right = right, left
            with forks[left], forks[right]:
                pass

        for i in range(n):
            spawn(dine, i, name=f"philosopher {i}")

    return program


@pytest.mark.parametrize("strategy", ["random", "pct"])
def test_dining_philosophers_deadlock(strategy: str) -> None:
    failure = first_failure(philosophers(3, False), BARE, strategy=strategy)
    assert failure.kind is Kind.DEADLOCK
    assert failure.detail.count("waits in") == 3
    assert "philosopher 0 waits in mutex_lock(fork 1), held by philosopher 1" in failure.detail


def test_lockdep_sees_the_philosophers_without_a_deadlock() -> None:
    failure = first_failure(philosophers(3, False), NO_RACES, depth=1)
    assert failure.headline == "WARNING: possible circular locking dependency detected"


def test_philosophers_with_a_fixed_order_never_deadlock() -> None:
    clean(philosophers(4, True))
    assert all(execution.failure is None for execution in every_execution(philosophers(2, True)))


def test_lost_update_is_found_within_a_few_executions() -> None:
    for strategy in ("random", "pct"):
        for seed in range(20):
            result = explore(lost_update, strategy=strategy, seed=seed, executions=100)
            assert result.failures
            assert result.failures[0].failure.headline == "check failed: both additions count"


def double_checked(publish: bool) -> Any:
    def program() -> None:
        mutex, singleton = Mutex("init"), Cell()

        def get() -> int:
            if publish:
                made = smp_load_acquire(singleton, "once")
            else:
                made = singleton.once
            if not made:
                with mutex:
                    if not singleton.once:
                        singleton.plain = 42
                        if publish:
                            smp_store_release(singleton, "once", 1)
                        else:
                            singleton.once = 1
            return singleton.plain

        check(join(spawn(get), spawn(get)) == [42, 42], "both get the object")

    return program


def test_double_checked_locking_needs_release_and_acquire() -> None:
    assert first_failure(double_checked(False)).kind is Kind.DATA_RACE
    clean(double_checked(True))


def test_petersons_lock_excludes_and_with_one_store_too_late_does_not() -> None:
    def program(late: bool) -> None:
        wants, turn, inside = [Cell(), Cell()], Cell(), Cell()

        def section(me: int) -> None:
            other = 1 - me
            if not late:
                wants[me].once = 1
            turn.once = other
            if late:
                wants[me].once = 1
            for _ in range(3):
                if not (wants[other].once and turn.once == other):
                    break
            else:
                return
            inside.count += 1
            check(inside.count == 1, "alone inside")
            inside.count -= 1
            wants[me].once = 0

        join(spawn(section, 0), spawn(section, 1))

    clean(lambda: program(False))
    assert first_failure(lambda: program(True)).headline == "check failed: alone inside"


def wake_all(buffer: Buffer, _task: Any, _arg: object) -> None:
    buffer.asleep.clear()


NOTIFY_ALL = Operation("notify_all", effect=wake_all, wakes=True)


def bounded_buffer(notify: Operation) -> Any:
    def program() -> None:
        mutex, buffer = Mutex("monitor"), Buffer()
        for number in range(2):
            spawn(change, mutex, buffer, True, notify, name=f"put {number}")
            spawn(change, mutex, buffer, False, notify, name=f"take {number}")

    return program


def test_cargills_buffer_deadlocks_with_notify_and_not_with_notify_all() -> None:
    failure = first_failure(bounded_buffer(NOTIFY), BARE, strategy="random", executions=5000)
    assert failure.kind is Kind.DEADLOCK
    assert "waits in wait(buffer)" in failure.detail
    clean(bounded_buffer(NOTIFY_ALL), executions=1000)
