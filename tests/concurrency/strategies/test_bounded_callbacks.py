"""Callbacks of RCU in the bounded reduced search: what is told apart loses no outcome that plain enumeration has."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from random import Random

import pytest
from bounded_programs import Enumeration

from sugarbush.concurrency import (
    Once,
    Plain,
    Shared,
    Spinlock,
    call_rcu,
    join,
    rcu_barrier,
    rcu_reader,
    spawn,
    synchronize_rcu,
)
from sugarbush.concurrency.checks import dependence
from sugarbush.concurrency.checks.dependence import Dependence
from sugarbush.concurrency.core import Footprint
from sugarbush.concurrency.lowlevel import DepthFirst, Simulated
from sugarbush.concurrency.strategies.base import Pruned
from sugarbush.concurrency.strategies.bounded import BoundedDPOR

Body = list[tuple[str, ...]]
MOST = 700
"""Executions of plain enumeration; a program with more under a bound is left out."""


class Cell(Shared):
    x: Once[int] = 0
    y: Once[int] = 0
    data: Plain[int] = 0


def random_body(random: Random) -> Body:
    body: Body = []
    for _ in range(random.randint(1, 3)):
        inner: list[tuple[str, ...]] = [
            random.choice([("read", "x"), ("read", "y"), ("write", "x"), ("write", "y"), ("read", "data")])
            for _ in range(random.randint(1, 2))
        ]
        what = random.randrange(9)
        if what < 3:
            body.append(("call", random.choice(["x", "y", "data"])))
        elif what < 5:
            body += [("rcu_read_lock",), *inner, ("rcu_read_unlock",)]
        elif what < 7:
            body += [("spin_lock",), *inner, ("spin_unlock",)]
        else:
            body.append(random.choice([("barrier",), ("synchronize",), *inner]))
    return body


class Program:
    """Tasks, each a list of statements; `outcome` is what they read, and what was left."""

    def __init__(self, tasks: list[Body]) -> None:
        self.tasks = tasks

    def __call__(self) -> None:
        self.cell, self.lock = Cell(), Spinlock("lock")
        self.logs: list[list[int]] = [[] for _ in self.tasks]
        join(*[spawn(self.run, body, log) for body, log in zip(self.tasks, self.logs, strict=True)])

    def run(self, body: Body, log: list[int]) -> None:
        cell, reader = self.cell, rcu_reader()
        for number, (verb, *rest) in enumerate(body):
            if verb == "read":
                log.append(getattr(cell, rest[0]))
            elif verb == "write":
                setattr(cell, rest[0], 10 + number)
            elif verb == "call":
                call_rcu(self.called, rest[0])
            elif verb == "rcu_read_lock":
                reader.__enter__()
            elif verb == "rcu_read_unlock":
                reader.__exit__(None, None, None)
                reader = rcu_reader()
            elif verb == "spin_lock":
                self.lock.lock()
            elif verb == "spin_unlock":
                self.lock.unlock()
            elif verb == "barrier":
                rcu_barrier()
            else:
                synchronize_rcu()

    def called(self, field: str) -> None:
        setattr(self.cell, field, getattr(self.cell, field) + 1)

    def outcome(self, failure: object) -> object:
        if failure is not None:
            return str(getattr(failure, "headline", "")).split(" at ")[0]
        return tuple(map(tuple, self.logs)), self.cell.x, self.cell.y, self.cell.data


def outcomes(tasks: list[Body], search: DepthFirst | BoundedDPOR) -> set[object] | None:
    """How the executions of a search end; None if there are too many."""
    program, found, runtime = Program(tasks), set(), Simulated(search)
    for _ in range(MOST):
        with contextlib.suppress(Pruned):
            found.add(program.outcome(runtime.run(program).failure))
        if not search.left:
            return found
    return None


def lost(tasks: list[Body], bound: int) -> set[object]:
    """What plain enumeration finds within the bound and the reduced search does not, or the reverse."""
    plain = outcomes(tasks, DepthFirst(bound))
    if plain is None:
        return set()
    reduced = outcomes(tasks, BoundedDPOR(bound))
    assert reduced is not None, "no more executions than plain enumeration makes"
    return plain ^ reduced


WRITTEN: dict[str, list[Body]] = {
    "callback and reader": [[("call", "x")], [("rcu_read_lock",), ("read", "x"), ("read", "x"), ("rcu_read_unlock",)]],
    "callback and stretch": [[("call", "x")], [("spin_lock",), ("read", "x"), ("read", "x"), ("spin_unlock",)]],
    "barrier": [[("call", "x"), ("barrier",), ("read", "x")], [("call", "x"), ("write", "x")]],
    "callbacks of two": [[("call", "x")], [("call", "y"), ("synchronize",), ("read", "y"), ("read", "x")]],
    "begin of a stretch": [
        [("write", "y"), ("call", "x")],
        [("spin_lock",), ("read", "y"), ("read", "x"), ("spin_unlock",), ("read", "x")],
    ],
}


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("bound", [0, 1, 2])
def test_programs_written_for_a_pair_lose_nothing(name: str, bound: int) -> None:
    assert not lost(WRITTEN[name], bound)


def compare(seeds: range) -> None:
    for seed in seeds:
        random = Random(f"callbacks {seed}")
        tasks = [random_body(random) for _ in range(2)]
        for bound in range(3):
            assert not lost(tasks, bound), f"seed {seed}, bound {bound}: {lost(tasks, bound)}\n{tasks}"


def test_random_programs_with_callbacks_have_the_outcomes_of_plain_enumeration() -> None:
    compare(range(25))


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(5))
def test_many_random_programs_with_callbacks_have_the_outcomes_of_plain_enumeration(part: int) -> None:
    compare(range(1000 + 100 * part, 1100 + 100 * part))


def test_the_reduction_is_worth_something() -> None:
    tasks: list[Body] = [[("call", "x"), ("barrier",)], [("call", "y"), ("barrier",)]]
    wide, exact = BoundedDPOR(1, Dependence()), BoundedDPOR(1)
    assert outcomes(tasks, wide) == outcomes(tasks, exact)
    assert exact.traces < wide.traces


EVERY_STRETCH: Callable[..., bool] = lambda stretch, grace: False  # noqa: E731


@pytest.mark.parametrize(
    "pair",
    [
        # A callback runs however long a reader goes on; a barrier waits for nothing; a grace period waits for nobody.
        (Footprint.CALLBACK_BEGINS, Footprint.READER_ENDS),
        (Footprint.CALLBACK_ENDS, Footprint.BARRIER_ENDS),
        (Footprint.CALLS, Footprint.READER_BEGINS),
    ],
)
def test_a_pair_that_does_not_commute_is_caught(
    pair: tuple[Footprint, Footprint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dependence, "_WITH_CALLBACKS", dependence._WITH_CALLBACKS | {pair, pair[::-1]})
    assert any(lost(tasks, bound) for tasks in WRITTEN.values() for bound in (0, 1, 2))


def test_stretches_that_are_forgotten_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependence, "_takes_part", EVERY_STRETCH)
    assert any(lost(tasks, bound) for tasks in WRITTEN.values() for bound in (0, 1, 2))
