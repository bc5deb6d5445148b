"""Schedules under Hypothesis: bugs are found, shrunk, kept in the database, and replay."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from concurrency_programs import BARE, Cell, abba, lost_update
from hypothesis import HealthCheck, Phase, find, given, seed, settings
from hypothesis.database import InMemoryExampleDatabase
from hypothesis.errors import NoSuchExample

from sugarbush.concurrency import Failure, Settings, atomic_add_return, check, join, replay, spawn
from sugarbush.concurrency.plugins.hypothesis_support import Choices, Chosen, run, schedules

# What must find something has a seed: of some hundred seeds one finds nothing in 300 examples.
QUIET = settings(max_examples=300, deadline=None, database=None, suppress_health_check=list(HealthCheck))
NO_LOCKDEP = Settings(without=frozenset({"lockdep"}))


def fails(program: Callable[[], Any], choices: Choices, how: Settings = BARE) -> bool:
    return how.runtime(Chosen(choices)).run(program).failure is not None


def atomic_updates() -> None:
    cell = Cell()
    join(*[spawn(atomic_add_return, cell, "count", 1) for _ in range(3)])
    check(cell.count == 3, "all additions count")


def test_a_lost_update_shrinks_to_one_preemption() -> None:
    choices = find(schedules(), lambda choices: fails(lost_update, choices), settings=QUIET, random=Random(0))
    assert 1 <= len(choices.switches) <= 3
    assert choices.values == ()
    execution = BARE.runtime(Chosen(choices)).run(lost_update)
    witness = replay(lost_update, execution.schedule, settings=BARE)
    assert witness.preemptions == 1


def test_a_deadlock_is_found() -> None:
    choices = find(
        schedules(), lambda choices: fails(abba, choices, NO_LOCKDEP), settings=QUIET, random=Random(0)
    )
    assert len(choices.switches) <= 3


def test_what_is_correct_is_not_falsified() -> None:
    with pytest.raises(NoSuchExample):
        find(schedules(), lambda choices: fails(atomic_updates, choices), settings=QUIET, random=Random(0))


def test_a_failing_property_raises_the_failure_and_notes_a_schedule_that_replays() -> None:
    @seed(0)
    @given(schedules())
    @settings(QUIET, phases=[Phase.generate, Phase.shrink])
    def prop(choices: Choices) -> None:
        run(lost_update, choices, BARE)

    with pytest.raises(Failure, match="both additions count") as caught:
        prop()
    notes = "\n".join(caught.value.__notes__)
    (text,) = re.findall(r"schedule: (s1:\S+)", notes)
    assert replay(lost_update, text, settings=BARE).failure.headline == caught.value.headline


def test_the_example_database_brings_the_interleaving_back_first() -> None:
    database = InMemoryExampleDatabase()
    tried: list[Choices] = []

    # With a seed Hypothesis asks no database; so many examples are enough for any.
    @given(schedules())
    @settings(QUIET, database=database, max_examples=10_000)
    def prop(choices: Choices) -> None:
        tried.append(choices)
        run(lost_update, choices, BARE)

    for _ in range(2):
        tried.clear()
        with pytest.raises(Failure):
            prop()
    assert fails(lost_update, tried[0])


def test_no_choices_mean_no_preemption() -> None:
    execution = BARE.runtime(Chosen(Choices())).run(lost_update)
    assert execution.failure is None
    assert execution.schedule.switches == 4


def test_any_choices_fit_any_program() -> None:
    @given(schedules(switches=40, longest=3))
    @settings(QUIET, max_examples=200)
    def prop(choices: Choices) -> None:
        run(atomic_updates, choices, BARE)

    prop()
