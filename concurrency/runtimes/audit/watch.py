"""Watching an execution: which task acts, which turn is after which, and what each task waits for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from functools import partial
from typing import Any

from sugarbush.concurrency.checks import REACHING, Clock, merge
from sugarbush.concurrency.core import (
    CPU_RELAX,
    JOIN,
    START,
    Footprint,
    Operation,
    Place,
    Task,
    active,
    class_of,
    current,
    label,
)
from sugarbush.concurrency.memory import FREE, FREE_STEPPED
from sugarbush.concurrency.rcu import is_atomic
from sugarbush.concurrency.runtimes.audit.both_orders import BothOrders
from sugarbush.concurrency.runtimes.audit.findings import Audit
from sugarbush.concurrency.runtimes.audit.turns import (
    WatchedRuntime,
    WatchedTurn,
)
from sugarbush.concurrency.runtimes.audit.undeclared import by_object
from sugarbush.concurrency.strategies import meet

_ELSEWHERE = object()
"""No operation is done to this: what depends on an operation here depends on it wherever it is done."""


class Watch(BothOrders):
    """What operations touch in one execution after another."""

    def __init__(self, runtime: WatchedRuntime) -> None:
        super().__init__(runtime)
        self.report = Audit()
        self._kinds: dict[type, dict[Operation, None]] = {}
        """The operations with orderings that were done to objects of each class, in all executions."""
        self.begin()

    def begin(self) -> None:
        """A new execution: nothing is known of it."""
        super().begin()
        self._met: set[Operation] = set()
        self._clocks: dict[int, Clock] = {}
        self._ready: list[tuple[Task, Operation, bool]] = []
        self._made_anywhere: dict[Operation, Clock] = {}
        """For each operation the turns that began with it, whatever it was done to; `START` is one."""
        self._on: dict[int, dict[Operation, Clock]] = {}
        self._placed: dict[int, dict[tuple[str | None, bool], Clock]] = {}
        """For each object the turns whose operations say that they touch it (`Operation.touches`), as `Events`."""
        self._seen: dict[int, Clock] = {}
        """For each kind of what checks see the turns of that kind."""

    def end(self) -> None:
        """The execution is over: everything is as it was."""
        self.listening = False
        for op, effect in self._effects.items():
            op.effect = effect
        self._effects.clear()
        super().end()

    def compare_names(self) -> None:
        """Of the operations on one class: an ordering that none hands on, and one like it that none takes over."""
        for cls, operations in self._kinds.items():
            taken = {name: op for op in operations for name in op.acquires}
            given = {name: op for op in operations for name in op.releases}
            for name in sorted(taken.keys() - given.keys()):
                for other in get_close_matches(name, sorted(given.keys() - taken.keys())):
                    self._runtime.wrong(
                        f"{taken[name].name} acquires the ordering {name!r}, which no operation on a {cls.__name__} "
                        f"releases, and {given[other].name} releases {other!r}, which none acquires: one of them is "
                        "misspelt"
                    )

    # -- who acts -------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """The machine works: what it looks at is not the program's."""
        if self.listening:
            self._close()
            self.listening = False
            self._tell()
            self._compare_ready(None)

    @contextmanager
    def looking(self) -> Iterator[None]:
        """An observer hears of the current task, and may look: from outside, so no program runs meanwhile."""
        was, self.listening, self._looks = self.listening, True, True
        current.watch = self
        try:
            yield
        finally:
            self._window.clear()
            self.listening, self._looks = was, False
        self._tell()

    def go_on(self) -> None:
        """The task goes on: what it does up to its next operation is watched."""
        self._ready = self._readiness()
        current.watch = self
        self.listening = True

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """The machine works for a moment within a turn: what it looks at is not the program's."""
        was, self.listening = self.listening, False
        try:
            yield
        finally:
            self.listening = was

    def spawned(self, parent: Task | None, task: Task, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """A task is new: what its parent did is before all that it does."""
        self._clocks[task.id] = {} if parent is None else dict(self._clocks[parent.id])
        self._undeclared.spawned(parent, task)
        self._adopt(task)
        self._known_to(fn)
        self._reached(args)

    def starts(self, task: Task) -> None:
        """The first turn of a task, up to its first operation."""
        self._turn(task, START, task)

    def ends(self, task: Task) -> None:
        """The end belongs to the last turn, and a join sees it."""
        self.pause()
        for name in ("ended", "returned"):
            self._touch(task, name, changed=True)
        self._tell()

    def meets(self, op: Operation, obj: object, arg: Any) -> None:
        """A task has announced an operation."""
        self._args[self._runtime.current.id] = arg
        self.report.operations.add(op.name)
        self._adopt(obj)
        self._reached(arg)
        if op not in self._met:
            self._met.add(op)
            for part in (op.ready, self._effects.get(op, op.effect)):
                self._known_to(part)
        if op.acquires or op.releases:
            self._kinds.setdefault(class_of(obj), {})[op] = None
        if op.field is not None:
            self._places.setdefault(class_of(obj), set()).add(op.field)
        if op.effect is not None and op not in self._effects:
            self._effects[op] = original = op.effect

            def effect(obj: Any, task: Any, arg: Any) -> Any:
                # Copies are made to ask what might have been: they are not watched.
                if active.runtime is not self._runtime:
                    return original(obj, task, arg)
                return self._make(op, original, obj, task, arg)

            op.effect = effect

    # -- turns ----------------------------------------------------------------------------------------------------

    def takes_effect(self, task: Task, op: Operation, obj: object) -> None:
        """The turn of `task` begins, with this operation: it comes after all that the relation orders before it."""
        clock = self._clocks[task.id]
        if op is JOIN:
            assert isinstance(obj, Task)
            merge(clock, self._clocks[obj.id])
            self._undeclared.joined(task, obj)
        kinds = self._on.setdefault(id(obj), {})
        places = None if op.touches is None else op.touches(obj, task, self._args.get(task.id))
        if places is None:
            for other, left in kinds.items():
                if self._relation.dependent(op, obj, other, obj):
                    merge(clock, left)
                elif other is not op or len(kinds) == 1:
                    self._compare_orderings(op, other, obj)
            if op.touches is None:
                changes = self._relation.footprint(op, obj) is not Footprint.READ
                if self._relation.footprint(op, obj) is not Footprint.NOTHING:
                    self._meet(clock, obj, op.place, changes)
            clock = self._turn(task, op, obj).clock
            merge(kinds.setdefault(op, {}), clock)
        else:
            places = tuple(places)
            for on, part, changes in places:
                for other, left in self._on.get(id(on), {}).items():
                    if meet(part, changes, other, self._relation.footprint(other, on)):
                        merge(clock, left)
                self._meet(clock, on, part, changes)
            clock = self._turn(task, op, obj, places).clock
            for on, part, changes in places:
                merge(self._placed.setdefault(id(on), {}).setdefault((part, changes), {}), clock)
        if op is FREE or op is FREE_STEPPED:
            # To free is to change all of it: a turn that looks at any part must be ordered with that.
            for name in sorted(self._of.get(id(obj), ())):
                self._touch(obj, name, changed=True)

    def asks(self, task: Task, op: Operation, obj: object, arg: Any) -> None:
        """What it looks at to say whether it can go on, and where it goes: that belongs to its turn."""
        current.watch = self
        self._asking, self.listening = op, True
        for self._question, ask in (
            ("readiness", op.ready and partial(op.ready, obj, task)),
            ("touches=", op.touches and partial(op.touches, obj, task, arg)),
        ):
            if ask is not None:
                ask()
                self._close()
        self._asking, self.listening = None, False

    def _meet(self, clock: Clock, obj: object, place: str | None, changes: bool) -> None:
        """Put the turns before it that say that they touch this place."""
        for (part, alters), left in self._placed.get(id(obj), {}).items():
            if (changes or alters) and (part is None or place is None or part == place):
                merge(clock, left)

    def _turn(
        self, task: Task, op: Operation, obj: object, places: tuple[Place, ...] | None = None
    ) -> WatchedTurn:
        clock = self._clocks[task.id]
        sights = self._runtime._sights
        kinds = 0
        if op is not START:
            kinds = sights.kinds(task, op, obj, self._args.get(task.id))
            for bit in sights.places(kinds):
                merge(clock, self._seen.get(bit, {}))
        # By the relation itself, and of every operation there was: what a task does after its operation, or before its
        # first, belongs to the turn, so a relation that orders a start and a free orders what is touched there.
        for other, left in self._made_anywhere.items():
            if places is not None:
                if other is not START and self._relation.footprint(other, _ELSEWHERE) in REACHING:
                    merge(clock, left)
            elif self._relation.dependent(op, obj, other, _ELSEWHERE):
                merge(clock, left)
        number = clock[task.id] = clock.get(task.id, 0) + 1
        footprint = self._relation.footprint(op, obj) if places is None else Footprint.PLACES
        turn = self._turns[task.id] = WatchedTurn(
            task,
            number,
            op,
            obj,
            dict(clock),
            footprint,
            kinds,
            None if places is None else by_object(places),
        )
        self._undeclared.turned(turn)
        if places is None:
            merge(self._made_anywhere.setdefault(op, {}), clock)
        for bit in range(sights.bits):
            if kinds >> bit & 1:
                merge(self._seen.setdefault(bit, {}), clock)
        return turn

    def _make(self, op: Operation, original: Any, obj: Any, task: Task, arg: Any) -> Any:
        """Make an effect, and see what it touches."""
        self.takes_effect(task, op, obj)
        self._try_both_orders(task, op, obj, arg)
        before = self._readiness()
        was_atomic = is_atomic(task)
        self.asks(task, op, obj, arg)
        self._inside, self.listening = op, True
        try:
            return original(obj, task, arg)
        finally:
            self._close()
            self._inside, self.listening = None, False
            self._tell()
            # What has failed has ended the execution.
            if sys.exc_info()[0] is None:
                if is_atomic(task) != was_atomic and not op.region and not self._wide_op(op, obj):
                    self._runtime.wrong(
                        f"{self._turns[task.id]} turns preemption, bottom halves or interrupts of its task "
                        f"{'off' if not was_atomic else 'on'}, for which grace periods of RCU wait: declare it with "
                        "region=True"
                    )
                self._ready = before
                self._compare_ready(op)

    def _wide_op(self, op: Operation, obj: object) -> bool:
        return self._relation.footprint(op, obj) is Footprint.ANYTHING

    # -- what waits -----------------------------------------------------------------------------------------------

    def _readiness(self) -> list[tuple[Task, Operation, bool]]:
        """Of each operation that a task has announced and may have to wait for, whether it can go on now."""
        was, self.listening = self.listening, False
        found = []
        for waiting in self._runtime._waiting.values():
            for task, op in waiting.items():
                if op is CPU_RELAX or op.ready is None:
                    continue
                ready = op.ready(task.obj, task)
                found.append((task, op, ready))
                if op.alike and any(op.ready(task.obj, other) is not ready for other in self._runtime.tasks):
                    self._runtime.wrong(
                        f"{op.name}({label(task.obj)}) is declared alike=True, yet it is ready for some tasks and not "
                        "for others: leave alike out"
                    )
        self.listening = was
        return found

    def _compare_ready(self, op: Operation | None) -> None:
        """Compare what is ready with what was: tasks whose operation is ready now must have been asked again."""
        before, self._ready = self._ready, []
        for task, waits, was in before:
            if task.op is not waits or waits.ready is None:
                continue
            now = waits.ready(task.obj, task)
            if now is was or task is self._runtime.current:
                continue
            turn = self._turns[self._runtime.current.id]
            what = f"{waits.name}({label(task.obj)}) of {task.name} {'ready' if now else 'unready'}"
            if op is None:
                self._runtime.wrong(
                    f"what {turn.task.name} did after {turn} made {what}, and nobody asks again: let the effect of an "
                    "operation with wakes=True on that object do it"
                )
            elif turn.obj is not task.obj:
                self._runtime.wrong(
                    f"{turn} made {what}, which waits for another object, and nobody asks again: only an operation on "
                    "that object wakes it"
                )
            elif not op.wakes:
                self._runtime.wrong(
                    f"{turn} made {what}, and it does not say so: declare it with wakes=True, and with no access that "
                    "reads"
                )
