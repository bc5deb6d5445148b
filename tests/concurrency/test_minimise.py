"""Minimising: the same failure, fewer switches, and nothing left to gain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from concurrency_programs import BARE, Cell, abba, lost_update

from concurrency import (
    BadSchedule,
    Datum,
    KmemCache,
    Mutex,
    Plain,
    Schedule,
    Settings,
    Shared,
    check,
    explore,
    join,
    minimise,
    replay,
    spawn,
)
from concurrency.minimise import minimised
from stress import scenarios
from stress.patch import applied

GFP_ATOMIC = 0x20


def lost_update_of_three() -> None:
    """As `lost_update`, with a task that has nothing to do with it."""
    cell, other = Cell(), Cell()

    def add() -> None:
        cell.once = cell.once + 1

    def noise() -> None:
        for _ in range(10):
            other.once = other.once + 1

    join(spawn(noise, name="noise"), spawn(add, name="ann"), spawn(add, name="bob"))
    check(cell.once == 2, "both additions count")


def windows() -> None:
    """Depth 3: b must look inside a's window, c inside b's."""
    cell, flags = Cell(), [Cell(), Cell()]

    def opens() -> None:
        for _ in range(4):
            cell.once = 1
        flags[0].once = 1
        flags[0].once = 0

    def looks_and_opens() -> None:
        for _ in range(6):
            cell.once = 2
        if flags[0].once:
            flags[1].once = 1
            flags[1].once = 0

    def looks() -> None:
        for _ in range(8):
            cell.once = 3
        check(not flags[1].once, "nobody looks into both windows")

    join(spawn(opens), spawn(looks_and_opens), spawn(looks))


def lost_wakeup() -> None:
    """The consumer looks, then waits for a lock that the producer gave back before."""
    cell, gate = Cell(), Mutex("gate")

    def waits() -> None:
        if not cell.once:
            gate.lock()
            gate.lock()

    def wakes() -> None:
        cell.once = 1

    join(spawn(waits, name="waits"), spawn(wakes, name="wakes"))


class Node(Shared):
    value: Plain[int] = 0


def use_after_free() -> None:
    """A reader keeps a node that the writer frees."""
    cache = KmemCache("node", Node)
    cell = Cell()
    cell.once = cache.alloc(GFP_ATOMIC)

    def reader() -> None:
        node = cell.once
        if node is not None:
            assert node.value == 0

    def writer() -> None:
        node = cell.once
        cell.once = None
        cache.free(node)

    join(spawn(reader, name="reader"), spawn(writer, name="writer"))


def unhandled_fault() -> None:
    """The third allocation must not fail, the others may."""
    cache = KmemCache("node", Node)
    nodes = [cache.alloc(GFP_ATOMIC) for _ in range(4)]
    check(nodes[2] is not None, "the third allocation works")
    for node in nodes:
        if node is not None:
            cache.free(node)


PROGRAMS: dict[str, tuple[Callable[[], Any], Settings, int]] = {
    "lost update": (lost_update, BARE, 1),
    "lost update beside noise": (lost_update_of_three, BARE, 1),
    "ab-ba": (abba, Settings(without=frozenset({"lockdep"})), 1),
    "ab-ba, as lockdep sees it": (abba, Settings(), 0),
    "windows": (windows, BARE, 2),
    "self deadlock": (lost_wakeup, BARE, 0),
    "use after free": (use_after_free, Settings(without=frozenset({"data-race"})), 1),
    "failed allocation": (unhandled_fault, Settings(faults=2), 0),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("strategy", ["random", "pct"])
def test_a_witness_gets_as_small_as_it_can(name: str, strategy: str) -> None:
    program, settings, preemptions = PROGRAMS[name]
    for seed in range(1, 6):
        result = explore(program, strategy=strategy, executions=20_000, seed=seed, settings=settings)
        (witness,) = result.failures
        small = minimise(program, witness, settings)
        assert small.preemptions == preemptions
        assert small.preemptions <= witness.preemptions
        assert small.failure.headline == witness.failure.headline
        assert small.failure.kind is witness.failure.kind
        again = replay(program, str(small.schedule), settings=settings)
        assert again.failure.signature == small.failure.signature
        assert minimise(program, small, settings).schedule == small.schedule


def test_every_witness_of_a_small_program_becomes_the_same_one() -> None:
    schedules = set()
    for seed in range(1, 11):
        (witness,) = explore(lost_update_of_three, strategy="random", seed=seed, settings=BARE).failures
        schedules.add(str(minimise(lost_update_of_three, witness, BARE).schedule))
    assert len(schedules) == 1, schedules


def test_data_choices_become_as_small_as_they_can() -> None:
    settings = Settings(faults=2)
    for seed in range(1, 11):
        (witness,) = explore(unhandled_fault, strategy="random", seed=seed, settings=settings).failures
        small = minimise(unhandled_fault, witness, settings)
        values = [choice.value for choice in small.schedule.choices if isinstance(choice, Datum)]
        assert values == [0, 0, 1, 0]


@pytest.mark.parametrize(
    ("without", "seeds"),
    [((), 10), (("coverage",), 10), (("coverage", "migration-entry-locked"), 4)],
    ids=["cause", "effect", "silent"],
)
def test_the_brk_crash_needs_few_preemptions(without: tuple[str, ...], seeds: int) -> None:
    scenario = scenarios.brk_false_vma
    settings = Settings(without=frozenset(without), observers=scenario.observers)
    with applied(scenario.patches):
        for seed in range(1, seeds + 1):
            (witness,) = explore(scenario.program, executions=5000, seed=seed, settings=settings).failures
            small = minimise(scenario.program, witness, settings, tries=100)
            assert small.preemptions <= (3 if without else 0)
            assert small.failure.headline == witness.failure.headline
        small = minimise(scenario.program, small, settings)
        assert small.preemptions == (2 if without else 0)
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
