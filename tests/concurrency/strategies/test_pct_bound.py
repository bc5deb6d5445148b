"""PCT's bound: a bug of depth d among n tasks and k switch points shows with probability 1 / (n k^(d-1)) or more.

The test is exact: `n` executions with fixed seeds, of which `found` fail. If each failed with the probability of the
bound, so few or fewer would be seen with the probability that `chance_of` gives; a test fails if that is below 1e-6.
A strategy that meets its bound fails one of them once in a million seeds; one that never finds the bug always does,
since each program runs often enough for 14 failures at the bound. k is the largest number of switch points seen, and
n counts every task, main as well.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, exp, lgamma, log, log1p
from typing import Any

import pytest
from concurrency_programs import Cell
from known_bugs import Windows, skewed_windows
from strategy_programs import one_window

from sugarbush.concurrency import Mutex, check, join, spawn
from sugarbush.concurrency.lowlevel import PCT, Simulated
from sugarbush.concurrency.strategies import Strategy

ALPHA = 1e-6
ENOUGH = -log(ALPHA)
"""So many failures are expected at the bound; seeing none of them has the probability ALPHA."""


def chance_of(found: int, n: int, p: float) -> float:
    """P(at most `found` of `n`), each with probability `p`: the binomial distribution, exactly."""
    terms = (
        lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(p) + (n - k) * log1p(-p)
        for k in range(found + 1)
    )
    return sum(exp(term) for term in terms)


def order_of_two() -> None:
    """Depth 1: the second task is first."""
    cell = Cell()
    first = spawn(setattr, cell, "once", 1)
    second = spawn(lambda: check(cell.once == 1, "second after first"))
    join(first, second)


def lock_that_waits() -> None:
    """Depth 3, where the change that matters comes when a task that waits for a lock could have it.

    `holds` sees that the mark of `wants` appears while it has the lock, gives it back, and sets its own mark before
    `wants`, which waits by then, has got the lock.
    """
    mutex, marks = Mutex("m"), [Cell(), Cell()]

    def holds() -> None:
        mutex.lock()
        before, after = marks[0].once, marks[0].once
        mutex.unlock()
        marks[1].once = after and not before

    def wants() -> None:
        marks[0].once = 1
        mutex.lock()
        check(not marks[1].once, "the lock came before the mark")
        mutex.unlock()

    spawn(holds)
    spawn(wants)


def three_windows() -> None:
    """Depth 4: two tasks look into each other's windows in turns."""
    first, second, third = Cell(), Cell(), Cell()

    def opens() -> None:
        first.once = 1
        first.once = 0
        if second.once:
            third.once = 1
            third.once = 0

    def answers() -> None:
        if first.once:
            second.once = 1
            second.once = 0
            check(not third.once, "nobody looks into all three")

    spawn(opens)
    spawn(answers)


PROGRAMS: dict[str, tuple[Callable[[], Any], int, int]] = {
    "order of two": (order_of_two, 1, 3),
    "one window": (one_window, 2, 3),
    "lock that waits": (lock_that_waits, 3, 3),
    "two windows": (Windows((1, 1, 1)), 3, 4),
    "three windows": (three_windows, 4, 3),
}
"""Each with its depth and the number of its tasks."""


def longest(program: Callable[[], Any], depth: int) -> int:
    """k: the most switch points that executions under PCT have; its estimate after a few rounds."""
    strategy = PCT(1000, depth)
    runtime = Simulated(strategy)
    for _ in range(513):
        runtime.run(program)
    return strategy.knows


def rate(strategy: Strategy, program: Callable[[], Any], n: int) -> int:
    """How many of `n` executions fail."""
    runtime = Simulated(strategy)
    return sum(runtime.run(program).failure is not None for _ in range(n))


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_rate_is_not_below_the_bound(name: str) -> None:
    program, depth, tasks = PROGRAMS[name]
    bound = 1 / (tasks * longest(program, depth) ** (depth - 1))
    n = ceil(ENOUGH / bound) + 500
    found = rate(PCT(7, depth), program, n)
    assert chance_of(found, n, bound) > ALPHA, f"{found} of {n}; the bound is {bound:.2g}"


@pytest.mark.parametrize("name", ["one window", "lock that waits"])
def test_a_depth_too_small_is_noticed(name: str) -> None:
    """The test can fail: with one change point less, these bugs do not show."""
    program, depth, tasks = PROGRAMS[name]
    bound = 1 / (tasks * longest(program, depth) ** (depth - 1))
    n = ceil(ENOUGH / bound) + 500
    assert chance_of(rate(PCT(7, depth - 1), program, n), n, bound) < ALPHA


@pytest.mark.parametrize("seed", [1, 2])
def test_windows_at_different_depths_are_found_within_what_the_bound_promises(seed: int) -> None:
    """A search of n k^2 ln(1e6) executions misses the bug once in a million times."""
    within = ceil(4 * longest(skewed_windows, 3) ** 2 * ENOUGH)
    runtime = Simulated(PCT(seed, 3))
    assert any(runtime.run(skewed_windows).failure is not None for _ in range(within))


def test_switch_points_at_which_only_one_task_can_run_do_not_count() -> None:
    """A long stretch of one task alone makes the bound no worse."""

    def program() -> None:
        cell = Cell()
        for _ in range(200):
            cell.once = 1
        order_of_two()

    assert longest(program, 2) < 15
