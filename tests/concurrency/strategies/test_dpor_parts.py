"""A DPOR search in parts: together they are the whole, and no trace is in two of them."""

from __future__ import annotations

import pickle
from random import Random
from typing import Any

import pytest
from concurrency_programs import BARE
from small_programs import (
    BLOCKS,
    WAITS,
    Events,
    Instruction,
    Machine,
    Outcome,
    all_outcomes,
    outcome_of,
    random_program,
)

from sugarbush.concurrency import Failure, Mutex, Verdict, explore, spawn
from sugarbush.concurrency.core import NotAReport
from sugarbush.concurrency.core.failure import Kind
from sugarbush.concurrency.core.runtime import fail
from sugarbush.concurrency.lowlevel import DPOR, Simulated
from sugarbush.concurrency.strategies import Pruned
from sugarbush.concurrency.strategies.base import Divisible


def in_parts(
    tasks: list[list[Instruction]], most: int | None, random: Random
) -> tuple[set[Outcome], list[Any], int]:
    """Outcomes, traces and the number of parts, which are searched in any order, `most` executions at a time."""
    machine = Machine(tasks)
    dpor = DPOR()
    events = Events(dpor, named=True)
    runtime = Simulated(events)
    found: set[Outcome] = set()
    traces: list[Any] = []
    open_parts, parts = [dpor.root], 0
    while open_parts:
        dpor.enter(open_parts.pop(random.randrange(len(open_parts))))
        parts += 1
        made = 0
        while dpor.left and made != most:
            made += 1
            try:
                failure = runtime.run(machine.program).failure
            except Pruned:
                continue
            found.add(outcome_of(machine, failure))
            traces.append((events.trace, machine.outcome))
        open_parts += dpor.rest()
    return found, traces, parts


@pytest.mark.parametrize("most", [None, 2], ids=["whole parts", "two executions at a time"])
@pytest.mark.parametrize("failing", [False, True], ids=["clean", "failing"])
def test_parts_are_the_whole(most: int | None, failing: bool) -> None:
    divided = 0
    for seed in range(70):
        tasks = random_program(Random(seed), failing=failing, blocks=BLOCKS + WAITS, most=7)
        whole = all_outcomes(tasks, DPOR(), 2000)
        assert whole is not None
        found, traces, parts = in_parts(tasks, most, Random(seed))
        divided += parts > 2
        assert found == whole[0], (seed, tasks)
        if "deadline" not in str(tasks):
            assert len(traces) == len(set(traces)), (seed, tasks)
        if not any(outcome[0] == "failed" for outcome in found):
            assert set(traces) == set(whole[1]), (seed, tasks)
    assert divided > 40


def test_parts_are_in_order_and_do_not_depend_on_who_asks() -> None:
    """Whether a part is searched at once or bit by bit, the shared places lead to the same parts."""

    def all_ways(most: int) -> set[tuple[int, ...]]:
        tasks = random_program(Random(3), failing=False, most=8)
        dpor = DPOR()
        runtime = Simulated(dpor)
        open_parts, ways = [dpor.root], set()
        while open_parts:
            dpor.enter(open_parts.pop(0))
            for _ in range(most):
                if dpor.left:
                    try:
                        runtime.run(Machine(tasks).program)
                    except Pruned:
                        pass
            parts = dpor.rest()
            assert parts == sorted(parts)
            ways.update(part[: part.index(-1)] for part in parts)
            open_parts = sorted(open_parts + parts)
        return ways

    assert isinstance(DPOR(), Divisible)
    assert {way for way in all_ways(1000) if way} <= all_ways(1)


def sections() -> None:
    mutex = Mutex("m")

    def work() -> None:
        for _ in range(2):
            with mutex:
                pass

    for _ in range(3):
        spawn(work)


def failing_at_once() -> None:
    """Each task fails in its first turn, which hides what the others would do."""

    def fails(n: int) -> None:
        with Mutex(f"m{n}"):
            fail(Failure(Kind.CHECK, f"number {n}"))

    for n in range(3):
        spawn(fails, n)


def test_two_processes_complete_as_many_traces_as_one() -> None:
    result = explore(sections, strategy="dpor", jobs=2, settings=BARE)
    assert (result.verdict, result.exhaustive, result.executions) == (Verdict.PASSED, True, 90)


def test_two_processes_find_the_failures_that_one_finds() -> None:
    result = explore(failing_at_once, strategy="dpor", jobs=2, settings=BARE, keep_going=True)
    assert {witness.failure.headline for witness in result.failures} == {"number 0", "number 1", "number 2"}


def test_a_part_is_data_that_is_read_by_its_type() -> None:
    """What is left of a part comes from one worker and goes to another: to unpickle it would be to run what it says."""
    for said in (pickle.dumps(([], 0)), b"[[[1]], 0]", b"no JSON"):
        with pytest.raises(NotAReport):
            DPOR().enter((0, -1, *said))
