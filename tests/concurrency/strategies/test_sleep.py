"""Sleep sets: every trace of plain enumeration is made, and none twice, also with checks, places and callbacks."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import test_bounded_callbacks as callbacks
from bounded_programs import (
    WRITTEN,
    Body,
    Enumeration,
    Sees,
    TooMany,
    World,
    all_of,
    joining_program,
    placing_program,
    random_program,
)
from concurrency_programs import locked_update

from sugarbush.concurrency import ConcurrencyError, Verdict, explore
from sugarbush.concurrency.core import Task
from sugarbush.concurrency.core.sight import Sight
from sugarbush.concurrency.lowlevel import DepthFirst, Simulated
from sugarbush.concurrency.strategies import bounded
from sugarbush.concurrency.strategies.base import Pruned
from sugarbush.concurrency.strategies.let_go import _ends
from sugarbush.concurrency.strategies.sleep import SleepSets
from sugarbush.concurrency.strategies.trace import Edges, Trace


class Counted(SleepSets):
    """Counts the executions that it has completed."""

    completed = 0

    def end(self, steps: int, forced: int) -> None:
        super().end(steps, forced)
        self.completed += 1


def ends(outcomes: set[Any]) -> set[Any]:
    """A circle of waiting tasks is a failure at once, and how far the others have come by then is no matter."""
    return {"deadlock" if one[0] == "deadlock" else one for one in outcomes}


def wrong(tasks: list[Body], most: int, sight: Sight | None = None) -> str:
    """How the search and plain enumeration differ; empty if they do not. Raises `TooMany`."""
    every, search = Enumeration(None), Counted()
    wanted, got = all_of(tasks, every, most, sight), all_of(tasks, search, 2 * most, sight)
    if ends(wanted) != ends(got):
        return f"lost {sorted(map(repr, wanted - got))[:3]}, invented {sorted(map(repr, got - wanted))[:3]}"
    # A failure hides what comes after it.
    if any(isinstance(one, str) for one in ends(wanted)):
        return ""
    if search._seen != every.seen:
        return f"{len(every.seen)} traces, {search.traces} seen, all outcomes"
    if search.completed != search.traces:
        return f"{search.traces} traces, {search.completed} executions"
    return ""


def compare(
    seeds: range, most: int, program: Callable[[Random], list[Body]], sight: Sight | None = None
) -> int:
    """How many random programs were compared."""
    compared = 0
    for seed in seeds:
        tasks = program(Random(f"sleep {seed}"))
        try:
            said = wrong(tasks, most, sight)
        except TooMany:
            continue
        assert not said, f"seed {seed}: {said}\n{tasks}"
        compared += 1
    return compared


PROGRAMS = [
    (random_program, None),
    (joining_program, None),
    (placing_program, None),
    (placing_program, Sees()),
]


@pytest.mark.parametrize(("program", "sight"), PROGRAMS)
def test_each_trace_of_random_programs_is_made_once(program: Any, sight: Sight | None) -> None:
    assert compare(range(40), 150, program, sight) > 10


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(5))
@pytest.mark.parametrize(("program", "sight"), PROGRAMS)
def test_each_trace_of_many_random_programs_is_made_once(
    program: Any, sight: Sight | None, part: int
) -> None:
    assert compare(range(1000 + 200 * part, 1200 + 200 * part), 3000, program, sight) > 80


@pytest.mark.parametrize("name", WRITTEN)
def test_programs_written_for_the_rules_of_the_bounded_search_lose_nothing(name: str) -> None:
    assert not wrong(WRITTEN[name][0], 10000)


def lost_with_callbacks(tasks: list[callbacks.Body]) -> set[object] | None:
    """What plain enumeration finds within the largest bound that it comes to the end of, and this search does not.

    Without a bound it comes to no end: each callback is a task. None if the program is too large for either.
    """
    found = callbacks.outcomes(tasks, SleepSets())
    ended = (callbacks.outcomes(tasks, DepthFirst(bound)) for bound in (2, 1, 0))
    plain = next((ends for ends in ended if ends is not None), None)
    return None if found is None or plain is None else plain - found


LATE: list[callbacks.Body] = [
    [("call", "x")],
    [
        ("read", "x"), ("spin_lock",), ("spin_unlock",),
        ("rcu_read_lock",), ("rcu_read_unlock",),
    ],
]  # fmt: skip
"""A callback need not wait for stretches that begin after `call_rcu`; it may also come before the read, then."""


@pytest.mark.parametrize("name", callbacks.WRITTEN)
def test_programs_with_callbacks_lose_nothing(name: str) -> None:
    assert lost_with_callbacks(callbacks.WRITTEN[name]) == set()


def _no_end_is_a_race(self: SleepSets, task: Task, edges: Edges) -> list[int]:
    waits = task.op is not None and task.op.footprint in self._trace.stays_ready
    return [number for number in edges.dependent if not (waits and _ends(self._trace.ops[number]))]


def test_an_end_that_nobody_had_to_wait_for_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lost_with_callbacks(LATE) == set()
    monkeypatch.setattr(SleepSets, "_races", _no_end_is_a_race)
    assert lost_with_callbacks(LATE)


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
def test_random_programs_with_callbacks_lose_nothing() -> None:
    compared = 0
    for seed in range(600):
        random = Random(f"callbacks and sleep {seed}")
        tasks = [callbacks.random_body(random) for _ in range(2)]
        lost = lost_with_callbacks(tasks)
        assert not lost, f"seed {seed}\n{tasks}"
        compared += lost is not None
    assert compared > 500


# -- each rule is needed ----------------------------------------------------------------------------------------------


def _only_the_last_ones(self: Trace, task: Task) -> Edges:
    edges = _edges(self, task)
    return Edges(edges.before, edges.direct, edges.direct)


_edges = Trace.edges
MUTANTS: list[tuple[type, str, Callable[..., Any]]] = [
    (SleepSets, "_undisturbed", lambda self, by: self._asleep - {by.id}),
    (SleepSets, "_mark", lambda self, races: None),
    (Trace, "edges", _only_the_last_ones),
]


@pytest.mark.parametrize(("where", "name", "mutant"), MUTANTS)
def test_a_search_without_one_of_its_rules_is_caught(
    where: type, name: str, mutant: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    locks: Body = [("lock", "n"), ("unlock", "n")]
    programs: list[list[Body]] = [
        [locks, [*locks, ("lock", "n"), ("read", "x"), ("unlock", "n")]],
        [[("write", "x", 1), ("write", "y", 1)], [("write", "y", 2), ("read", "x")]],
    ]
    assert not any(wrong(tasks, 2000) for tasks in programs)
    monkeypatch.setattr(where, name, mutant)
    assert any(wrong(tasks, 2000) for tasks in programs)


def test_who_does_not_sleep_is_made_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    # Who was put off is given up as well, if later.
    monkeypatch.setattr(SleepSets, "_undisturbed", lambda self, by: frozenset())
    monkeypatch.setattr(bounded, "put_off", lambda point, number, counts: {})
    with pytest.raises(AssertionError, match=r"traces, \d+ executions"):
        compare(range(40), 150, random_program)


def test_an_execution_in_which_all_sleep_is_given_up() -> None:
    # That the lock is taken when the second task comes to it shows only when it has come to it.
    search, given_up = Counted(), 0
    runtime, world = Simulated(search), World([[("lock", "n"), ("unlock", "n")]] * 2)
    while search.left:
        try:
            runtime.run(world.program)
        except Pruned:
            given_up += 1
    assert search.completed == search.traces == 2
    assert given_up


# -- what a user sees -------------------------------------------------------------------------------------------------


def test_it_passes_every_schedule_and_says_so() -> None:
    result = explore(locked_update, strategy="sleep")
    assert (result.verdict, result.bound, result.cut) == (Verdict.PASSED, None, 0)
    assert result.scope == f"every schedule ({result.traces} traces, {result.executions} executions)"


def test_it_takes_no_depth() -> None:
    with pytest.raises(ConcurrencyError, match="sleep has no depth: it makes one execution of each trace"):
        explore(locked_update, strategy="sleep", depth=1)
