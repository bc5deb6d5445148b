"""Minimising: the same failure, fewer switches, and nothing left to gain."""

from __future__ import annotations

import pytest
from concurrency_programs import BARE, lost_update
from known_bugs import (
    KNOWN_BUGS,
    Windows,
    lost_update_beside_noise,
    seen_on_a_page,
    two_ways,
    unhandled_fault,
)

from sugarbush.concurrency import BadSchedule, Failure, Kind, Schedule, Settings, explore, minimise, replay
from sugarbush.concurrency.core.failure import same_failure
from sugarbush.concurrency.lowlevel import Datum
from sugarbush.concurrency.witness.minimising import minimised
from sugarbush.stress.cli import built_in as scenarios
from sugarbush.stress.kit import registry
from sugarbush.stress.kit.bugs import find_bug
from sugarbush.stress.kit.patches import applied

registry.load()

windows = Windows((2, 3, 4))


SILENT = ("coverage", "migration-entry-locked", "migration-entry-owner")


@pytest.mark.parametrize("name", KNOWN_BUGS)
@pytest.mark.parametrize("strategy", ["random", "pct", "pos", "surw", "dfs", "idelay", "dpor"])
def test_a_witness_gets_as_small_as_it_can(name: str, strategy: str) -> None:
    bug = KNOWN_BUGS[name]
    program, settings = bug.program, bug.settings
    for seed in range(1, 4):
        result = explore(program, strategy=strategy, executions=20_000, seed=seed, settings=settings)
        (witness,) = result.failures
        small = minimise(program, witness, settings)
        assert small.preemptions == bug.preemptions
        assert small.preemptions <= witness.preemptions
        assert same_failure(small.failure, witness.failure)
        again = replay(program, str(small.schedule), settings=settings)
        assert again.failure.signature == small.failure.signature
        assert minimise(program, small, settings).schedule == small.schedule


def test_every_witness_of_a_small_program_becomes_the_same_one() -> None:
    schedules = set()
    for seed in range(1, 11):
        (witness,) = explore(lost_update_beside_noise, strategy="random", seed=seed, settings=BARE).failures
        schedules.add(str(minimise(lost_update_beside_noise, witness, BARE).schedule))
    assert len(schedules) == 1, schedules


def test_another_way_to_the_same_failure_is_found_where_it_has_fewer_preemptions() -> None:
    found = set()
    for seed in range(1, 21):
        (witness,) = explore(two_ways, strategy="random", seed=seed, settings=BARE).failures
        found.add(witness.preemptions)
        small = minimised(two_ways, witness, BARE)
        assert small.witness.preemptions == 1
        assert small.complete
        again = minimised(two_ways, small.witness, BARE)
        assert again.witness.schedule == small.witness.schedule
    assert max(found) > 1


@pytest.mark.parametrize(
    ("name", "seed"),
    [
        ("mremap-rmap-order", 1),
        ("mremap-rmap-order", 6),
        pytest.param("fork-without-vma-locks", 2, marks=pytest.mark.exhaustive),
    ],
)
def test_a_bug_of_the_model_needs_one_preemption(name: str, seed: int) -> None:
    bug = find_bug(name)
    program, settings = bug.broken.program, bug.broken.settings()
    with applied(bug.broken.patches):
        (witness,) = explore(program, seed=seed, settings=settings).failures
        assert witness.preemptions > 1
        assert minimise(program, witness, settings).preemptions == 1


def test_the_bug_may_show_itself_on_another_page() -> None:
    pages, schedules = set(), set()
    for seed in range(1, 11):
        (witness,) = explore(seen_on_a_page, strategy="random", seed=seed, settings=BARE).failures
        small = minimise(seen_on_a_page, witness, BARE)
        pages.add(witness.failure.headline)
        schedules.add(str(small.schedule))
    assert len(pages) > 1
    assert len(schedules) == 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("page 0x1000 of cc1:2", "lost"), ("page 0x20 of cc1:17", "lost"), True),
        (("page 0x1000 is lost", "lost"), ("page 0x1000 is dirty", "lost"), False),
        (
            ("read by reader 1 at tree/core/node.py:97", "lost"),
            ("read by reader 2 at tree/core/node.py:97", "lost"),
            True,
        ),
        (
            ("read by reader 1 at tree/core/node.py:97", "lost"),
            ("read by reader 1 at tree/core/node.py:9", "lost"),
            False,
        ),
        (("page 0x1000 is lost", "lost"), ("page 0x1000 is lost", "found"), False),
        (("check failed: step 1", None), ("check failed: step 1", None), True),
        (("check failed: step 1", None), ("check failed: step 2", None), False),
    ],
)
def test_what_is_one_finding(one: tuple[str, str | None], other: tuple[str, str | None], same: bool) -> None:
    first, second = (Failure(Kind.INVARIANT, headline, check=check) for headline, check in (one, other))
    assert same_failure(first, second) is same
    assert not same_failure(None, second)
    assert not same_failure(Failure(Kind.LEAK, one[0], check=one[1]), second)


def test_data_choices_become_as_small_as_they_can() -> None:
    settings = Settings(faults=2)
    for seed in range(1, 11):
        (witness,) = explore(unhandled_fault, strategy="random", seed=seed, settings=settings).failures
        small = minimise(unhandled_fault, witness, settings)
        values = [choice.value for choice in small.schedule.choices if isinstance(choice, Datum)]
        assert values == [0, 0, 1, 0]


@pytest.mark.parametrize(
    ("without", "seeds", "whole"),
    [((), 4, True), (("coverage",), 3, False), (SILENT, 1, False)]
    + [
        pytest.param(without, 10, True, marks=pytest.mark.exhaustive)
        for without in ((), ("coverage",), SILENT)
    ],
    ids=[f"{what}-{seeds}" for seeds in ("few", "ten") for what in ("cause", "effect", "silent")],
)
def test_the_brk_crash_needs_few_preemptions(without: tuple[str, ...], seeds: int, whole: bool) -> None:
    """That two are needed, and that nothing is left to gain, costs a thousand executions each: once in the suite."""
    scenario = scenarios.brk_false_vma
    settings = Settings(without=frozenset(without), observers=scenario.observers)
    with applied(scenario.patches):
        for seed in range(1, seeds + 1):
            (witness,) = explore(scenario.program, executions=5000, seed=seed, settings=settings).failures
            small = minimise(scenario.program, witness, settings, tries=100)
            assert small.preemptions <= (3 if without else 0)
            assert same_failure(small.failure, witness.failure)
        if whole:
            small = minimise(scenario.program, small, settings)
        assert small.preemptions == (2 if without else 0)
        # The other two are the same search of another failure; `-m exhaustive` makes all three.
        if whole and (seeds == 10 or not without):
            assert minimise(scenario.program, small, settings).schedule == small.schedule


def test_the_effort_is_bounded_and_what_was_reached_is_kept() -> None:
    (witness,) = explore(windows, strategy="random", executions=20_000, settings=BARE).failures
    none = minimised(windows, witness, BARE, tries=0)
    assert (none.witness.schedule, none.executions, none.complete) == (witness.schedule, 0, False)
    few = minimised(windows, witness, BARE, tries=5)
    assert few.executions == 5
    assert not few.complete
    assert few.witness.preemptions <= witness.preemptions
    assert minimised(windows, witness, BARE).complete


def test_the_same_witness_gives_the_same_result() -> None:
    (witness,) = explore(windows, strategy="random", executions=20_000, settings=BARE).failures
    assert minimised(windows, witness, BARE).executions == minimised(windows, witness, BARE).executions
    assert minimise(windows, witness, BARE).schedule == minimise(windows, witness, BARE).schedule


def test_a_witness_of_another_program_is_refused() -> None:
    (witness,) = explore(lost_update, strategy="random", settings=BARE).failures
    with pytest.raises(BadSchedule):
        minimise(windows, witness, BARE)


def test_preemptions_are_counted_from_the_run_that_switches_only_when_it_must() -> None:
    (witness,) = explore(lost_update, strategy="random", settings=BARE).failures
    small = minimise(lost_update, witness, BARE)
    assert small.schedule.switches > small.preemptions == 1
    assert replay(lost_update, Schedule.parse(str(small.schedule)), settings=BARE).preemptions == 1
