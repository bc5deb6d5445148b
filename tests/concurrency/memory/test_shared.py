"""Shared fields: kinds, sites that differ, atomics, inheritance, defaults."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from concurrency_programs import Cell, outcomes

from sugarbush.concurrency import (
    READ_ONCE,
    WRITE_ONCE,
    Atomic,
    ConcurrencyError,
    Once,
    Plain,
    RcuPtr,
    Shared,
    Unshared,
    atomic_add_return,
    atomic_dec_and_test,
    check,
    cmpxchg,
    explore,
    join,
    rcu_access_pointer,
    rcu_assign_pointer,
    rcu_dereference_check,
    rcu_dereference_protected,
    rcu_reader,
    smp_load_acquire,
    smp_store_release,
    spawn,
    xchg,
)
from sugarbush.concurrency.lowlevel import peek, poke, quiet
from sugarbush.concurrency.memory.shared import SharedMeta

FIELDS = ["plain", "once", "pointer", "count"]


@pytest.mark.parametrize("field", FIELDS)
def test_every_kind_is_read_and_written_every_way(field: str, run) -> None:
    def program() -> None:
        cell = Cell()
        with rcu_reader():
            for n, write in enumerate(
                [setattr, WRITE_ONCE, smp_store_release, rcu_assign_pointer, poke, xchg], start=1
            ):
                write(cell, field, n)
                for read in (getattr, READ_ONCE, smp_load_acquire, rcu_access_pointer, peek):
                    check(read(cell, field) == n, "what was written is read")
                check(rcu_dereference_check(cell, field, False) == n, "in a reader")
                check(rcu_dereference_protected(cell, field, True) == n, "protected")

    assert run(program) is None
    with quiet():
        program()


def names_of(program: Any) -> list[str]:
    """The operations of a program, as its witness names them."""

    def failing() -> None:
        program()
        check(False, "the end")

    events = explore(failing, executions=1).failures[0].events
    return [event.what for event in events if event.kind == "op"]


def test_each_kind_and_each_site_is_named_in_the_witness() -> None:
    def program() -> None:
        cell = Cell()
        cell.plain = cell.plain
        cell.once = cell.once
        with rcu_reader():
            cell.pointer = cell.pointer
        smp_store_release(cell, "plain", smp_load_acquire(cell, "plain"))
        xchg(cell, "count", 1)

    assert names_of(program) == [
        "read", "write", "read", "write", "rcu_read_lock", "rcu_dereference", "rcu_assign_pointer",
        "rcu_read_unlock", "smp_load_acquire", "smp_store_release", "atomic",
    ]  # fmt: skip


def test_peek_poke_and_quiet_are_no_operations() -> None:
    def program() -> None:
        cell = Cell()
        poke(cell, "plain", 1)
        peek(cell, "plain")
        with quiet():
            cell.plain += 1

    assert names_of(program) == []


def test_atomics_do_what_they_say(run) -> None:
    def program() -> None:
        cell = Cell(count=5)
        check(atomic_add_return(cell, "count", 2) == 7, "the new value")
        check(xchg(cell, "count", 2) == 7, "the old value")
        check(cmpxchg(cell, "count", 3, 9) == 2 and cell.count == 2, "no match, no change")
        check(cmpxchg(cell, "count", 2, 9) == 2 and cell.count == 9, "match, change")
        check(not atomic_dec_and_test(cell, "count"), "eight is left")
        cell.count = 1
        check(atomic_dec_and_test(cell, "count"), "nothing is left")

    assert run(program) is None


def test_atomics_lose_no_update(run) -> None:
    def program() -> None:
        cell = Cell()

        def work() -> None:
            for _ in range(20):
                atomic_add_return(cell, "count", 1)

        join(*[spawn(work) for _ in range(3)])
        check(cell.count == 60, "every addition counts")

    assert run(program) is None


def test_atomic_set_and_add_are_one_after_the_other(run) -> None:
    """5 then +1, or +1 then 5: never the 1 of a torn update."""

    def program() -> None:
        cell = Cell()
        join(spawn(setattr, cell, "count", 5), spawn(atomic_add_return, cell, "count", 1))
        check(cell.count in (5, 6), "one after the other")

    assert run(program) is None


def test_reading_and_writing_are_two_operations() -> None:
    def program(log: list[Any]) -> None:
        cell = Cell()

        def add() -> None:
            cell.once += 1

        join(spawn(add), spawn(add))
        log.append(cell.once)

    assert outcomes(program) == {(1,), (2,)}


class Base(Shared):
    a: Plain[int] = 1
    b: Once[str]
    note: Unshared[str] = "n"
    limit: ClassVar[int] = 9


class Derived(Base):
    b: Atomic[int] = 2
    c: RcuPtr[Base | None] = None


Evaluated: Any = SharedMeta(
    "Evaluated", (Shared,), {"__annotations__": {"x": Plain[int], "y": Unshared[int]}, "x": 3}
)
"""A class whose annotations are no text."""


def test_inheritance_defaults_and_keywords() -> None:
    base, derived = Base(b="x"), Derived(a=4, note="other")
    assert (base.a, base.b, base.note) == (1, "x", "n")
    assert (derived.a, derived.b, derived.c, derived.note) == (4, 2, None, "other")
    assert (Base.limit, derived.limit) == (9, 9)
    assert Evaluated().x == 3
    assert set(Evaluated._fields) == {"x"}


def test_a_derived_class_may_change_the_kind() -> None:
    def program() -> None:
        base, derived = Base(b="x"), Derived()
        base.b = base.b
        derived.a = derived.a
        xchg(derived, "b", 1)

    assert names_of(program) == ["read", "write", "read", "write", "atomic"]


def test_a_field_that_does_not_say_how_it_is_shared_is_refused() -> None:
    class Mixin:
        n: Plain[int] = 0

    for annotation, hint in (("int", "`Plain[int]`"), ("Plain", "`Plain[...]`"), (int, "`Plain[int]`")):
        with pytest.raises(ConcurrencyError, match="does not say how it is shared") as error:
            SharedMeta("Counter", (Shared,), {"__annotations__": {"n": annotation}, "n": 0})
        assert hint in str(error.value)
    with pytest.raises(ConcurrencyError, match=r"Mixin\.n, which Counter inherits, would not be shared"):
        SharedMeta("Counter", (Mixin, Shared), {})


def test_objects_have_no_room_for_other_names() -> None:
    with pytest.raises(AttributeError):
        Base().unknown = 1
    with pytest.raises(AttributeError):
        Base().b  # noqa: B018


@pytest.mark.parametrize("name", ["unknown", "note"])
def test_a_foreign_field_name_is_refused_in_words(name: str) -> None:
    for access in (
        lambda: READ_ONCE(Base(), name),
        lambda: WRITE_ONCE(Base(), name, 1),
        lambda: xchg(Base(), name, 1),
    ):
        with pytest.raises(ConcurrencyError, match=f"Base declares no shared field '{name}'"):
            access()


def test_outside_a_program_fields_are_plain_attributes() -> None:
    cell = Cell()
    cell.plain += 1
    cell.pointer = cell
    assert cell.pointer.plain == 1
