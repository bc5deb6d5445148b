"""Public puzzles: Cargill's buffer, philosophers, readers and writers, the sleeping barber; each wrong and right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sugarbush.concurrency import (
    Atomic,
    Condition,
    Failure,
    Kind,
    Mutex,
    Once,
    RwLock,
    RwSemaphore,
    Semaphore,
    Settings,
    Shared,
    Spinlock,
    atomic_add_return,
    check,
    explore,
    join,
    replay,
    spawn,
)

BARE = Settings(without=frozenset({"lockdep"}))


class Cell(Shared):
    """A marked field and a counter."""

    once: Once[int] = 0
    count: Atomic[int] = 0


def found(program: Callable[[], Any], settings: Settings = BARE, **options: Any) -> Failure:
    """The failure that an exploration finds; it replays."""
    result = explore(program, settings=settings, **{"executions": 5000, **options})
    assert result.failures, f"nothing found in {result.executions} executions"
    witness = result.failures[0]
    again = replay(program, str(witness.schedule), settings=settings)
    assert again.failure.signature == witness.failure.signature
    return witness.failure


def clean(program: Callable[[], Any], executions: int = 300) -> None:
    for strategy in ("random", "pct"):
        assert not explore(program, strategy=strategy, executions=executions).failures


# -- Cargill's bounded buffer (OOPSLA workshop 1996; "Extreme Programming Challenge 14") -----------------------------


def buffer(everybody: bool) -> Callable[[], None]:
    def program() -> None:
        changed, full = Condition(name="changed"), Cell()

        def change(value: int) -> None:
            with changed:
                while full.once == value:
                    changed.wait()
                full.once = value
                (changed.notify_all if everybody else changed.notify)()

        for n in range(2):
            spawn(change, 1, name=f"put {n}")
            spawn(change, 0, name=f"take {n}")

    return program


def test_cargills_buffer_with_notify_can_wait_for_ever() -> None:
    failure = found(buffer(False), strategy="random")
    assert failure.kind is Kind.DEADLOCK
    assert "waits in condition_wait(changed)" in failure.detail
    assert "nobody is left who could wake it" in failure.detail


def test_cargills_buffer_with_notify_all_ends() -> None:
    clean(buffer(True))


# -- Dijkstra's dining philosophers ----------------------------------------------------------------------------------


def philosophers(how: str, n: int = 3) -> Callable[[], None]:
    def program() -> None:
        forks = [Mutex(f"fork {i}") for i in range(n)]
        seats = Semaphore(n - 1, "seats")

        def eat(i: int) -> None:
            left, right = forks[i], forks[(i + 1) % n]
            if how == "ordered" and i == n - 1:
                left, right = right, left
            if how == "seats":
                seats.down()
            with left, right:
                pass
            if how == "seats":
                seats.up()

        for i in range(n):
            spawn(eat, i, name=f"philosopher {i}")

    return program


@pytest.mark.parametrize("strategy", ["random", "pct", "dfs", "dpor"])
def test_philosophers_who_take_the_left_fork_first_wait_in_a_circle(strategy: str) -> None:
    failure = found(philosophers("naive"), strategy=strategy)
    assert failure.headline == (
        "deadlock: a circle of waits (philosopher 0 -> philosopher 1 -> philosopher 2 -> philosopher 0)"
    )
    assert failure.detail.count("waits in mutex_lock(fork ") == 3


@pytest.mark.parametrize("how", ["ordered", "seats"])
def test_philosophers_with_an_order_or_one_seat_less_all_eat(how: str) -> None:
    for strategy in ("random", "pct"):
        assert not explore(philosophers(how), strategy=strategy, executions=300, settings=BARE).failures


def test_a_circle_is_reported_while_others_go_on() -> None:
    def program() -> None:
        philosophers("naive", 2)()
        cell = Cell()

        def talk() -> None:
            for n in range(1000):
                cell.once = n

        spawn(talk, name="guest")

    failure = found(program, strategy="random")
    assert failure.headline == "deadlock: a circle of waits (philosopher 0 -> philosopher 1 -> philosopher 0)"
    assert failure.step < 1000


# -- Readers and writers ---------------------------------------------------------------------------------------------


def test_readers_that_relieve_each_other_starve_a_writer() -> None:
    """A reader leaves when another one is inside, so there is always one; a rwlock lets new readers in."""

    def program() -> None:
        lock, turn, written, inside = RwLock("library"), Spinlock("turn"), Cell(), Cell()

        def read() -> None:
            while not written.once:
                lock.read_lock()
                atomic_add_return(inside, "count", 1)
                left = False
                while not left:
                    with turn:
                        if inside.count >= 2:
                            atomic_add_return(inside, "count", -1)
                            left = True
                lock.read_unlock()

        def write() -> None:
            lock.write_lock()
            written.once = 1
            lock.write_unlock()

        atomic_add_return(inside, "count", 1)
        lock.read_lock()
        for n in range(2):
            spawn(read, name=f"reader {n}")
        spawn(write, name="writer")
        while inside.count < 2:
            pass
        atomic_add_return(inside, "count", -1)
        lock.read_unlock()

    failure = found(program, Settings(max_steps=4000, without=frozenset({"lockdep"})), strategy="random")
    assert failure.kind is Kind.STALL
    assert "writer waits in write_lock(library), held by reader " in failure.detail
    assert "reader 0 runs: " in failure.detail
    assert "reader 1 runs: " in failure.detail


def test_a_queue_lets_the_writer_in() -> None:
    """A rw_semaphore stops new readers while a writer waits."""

    def program() -> None:
        sem, written = RwSemaphore("library"), Cell()

        def read() -> None:
            while not written.once:
                sem.down_read()
                sem.up_read()

        def write() -> None:
            sem.down_write()
            written.once = 1
            sem.up_write()

        for n in range(2):
            spawn(read, name=f"reader {n}")
        spawn(write, name="writer")

    settings = Settings(max_steps=20_000)
    for strategy in ("random", "pct"):
        assert not explore(program, strategy=strategy, executions=100, settings=settings).failures


# -- Dijkstra's sleeping barber --------------------------------------------------------------------------------------


def barber(counts: bool) -> Callable[[], None]:
    """With a semaphore a ring of the bell is never lost; a condition without a look loses it."""

    def program() -> None:
        bell, ring, served = Semaphore(0, "bell"), Condition(name="bell"), Cell()

        def cut() -> None:
            if counts:
                bell.down()
            else:
                with ring:
                    ring.wait()
            atomic_add_return(served, "count", 1)

        def come() -> None:
            if counts:
                bell.up()
            else:
                with ring:
                    ring.notify()

        cutting = spawn(cut, name="barber")
        spawn(come, name="customer")
        join(cutting)
        check(served.count == 1, "the customer is served")

    return program


def test_the_barber_sleeps_on_when_the_bell_rang_before_he_slept() -> None:
    for strategy in ("dfs", "dpor"):
        failure = found(barber(False), strategy=strategy)
        assert failure.headline == "deadlock: no task can go on (main, barber)"
        assert "barber waits in condition_wait(bell)" in failure.detail


def test_the_barber_with_a_semaphore_serves_everybody() -> None:
    for strategy in ("dfs", "dpor"):
        assert explore(barber(True), strategy=strategy).verdict == "passed"
