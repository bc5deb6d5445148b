"""Programs that are not deterministic: noticed, and named with the first operation that differs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from concurrency_programs import BARE, Cell, abba, locked_update, lost_update
from known_bugs import KNOWN_BUGS

from sugarbush.concurrency import BadSchedule, Verdict, check, explore, join, spawn


def clock_dependent() -> Callable[[], None]:
    """Every third execution or so takes another branch."""
    clock = itertools.count()

    def program() -> None:
        cell, other = Cell(), Cell()

        def work() -> None:
            cell.once = 1
            if next(clock) % 3 == 0:
                other.count = 2
            else:
                other.once = 2

        join(spawn(work, name="ann"), spawn(work, name="bob"))

    return program


def another_task() -> Callable[[], None]:
    """A task that is not always there."""
    clock = itertools.count()

    def program() -> None:
        cell = Cell()
        spawn(setattr, cell, "once", 1, name="ann")
        if next(clock) % 2:
            spawn(setattr, cell, "once", 2, name="bob")
        cell.once = 3

    return program


@pytest.mark.parametrize("make", [clock_dependent, another_task])
def test_a_check_names_the_first_operation_that_differs(make: Callable[[], Callable[[], None]]) -> None:
    with pytest.raises(BadSchedule, match="the program is not deterministic: operation") as raised:
        explore(make(), strategy="check", executions=20, settings=BARE)
    said = str(raised.value)
    assert "\n" not in said
    if make is clock_dependent:
        assert "write(Cell.count) at" in said or "'s write(Cell.once) at" in said
        assert "test_check_strategy.py:" in said
    else:
        assert "a choice among the tasks" in said


@pytest.mark.parametrize("program", [lost_update, abba])
def test_a_deterministic_program_is_left_alone(program: Callable[[], Any]) -> None:
    result = explore(program, strategy="check", executions=100, settings=BARE, keep_going=True)
    assert result.verdict is Verdict.FAILED
    assert result.executions == 100
    assert len(result.failures) == 1


@pytest.mark.parametrize("name", KNOWN_BUGS)
def test_the_programs_of_these_tests_are_deterministic(name: str) -> None:
    bug = KNOWN_BUGS[name]
    explore(bug.program, strategy="check", executions=60, settings=bug.settings, keep_going=True)


def test_a_check_is_never_a_pass() -> None:
    result = explore(locked_update, strategy="check", executions=4, settings=BARE)
    assert (result.verdict, result.executions) == (Verdict.INCONCLUSIVE, 4)


@pytest.mark.parametrize("strategy", ["pct", "pos", "dfs"])
def test_a_witness_that_does_not_replay_is_named_with_its_operation(strategy: str) -> None:
    clock = itertools.count()

    def program() -> None:
        cell, other = Cell(), Cell()

        def work() -> None:
            cell.once = 1
            now = next(clock)
            if now % 3:
                other.count = 2
            else:
                other.once = 2
            check(now % 7 != 5, "not at five")

        join(spawn(work, name="ann"), spawn(work, name="bob"))

    with pytest.raises(BadSchedule) as raised:
        explore(program, strategy=strategy, executions=100, settings=BARE)
    said = str(raised.value)
    assert "the program is not deterministic" in said
    assert "under one schedule was" in said


def test_what_changes_once_and_for_all_is_said_in_words() -> None:
    """After the first execution all agree, so no operation can be named."""

    @cache
    def made() -> int:
        cell = Cell()
        for _ in range(5):
            cell.once = 1
        return 1

    def program() -> None:
        made()
        check(False, "always")

    with pytest.raises(BadSchedule, match="an earlier execution changed something that later ones find"):
        explore(program, strategy="random", executions=3, settings=BARE)
