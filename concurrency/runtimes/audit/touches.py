"""What is touched: each attribute by which turns, and which of them nothing orders."""

from __future__ import annotations

import sys
from collections.abc import Container
from typing import Any

from sugarbush.concurrency.core import (
    CONTAINERS,
    START,
    Failure,
    Footprint,
    Kind,
    Operation,
    Task,
    active,
    class_of,
    has_entries,
    is_data,
    label,
    spell_out,
)
from sugarbush.concurrency.rcu import RcuDomain
from sugarbush.concurrency.runtimes.audit.reach import Reach
from sugarbush.concurrency.runtimes.audit.turns import (
    COMMUTING,
    MADE_ONCE,
    UNWATCHED,
    Access,
    Touched,
    WatchedRuntime,
    WatchedTurn,
    in_words,
)
from sugarbush.concurrency.runtimes.audit.undeclared import Undeclared, place_of


class Touches(Reach):
    """Notes what turns touch, and compares those that nothing orders: a race detector of declarations.

    Effects, and what a task does after them, are told apart by `_inside`; what an observer looks at by `_looks`.
    """

    def __init__(self, runtime: WatchedRuntime) -> None:
        self._runtime = runtime
        self.listening = False
        self._places: dict[type, set[str]] = {}
        """For each class the fields that operations are declared for, in all executions."""

    def begin(self) -> None:
        """A new execution: nothing is known of it."""
        super().begin()
        self._touched: dict[tuple[int, str], Touched] = {}
        self._of: dict[int, set[str]] = {}
        """For each object the attributes that were touched."""
        self._window: dict[tuple[int, str], tuple[object, Any, Any]] = {}
        """The containers that were looked at since the window opened, and what was in them."""
        self._inside: Operation | None = None
        """The operation whose effect is being made, if one is."""
        self._asking: Operation | None = None
        """The operation that is asked something, if one is: whether it can go on, or where it goes."""
        self._question = "readiness"
        self._turns: dict[int, WatchedTurn] = {}
        """The last turn of each task."""
        self._conflicts: list[str] = []
        """What was found since the task went on; see `_tell`."""
        self._undeclared = Undeclared(self._note)
        self._looks = False
        """An observer looks."""

    def _note(self, said: str) -> None:
        # Not the list's own method: `_tell` begins a new list each time.
        self._conflicts.append(said)

    def read(self, obj: object, name: str, value: Any) -> None:
        """An attribute of a watched object was read: by the program, if its runtime is active, or by a check."""
        if not self.listening or (active.runtime is not self._runtime and not self._looks):
            return
        task = self._runtime.current
        if (obj is task and not self._looks) or not is_data(obj, name):
            return
        if isinstance(obj, Task) and name in UNWATCHED:
            return
        # A task that looks at one of these looks for its own entry: `clock.late`.
        self._touch(obj, f"late[{task.id}]" if has_entries(obj, name) else name, changed=False)
        self._reached(value)
        key = id(obj), name
        if type(value) in CONTAINERS and key not in self._window:
            self._window[key] = obj, value, spell_out(value, task)

    def changed(self, obj: object, name: str) -> None:
        """An attribute of a watched object was set."""
        if self._looks or not self.listening or active.runtime is not self._runtime:
            return
        if isinstance(obj, Task) and name in UNWATCHED:
            return
        if is_data(obj, name):
            self._window.pop((id(obj), name), None)
            self._change(obj, name)

    def _close(self) -> None:
        """Note as changed those of the containers that were looked at whose content is another one now."""
        window, self._window = self._window, {}
        task = self._runtime.current
        for (_, name), (obj, value, before) in window.items():
            now = spell_out(value, task)
            if now == before:
                continue
            if has_entries(obj, name):
                for number in sorted({number for number, _ in now ^ before}):
                    self._change(obj, f"late[{number}]")
            else:
                self._change(obj, name)

    def _change(self, obj: object, name: str) -> None:
        op, turn = self._asking or self._inside, self._turns[self._runtime.current.id]
        # What a task keeps of itself is not shared; only operations that are declared to reach anything look at it.
        own = obj is turn.task
        what = f"{label(obj)}.{name.removeprefix('_')}"
        if self._asking is not None:
            self._runtime.wrong(
                f"the {self._question} of {turn} changes {what}: it may be asked at any time, so let it only look"
            )
        elif op is not None and not own:
            self._compare_place(op, turn, obj, name, what)
        self._touch(obj, name, changed=True)

    def _compare_place(self, op: Operation, turn: WatchedTurn, obj: object, name: str, what: str) -> None:
        """An effect has changed an attribute: refuse it unless that is in the place that is declared."""
        # One that says by itself which places it touches is compared with those (`Undeclared`).
        if turn.footprint in (Footprint.ANYTHING, Footprint.PLACES):
            return
        field = place_of(obj, name)
        if turn.footprint is Footprint.READ:
            self._runtime.wrong(
                f"{turn} is declared to read (Access.{op.access.name}), yet its effect changes {what}: give it an "
                "access that writes, or none"
            )
        elif obj is not turn.obj and not isinstance(obj, Task) and self._is_place(obj, name):
            self._runtime.wrong(
                f"{turn} is declared to touch nothing but its place (local=True), yet its effect changes {what}, which "
                "other operations are done to: leave local out, or make that an operation of its own"
            )
        elif obj is turn.obj and op.place is not None and field != op.place and field in self._fields(obj):
            self._runtime.wrong(
                f"{turn} is declared to touch the field {op.place!r} only, yet its effect changes {what}, which is a "
                "place of its own: declare it with whole=True"
            )
        elif isinstance(obj, RcuDomain) and name == "begun" and not op.grace:
            self._runtime.wrong(
                f"{turn} begins a grace period of RCU, which waits for stretches without preemption: declare it with "
                "grace=True"
            )

    def _fields(self, obj: object) -> Container[str]:
        """The parts of an object that are places of their own: its fields, or what operations are declared for."""
        cls = class_of(obj)
        declared: dict[str, Any] | None = getattr(cls, "_fields", None)
        known: set[str] = self._places.get(cls, set())
        return declared or known

    def _is_place(self, obj: object, name: str) -> bool:
        """Whether operations on `obj` itself touch this attribute: it is a field, or such turns are known."""
        if place_of(obj, name) in self._fields(obj):
            return True
        touched = self._touched.get((id(obj), name))
        turns = () if touched is None else (*touched.looks.values(), *touched.changes.values())
        return any(turn.obj is obj and turn.op is not START for turn, _ in turns)

    def _touch(self, obj: object, name: str, *, changed: bool) -> None:
        """The turn of the current task touches an attribute: compare it with those of others that are not before it."""
        task = self._runtime.current
        turn = self._turns.get(task.id)
        if turn is None or name in MADE_ONCE:
            return
        if obj is task and not changed:
            return
        if self._looks:
            self._look_at(turn, obj, name)
            return
        key = id(obj), name
        touched = self._touched.get(key)
        if touched is None:
            touched = self._touched[key] = Touched(obj)
            self._of.setdefault(id(obj), set()).add(name)
        clock = turn.clock
        # The access of a step is made by the caller, after it.
        field = turn.op.field
        inside = (self._inside or self._asking) is not None or (
            obj is turn.obj and place_of(obj, name) == field
        )
        self._undeclared.touched(turn, touched, name, changed=changed, inside=inside)
        for other, within in touched.changes.values():
            if clock.get(other.task.id, 0) < other.number:
                self._conflict((turn, inside, changed), (other, within, True), obj, name)
        if changed:
            for check in touched.checks.values():
                if clock.get(check.task.id, 0) < check.number:
                    self._overlooked(check, (turn, inside, True), obj, name)
            for other, within in touched.looks.values():
                if clock.get(other.task.id, 0) < other.number:
                    self._conflict((turn, inside, True), (other, within, False), obj, name)
            touched.changes[task.id] = turn, inside
        else:
            touched.looks[task.id] = turn, inside

    def _look_at(self, turn: WatchedTurn, obj: object, name: str) -> None:
        """A check looks at an attribute after `turn`: what changes it has to be ordered with that, before or after.

        Looks are kept apart from what the program touches: a check that reads two attributes orders nothing.
        """
        touched = self._touched.get((id(obj), name))
        if touched is None:
            touched = self._touched[id(obj), name] = Touched(obj)
            self._of.setdefault(id(obj), set()).add(name)
        for other, within in touched.changes.values():
            if turn.clock.get(other.task.id, 0) < other.number:
                self._overlooked(turn, (other, within, True), obj, name)
        touched.checks[turn.task.id] = turn

    def _overlooked(self, turn: WatchedTurn, change: Access, obj: object, name: str) -> None:
        if self._runtime._sights.overlooks(change[0].op, name, change[0].kinds, turn.kinds):
            return
        what = f"{label(obj)}.{name.removeprefix('_')}"
        self._conflicts.append(
            f"a check looks at {what} after {turn} of {turn.task.name}, and {in_words(change, 'it')}, in an order that "
            "the search does not see: let the sight of the observer have the two see each other"
        )

    def _conflict(self, one: Access, two: Access, obj: object, name: str) -> None:
        """Two turns that nothing orders touch one attribute, and one of them changes it."""
        turn, other = one[0], two[0]
        if turn.footprint in COMMUTING and other.footprint in COMMUTING and turn.obj is other.obj is obj:
            return
        # First the access that is more likely to be wrong: one without an operation, a look. What the two are is said
        # in the same order in every execution, so that one conflict is one sentence.
        first, second = sorted((one, two), key=lambda access: (access[1], access[2], str(access[0])))
        what = f"{label(obj)}.{name.removeprefix('_')}"
        advice = "leave local=True out of one of them" if first[1] else "make that an operation on it"
        self._conflicts.append(
            f"{in_words(first, what)} and {in_words(second, 'it')}, in an order that the search does not see since "
            f"they are declared independent: {advice}"
        )

    def _tell(self) -> None:
        """Say what was found, unless the task has failed meanwhile: code that writes a report looks at everything.

        What the program itself fails by is no report of ours: it may have looked before.
        """
        found, self._conflicts = self._conflicts, []
        failure = sys.exc_info()[1]
        if isinstance(failure, Failure) and failure.kind not in (Kind.CHECK, Kind.BUG_ON):
            return
        for one in found:
            self._runtime.wrong(one)
