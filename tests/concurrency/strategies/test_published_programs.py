"""Published programs have as many traces as is known of them, and each is completed once; a second counter agrees."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from published_programs import PROGRAMS, Published, claims_noted, look, places, put
from trace_counting import UNBOUNDED, Counted, Event, Execution, Recorder, by_enumeration, by_sleep_sets

from sugarbush.concurrency import Mutex, Result, Settings, Verdict, explore, spawn
from sugarbush.concurrency.memory.shared import Shared

QUICK = [one for one in PROGRAMS if not one.slow]
SLOW = [one for one in PROGRAMS if one.slow]
COUNTED_QUICKLY = 12
"""Programs of so many traces are counted again in the quick part of the suite, the others in its exhaustive part."""
COUNTED_LATER = (
    "filesystem-14",
    "filesystem-16",
    "indexer-12",
    "dispatcher-2-1",
    "producers_and_workers-2-1",
)
"""These have few traces and many tasks or operations."""
NOT_COUNTED = ("readers-10", "lastzero-9", "lastzero-10")
"""Sleep sets would stop some 100,000 executions: here the formula and the smaller sizes have to do."""
ENUMERATED = (
    "etsi_3",
    "coherent_reads-2",
    "two_locks_and_a_trylock",
    "trylocks-2",
    "hairbrush_teeth-3",
    "deadlock_bad",
    "condition_signal",
    "philosophers-2",
    "rcu_readers_and_a_grace_period-1",
    "lazy_bad",
)
"""Programs of so few schedules that all can be made at once."""


def claims(one: Published) -> set[str]:
    """The claims that some schedule breaks."""
    return set() if one.broken is None else {one.broken}


def each(programs: Iterable[Published]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("one", [pytest.param(one, id=one.name) for one in programs])


def explored(one: Published) -> tuple[Result, list[Execution]]:
    """What the reduced search makes of a program, its executions and the replays of those that fail."""
    recorders: list[Recorder] = []

    def record() -> tuple[Recorder]:
        recorders.append(Recorder())
        return (recorders[-1],)

    settings = Settings(without=UNBOUNDED, observers=record)
    result = explore(one.program, strategy="dpor", keep_going=True, settings=settings)
    return result, [execution for recorder in recorders for execution in recorder.executions]


def completes_each_trace_once(one: Published) -> None:
    with claims_noted() as broken:
        result, executions = explored(one)
    assert (result.executions, result.pruned) == (one.traces, 0)
    assert result.exhaustive
    # As many executions as traces, and all traces among them: so none was completed twice. A replay adds no trace.
    assert len({execution.trace for execution in executions}) == one.traces
    assert broken == claims(one)
    # One trace may be that of tasks which never meet (an index without collisions), and nobody calls that passed.
    apart = one.traces == 1 and not result.met
    passes = Verdict.UNEXPLORED if apart else Verdict.PASSED
    assert result.verdict == (Verdict.FAILED if one.deadlocks else passes)
    assert all(witness.failure.kind == "deadlock" for witness in result.failures)


def is_counted_so(one: Published) -> None:
    with claims_noted() as broken:
        counted = by_sleep_sets(one.program)
    assert counted == Counted(one.traces, one.traces, counted.stopped)
    assert broken == claims(one)


@each(QUICK)
def test_each_trace_is_completed_once(one: Published) -> None:
    completes_each_trace_once(one)


@pytest.mark.exhaustive
@each(SLOW)
def test_each_trace_of_a_larger_size_is_completed_once(one: Published) -> None:
    completes_each_trace_once(one)


def finds_what_breaks(one: Published) -> None:
    result, executions = explored(one)
    assert result.verdict is Verdict.FAILED
    assert {witness.failure.headline.removeprefix("check failed: ") for witness in result.failures} == claims(
        one
    )
    assert result.pruned == 0
    assert len({execution.trace for execution in executions}) == result.executions


@each(one for one in QUICK if one.broken)
def test_a_claim_that_some_schedule_breaks_is_a_failure(one: Published) -> None:
    """Now a broken claim ends the execution: each is found all the same, and nothing is made twice."""
    finds_what_breaks(one)


@pytest.mark.exhaustive
@each(one for one in SLOW if one.broken)
def test_a_claim_that_few_schedules_break_is_a_failure(one: Published) -> None:
    finds_what_breaks(one)


def is_counted_quickly(one: Published) -> bool:
    return not one.slow and one.traces <= COUNTED_QUICKLY and one.name not in COUNTED_LATER


@each(one for one in PROGRAMS if is_counted_quickly(one))
def test_the_numbers_are_those_of_another_counter(one: Published) -> None:
    is_counted_so(one)


@pytest.mark.exhaustive
@each(one for one in PROGRAMS if not is_counted_quickly(one) and one.name not in NOT_COUNTED)
def test_the_larger_numbers_are_those_of_another_counter(one: Published) -> None:
    is_counted_so(one)


@each(one for one in PROGRAMS if one.name in ENUMERATED)
def test_all_schedules_belong_to_as_many_traces(one: Published) -> None:
    with claims_noted() as broken:
        counted = by_enumeration(one.program)
    assert counted.traces == one.traces <= counted.completed
    assert broken == claims(one)


def test_there_are_enough_programs_and_each_size_has_a_name() -> None:
    names = [one.name for one in PROGRAMS]
    assert len(set(names)) == len(names)
    assert {*ENUMERATED, *COUNTED_LATER, *NOT_COUNTED} <= set(names)
    # docs/exploration.md and the CHANGELOG say so.
    assert len({one.name.split("-")[0] for one in PROGRAMS}) == 147
    assert len({one.name.split("-")[0] for one in PROGRAMS if one.stated}) == 77


# -- the counter itself ------------------------------------------------------------------------------------------------


def test_the_counter_knows_what_everybody_knows() -> None:
    """n writers are n!, n readers and a writer 2^n, locked sections a multinomial, tasks that share nothing 1."""

    def writers() -> None:
        (x,) = places(1)
        for n in range(3):
            spawn(put, x, n)

    def readers() -> None:
        (x,) = places(1)
        spawn(put, x, 1)
        for _ in range(3):
            spawn(look, x)

    def sections() -> None:
        mutex = Mutex("m")

        def body() -> None:
            for _ in range(2):
                with mutex:
                    pass

        spawn(body)
        spawn(body)

    def strangers() -> None:
        for place in places(4):
            spawn(put, place, 1)

    for program, traces in ((writers, 6), (readers, 8), (sections, 6), (strangers, 1)):
        assert by_enumeration(program).traces == traces
        counted = by_sleep_sets(program)
        assert (counted.traces, counted.completed) == (traces, traces)


def test_tasks_that_share_nothing_are_not_tried_in_every_order() -> None:
    """Two pairs of writers are 2 * 2 traces; without groups there would be executions that stop."""

    def pairs() -> None:
        for place in places(2):
            for _ in range(2):
                spawn(put, place, 1)

    assert by_sleep_sets(pairs) == Counted(4, 4, 0)


def test_the_normal_form_is_that_of_the_trace() -> None:
    """Looks that change places are one trace, a look and a write are not."""

    class Pair(Shared):
        pass

    def execution(*events: tuple[int, str]) -> Any:
        made = Execution()
        made.at[0, "v"] = [(Event((task,), 1), kind) for task, kind in events]
        return made.trace

    assert execution((1, "look"), (2, "look"), (3, "change")) == execution(
        (2, "look"), (1, "look"), (3, "change")
    )
    assert execution((1, "look"), (3, "change")) != execution((3, "change"), (1, "look"))
    assert execution((1, "change"), (2, "change")) != execution((2, "change"), (1, "change"))
    assert execution((1, "share"), (2, "share")) == execution((2, "share"), (1, "share"))
    assert execution((1, "reader ends"), (2, "grace period begins")) == execution(
        (2, "grace period begins"), (1, "reader ends")
    )
