"""Readers that began too late for a grace period: left apart from its end only where nobody sees which came first."""

from __future__ import annotations

import contextlib
from random import Random
from typing import Any

import pytest
from test_bounded_callbacks import Body, Cell, Program, random_body

from sugarbush.concurrency import Settings, Spinlock, call_rcu, join, spawn
from sugarbush.concurrency.core import Footprint
from sugarbush.concurrency.lowlevel import DepthFirst
from sugarbush.concurrency.strategies.base import Pruned
from sugarbush.concurrency.strategies.bounded import BoundedDPOR
from sugarbush.concurrency.strategies.late_readers import LateReaders
from sugarbush.concurrency.strategies.sleep import SleepSets


def outcomes(program: Any, search: DepthFirst | BoundedDPOR, most: int) -> set[object] | None:
    """How the executions of a search end, with the race detector on; None if there are too many."""
    found, runtime = set(), Settings().runtime(search)
    for _ in range(most):
        with contextlib.suppress(Pruned):
            found.add(program.outcome(runtime.run(program).failure))
        if not search.left:
            return found
    return None


def lost(program: Any, bound: int, most: int = 1500) -> set[object] | None:
    """What one of plain enumeration within the bound and the reduced search finds only; None if it is too large."""
    plain = outcomes(program, DepthFirst(bound), most)
    if plain is None:
        return None
    reduced = outcomes(program, BoundedDPOR(bound), 2 * most)
    assert reduced is not None, "hardly more executions than plain enumeration makes"
    return plain ^ reduced


WRITTEN: dict[str, list[Body]] = {
    # A reader that ends inside of the grace period knows nothing of the write: a race. One that outlasts it does.
    "reader and what came before call_rcu": [
        [("write", "data"), ("call", "x")],
        [("rcu_read_lock",), ("read", "data"), ("rcu_read_unlock",), ("read", "x")],
    ],
    "stretch and what came before call_rcu": [
        [("write", "data"), ("call", "x")],
        [("spin_lock",), ("read", "x"), ("read", "data"), ("spin_unlock",), ("write", "x")],
    ],
    "two grace periods": [
        [("write", "data"), ("call", "y"), ("call", "x")],
        [("spin_lock",), ("read", "y"), ("read", "data"), ("spin_unlock",), ("write", "x")],
    ],
    "a stretch of one's own": [
        [("write", "data"), ("call", "x"), ("spin_lock",), ("read", "data"), ("spin_unlock",), ("read", "x")],
        [("read", "x")],
    ],
}


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("bound", [0, 1, 2])
def test_programs_written_for_it_lose_nothing(name: str, bound: int) -> None:
    assert lost(Program(WRITTEN[name]), bound, 4000) == set()


def by_order(self: LateReaders, since: int, began: int) -> bool:
    return began < since


def test_that_it_began_later_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LateReaders, "_knows", by_order)
    for name in list(WRITTEN)[:3]:
        assert lost(Program(WRITTEN[name]), 1), name


class SpawnsAfterACall(Program):
    """The reader knows what came before the first call, and not what came before those after that."""

    def __call__(self) -> None:
        self.cell, self.lock, self.logs = Cell(), Spinlock("lock"), [[], []]
        call_rcu(lambda _: None, None)
        reader = spawn(self.run, self.tasks[0], self.logs[0])
        self.run(self.tasks[1], self.logs[1])
        join(reader)


def test_each_callback_belongs_to_its_own_call(monkeypatch: pytest.MonkeyPatch) -> None:
    program = SpawnsAfterACall(
        [
            [("rcu_read_lock",), ("read", "y"), ("read", "data"), ("rcu_read_unlock",), ("write", "x")],
            [("call", "y"), ("write", "data"), ("call", "x")],
        ]
    )
    assert lost(program, 2, 5000) == set()
    those = LateReaders._those

    def only_the_first(self: LateReaders, events: Any, footprint: Any) -> list[int]:
        found = those(self, events, footprint)
        return found[:1] * len(found) if footprint is Footprint.CALLS else found

    monkeypatch.setattr(LateReaders, "_those", only_the_first)
    assert lost(program, 2, 5000)


def late_body(random: Random) -> Body:
    body = random_body(random)
    for _ in range(random.randint(0, 2)):
        new = random.choice([("write", "data"), ("read", "data"), ("write", "x"), ("read", "x")])
        body.insert(random.choice([0, len(body)]), new)
    return body


def compare(seeds: range) -> tuple[int, int]:
    """How many pairs of a program and a bound were compared, and in how many of them there was a data race."""
    compared = races = 0
    for seed in seeds:
        random = Random(f"late {seed}")
        program = Program([late_body(random) for _ in range(2)])
        for bound in range(3):
            difference = lost(program, bound, 700)
            if difference is None:
                break
            assert not difference, f"seed {seed}, bound {bound}: {difference}\n{program.tasks}"
            compared += 1
        else:
            races += any("data-race" in str(end) for end in outcomes(program, BoundedDPOR(2), 2000) or ())
    return compared, races


def test_random_programs_with_callbacks_and_races_lose_nothing() -> None:
    compared, races = compare(range(15))
    assert compared > 10
    assert races > 2


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(5))
def test_many_random_programs_with_callbacks_and_races_lose_nothing(part: int) -> None:
    compared, races = compare(range(1000 + 100 * part, 1100 + 100 * part))
    assert compared > 100
    assert races > 10


class OwnStretches(Program):
    def __call__(self) -> None:
        self.cell, self.lock, self.logs = Cell(), Spinlock("lock"), []
        call_rcu(lambda _: None, None)
        self.run([("spin_lock",), ("spin_unlock",)] * 3 + [("barrier",)], [])


def test_a_stretch_of_ones_own_may_end_before_and_after_a_callback_in_one_trace() -> None:
    search = SleepSets()
    assert outcomes(OwnStretches([]), search, 1000) is not None
    assert search.traces == 1
