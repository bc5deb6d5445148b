"""Effects that say where they go (`touches=`): a place that was left out is found, whatever ordered the tasks there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sugarbush.concurrency import Mutex, join, spawn
from sugarbush.concurrency.lowlevel import Operation, audit, perform


class Cell:
    """What is moved from and to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.value = 1


class Table:
    """Its entries are a field of another name to operations."""

    PLACE_NAMES = {"entries": "pte"}  # noqa: RUF012

    def __init__(self) -> None:
        self.name = "table"
        self.entries = [0]


def _move(one: Cell, _task: Any, other: Cell) -> None:
    one.value, other.value = 0, one.value


def _set(table: Table, _task: Any, value: int) -> None:
    table.entries[0] = value


def moving(says: Callable[[Any, Any, Any], Any], *, in_parallel: bool = True) -> Callable[[], None]:
    """Two tasks move something to and fro, under a lock that orders them."""
    move = Operation("move", effect=_move, touches=says)

    def program() -> None:
        one, other, lock = Cell("one"), Cell("other"), Mutex("lock")

        def work(a: Cell, b: Cell) -> None:
            with lock:
                perform(move, a, b)

        if in_parallel:
            join(spawn(work, one, other), spawn(work, other, one))
        else:
            join(spawn(work, one, other))
            join(spawn(work, other, one))

    return program


def test_what_says_all_is_right() -> None:
    program = moving(lambda a, _task, b: [(a, "value", True), (b, "value", True)])
    assert audit(program, executions=5, keep_going=True).found == []


@pytest.mark.parametrize(
    ("says", "does"),
    [
        (lambda a, _task, _b: [(a, "value", True)], "changes"),
        (lambda a, _task, b: [(a, "value", True), (b, "value", False)], "changes"),
        (lambda a, _task, b: [(a, "name", True), (b, "value", True)], "looks at"),
    ],
)
def test_a_place_that_is_left_out_is_found_though_a_lock_orders_the_two(says: Any, does: str) -> None:
    found = audit(moving(says), executions=5, keep_going=True).found
    assert any(
        f"move(one) {does} " in said and "its touches= leaves that out: add (" in said for said in found
    )


def test_what_a_join_orders_in_every_schedule_needs_no_place() -> None:
    program = moving(lambda a, _task, _b: [(a, "name", True)], in_parallel=False)
    assert audit(program, executions=5, keep_going=True).found == []


@pytest.mark.parametrize(("field", "found"), [("pte", 0), ("entries", 1), (None, 0)])
def test_an_attribute_goes_by_the_name_that_its_class_gives_it(field: str | None, found: int) -> None:
    change = Operation("set_pte", effect=_set, touches=lambda table, _task, _value: [(table, field, True)])

    def program() -> None:
        table = Table()
        join(spawn(perform, change, table, 1), spawn(perform, change, table, 2))

    said = audit(program, executions=5, keep_going=True).found
    assert bool(said) == bool(found)
    assert all("table.pte" in one for one in said)


def test_to_say_where_it_goes_must_not_change_anything() -> None:
    def says(a: Cell, _task: Any, b: Cell) -> list[Any]:
        a.value += 1
        return [(a, "value", True), (b, "value", True)]

    found = audit(moving(says), executions=2, keep_going=True).found
    assert any("the touches= of move(one) changes one.value" in said for said in found)
