"""Programs whose number of traces is known by counting, with operations that wait; none is begun in vain."""

from __future__ import annotations

from collections.abc import Callable
from math import comb, factorial
from typing import Any

import pytest
from concurrency_programs import Cell
from strategy_programs import rw_sections

from sugarbush.concurrency import (
    Barrier,
    Completion,
    Mutex,
    RwLock,
    Semaphore,
    join,
    rcu_reader,
    spawn,
    synchronize_rcu,
)
from sugarbush.concurrency.lowlevel import DPOR, Simulated
from sugarbush.concurrency.strategies import Pruned

Program = Callable[[], Any]


def count(program: Program) -> tuple[int, int]:
    """How many executions are completed, and how many given up."""
    strategy = DPOR()
    runtime = Simulated(strategy)
    completed = given_up = 0
    while strategy.left:
        try:
            runtime.run(program)
            completed += 1
        except Pruned:
            given_up += 1
    return completed, given_up


def catalan(n: int) -> int:
    return comb(2 * n, n) // (n + 1)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_readers_and_a_writer_of_a_rwsem(n: int) -> None:
    """If no reader holds it when the writer comes, each reader is done before, comes while it is held and waits, or
    comes after: 3^n. Else the writer waits, too. Then each of the others is done before, comes while the writer waits,
    while it holds, or after: the sum of C(n, b) 4^(n - b) over the numbers b > 0 of those that hold it, 5^n - 4^n.
    """
    assert count(rw_sections(n, 1)) == (3**n + 5**n - 4**n, 0)


@pytest.mark.parametrize("n", [1, 3, 6])
def test_readers_and_a_writer_of_a_rwlock(n: int) -> None:
    """Nobody queues: each reader comes before the writer or after it."""

    def program() -> None:
        lock = RwLock("l")

        def reads() -> None:
            with lock.read():
                pass

        def writes() -> None:
            with lock.write():
                pass

        for _ in range(n):
            spawn(reads)
        spawn(writes)

    assert count(program) == (2**n, 0)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_readers_and_a_grace_period(n: int) -> None:
    """A reader that begins before the grace period ends before its end; one that begins after it ends before or after
    that.
    """

    def program() -> None:
        def reads() -> None:
            with rcu_reader():
                pass

        for _ in range(n):
            spawn(reads)
        spawn(synchronize_rcu)

    assert count(program) == (3**n, 0)


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_two_tasks_in_lock_step(rounds: int) -> None:
    """Two hand-overs a round; at each the other one waits already, or comes later."""

    def program() -> None:
        ping, pong = Semaphore(0, "ping"), Semaphore(0, "pong")

        def first() -> None:
            for _ in range(rounds):
                ping.up()
                pong.down()

        def second() -> None:
            for _ in range(rounds):
                ping.down()
                pong.up()

        spawn(first)
        spawn(second)

    assert count(program) == (4**rounds, 0)


@pytest.mark.parametrize("items", [1, 2, 3])
def test_a_bounded_buffer_of_one(items: int) -> None:
    """The consumer waits for each item or finds it, the producer for each place but the first."""

    def program() -> None:
        empty, full = Semaphore(1, "empty"), Semaphore(0, "full")

        def produce() -> None:
            for _ in range(items):
                empty.down()
                full.up()

        def consume() -> None:
            for _ in range(items):
                full.down()
                empty.up()

        spawn(produce)
        spawn(consume)

    assert count(program) == (2 ** (2 * items - 1), 0)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_completion_for_each_waiter(n: int) -> None:
    """In each prefix no more have waited than was completed: a Catalan number of such orders, in which the waiters
    stand in any order.
    """

    def program() -> None:
        completion = Completion()

        def completes() -> None:
            for _ in range(n):
                completion.complete()

        for _ in range(n):
            spawn(completion.wait)
        spawn(completes)

    assert count(program) == (catalan(n) * factorial(n), 0)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_trylocks(n: int) -> None:
    """They come in any order; those behind one that got it fail until it is given back: before each of the others or
    not.
    """

    def program() -> None:
        mutex = Mutex("m")

        def tries() -> None:
            if mutex.trylock():
                mutex.unlock()

        for _ in range(n):
            spawn(tries)

    assert count(program) == (factorial(n) * 2 ** (n - 1), 0)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_barrier(n: int) -> None:
    """All arrive, in any order; all leave, in any order."""

    def program() -> None:
        barrier = Barrier(n)
        for _ in range(n):
            spawn(barrier.wait)

    assert count(program) == (factorial(n) ** 2, 0)


@pytest.mark.parametrize(("height", "orders"), [(1, 2), (2, 80)])
def test_trees_of_joins(height: int, orders: int) -> None:
    """Each task writes after those that it has started: the orders of a heap, n! over the product of the sizes of all
    sub-trees (the hook length formula): 3!/3, 7!/(7 * 3 * 3).
    """

    def program() -> None:
        cell = Cell()

        def work(below: int) -> None:
            if below:
                join(*[spawn(work, below - 1) for _ in range(2)])
            cell.once = below

        spawn(work, height)

    assert count(program) == (orders, 0)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_dining_philosophers(n: int) -> None:
    """At each fork one of two is first: 2^n ways. That all are first at their left forks is the deadlock; that all are
    first at their right forks cannot be.
    """

    def program() -> None:
        forks = [Mutex(f"fork {k}") for k in range(n)]

        def dine(k: int) -> None:
            with forks[k], forks[(k + 1) % n]:
                pass

        for k in range(n):
            spawn(dine, k)

    assert count(program) == (2**n - 1, 0)


def test_a_deadlock_hides_what_would_have_come_after_it() -> None:
    """One task takes two locks in one order, two others in the other order.

    Without a deadlock the three come one after the other: 3! orders. Else the one has its first lock and one of the two
    others has the other: which of the two, and whether the third was done before or waits, too: 2 * 2.
    """

    def program() -> None:
        a, b = Mutex("a"), Mutex("b")

        def take(first: Mutex, second: Mutex) -> None:
            with first, second:
                pass

        spawn(take, a, b)
        spawn(take, b, a)
        spawn(take, b, a)

    assert count(program) == (factorial(3) + 4, 0)
