"""DPOR completes each trace of random programs once, counted on a model that knows nothing of the engine."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from trace_model import Machine, Program, counted, random_program

from sugarbush.concurrency.lowlevel import DPOR, Simulated
from sugarbush.concurrency.strategies import Pruned


def searched(program: Program, most: int) -> tuple[int, int, set[Any]]:
    """How many executions the search completes and gives up, and the outcomes."""
    machine = Machine(program)
    search = DPOR()
    runtime = Simulated(search)
    completed = given_up = 0
    outcomes = set()
    while search.left:
        assert completed + given_up <= most, "executions without end"
        try:
            execution = runtime.run(machine.program)
        except Pruned:
            given_up += 1
            continue
        completed += 1
        failure = execution.failure
        outcomes.add(machine.outcome("" if failure is None else str(failure.kind)))
    return completed, given_up, outcomes


def compare(random: Random, *, locks: bool, largest: int, most: int) -> bool:
    """Whether the program was small enough to be compared."""
    program = random_program(random, locks=locks, largest=largest)
    expected = counted(program, limit=30 * most)
    if expected is None or expected[0] > most:
        return False
    traces, outcomes = expected
    assert searched(program, 2 * most) == (traces, 0, outcomes), program
    return True


@pytest.mark.parametrize("locks", [False, True])
def test_small_programs_have_the_traces_of_the_model(locks: bool) -> None:
    compared = sum(compare(Random(f"small {seed}"), locks=locks, largest=8, most=60) for seed in range(170))
    assert compared > 120


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(10))
@pytest.mark.parametrize("locks", [False, True])
def test_many_programs_have_the_traces_of_the_model(locks: bool, part: int) -> None:
    random = [Random(f"many {seed}") for seed in range(part * 1000, (part + 1) * 1000)]
    assert sum(compare(one, locks=locks, largest=11, most=2000) for one in random) > 900
