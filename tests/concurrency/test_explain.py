"""Explanation: the orders that matter are named, the others are not."""

from __future__ import annotations

import pytest
from concurrency_programs import BARE, Cell, abba, lost_update

from concurrency import (
    BadSchedule,
    Settings,
    Witness,
    check,
    explain,
    explore,
    join,
    minimise,
    spawn,
)
from stress import scenarios
from stress.patch import applied

NO_LOCKDEP = Settings(without=frozenset({"lockdep"}))


def smallest(program, settings: Settings = BARE, strategy: str = "random") -> Witness:  # type: ignore[no-untyped-def]
    (witness,) = explore(program, strategy=strategy, executions=20_000, settings=settings).failures
    return minimise(program, witness, settings)


def published_too_soon() -> None:
    """The flag is set before the data; a third task does what has nothing to do with it."""
    data, ready, other = Cell(), Cell(), Cell()

    def writer() -> None:
        ready.once = 1
        data.once = 1

    def reader() -> None:
        if ready.once:
            check(data.once == 1, "what is announced is there")

    def noise() -> None:
        for _ in range(5):
            other.once = other.once + 1

    join(
        spawn(noise, name="noise"),
        spawn(noise, name="noisy"),
        spawn(writer, name="writer"),
        spawn(reader, name="reader"),
    )


def order(pair: object) -> tuple[str, str, str, str]:
    first, second = pair.first, pair.second  # type: ignore[attr-defined]
    return first.task, first.what, second.task, second.what


def test_the_flag_and_the_data_matter_and_the_noise_does_not() -> None:
    why = explain(published_too_soon, smallest(published_too_soon), BARE)
    assert why.complete
    assert {order(pair) for pair in why.pairs} == {
        ("writer", "write", "reader", "read"),
        ("reader", "read", "writer", "write"),
    }
    assert "noise" not in why.text


def test_the_text_says_what_should_have_come_first() -> None:
    why = explain(published_too_soon, smallest(published_too_soon), BARE)
    assert "if reader's read(Cell.once) at " in why.text
    assert "had come before writer's write(Cell.once) at " in why.text
    assert "concurrency/test_explain.py" in why.text


def test_a_lost_update_is_a_write_that_came_after_the_other_ones_read() -> None:
    (pair,) = explain(lost_update, smallest(lost_update), BARE).pairs
    assert (pair.first.what, pair.second.what) == ("read", "write")
    assert pair.first.step < pair.second.step


def test_a_deadlock_is_explained_by_the_two_locks() -> None:
    why = explain(abba, smallest(abba, NO_LOCKDEP), NO_LOCKDEP)
    assert {(pair.first.on, pair.second.on) for pair in why.pairs} == {("a", "a"), ("b", "b")}


def test_where_one_task_fails_alone_no_order_matters() -> None:
    def alone() -> None:
        cell = Cell()
        join(spawn(lambda: check(cell.once, "nobody ever sets it")), spawn(lambda: cell.once))

    why = explain(alone, smallest(alone), BARE)
    assert why.pairs == ()
    assert "no order" in why.text


def test_the_effort_is_bounded() -> None:
    witness = smallest(published_too_soon)
    why = explain(published_too_soon, witness, BARE, tries=1)
    assert (why.executions, why.complete, why.pairs) == (1, False, ())
    assert why.text == "nothing found so far"


def test_a_witness_of_another_program_is_refused() -> None:
    with pytest.raises(BadSchedule):
        explain(abba, smallest(lost_update), BARE)


def test_the_brk_crash_is_explained_by_the_two_rmap_walks() -> None:
    """The first walk saw the pages, the second one came after they were out of reach."""
    scenario = scenarios.brk_false_vma
    settings = Settings(without=frozenset({"coverage"}), observers=scenario.observers)
    with applied(scenario.patches):
        (witness,) = explore(scenario.program, executions=5000, settings=settings).failures
        why = explain(scenario.program, minimise(scenario.program, witness, settings), settings)
    orders = {order(pair) for pair in why.pairs if pair.first.on == "anon_vma->rwsem"}
    assert orders == {
        ("kcompactd", "down_read_trylock", "cc1", "down_write"),
        ("cc1", "down_write", "kcompactd", "down_read"),
    }
    assert why.executions < 200
