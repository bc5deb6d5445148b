"""The audit: whether operations are what they are declared to be.

A declaration (`Operation(..., local=True)`, a reading `access`, `wakes=False`, `region`, ...) is a promise that the
strategies believe: a wrong one makes a search leave out orders that matter, and then it passes what fails. Here a
program is run with everything watched that operations are done to, and what is reached from there:

    class Box:
        def __init__(self) -> None:
            self.full = False

    def fill(box, _task, _arg):
        box.full = True

    LOOK = Operation("look", Access.READ_ONCE, effect=fill, local=True)   # it does not only look

    audit(program)      # WrongDeclaration: look(Box) is declared to read, yet its effect changes Box.full: ...

How it works: while the program runs, the objects have classes that note which of their attributes are read and set,
and containers are compared. A *turn* is the effect of an operation and what its task does until its next one; turns
are ordered as the dependence relation orders them (vector clocks). Two turns of two tasks that touch one attribute,
one of them changing it, and are not ordered, are a conflict between operations that are declared independent. So it is
a race detector that takes declarations for the only orders there are. `docs/audit.md` says what it cannot see.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, NamedTuple

from sugarbush.concurrency.checks import REACHING, Dependence
from sugarbush.concurrency.core import (
    CONTAINERS,
    CPU_RELAX,
    DEPTH,
    ENGINE,
    JOIN,
    START,
    ConcurrencyError,
    Failure,
    Footprint,
    Kind,
    Observer,
    Operation,
    Seen,
    Task,
    active,
    asked,
    class_of,
    current,
    has_entries,
    is_data,
    is_empty,
    label,
    make_recording,
    quiet,
    recorded,
    spell_out,
    state_of,
)
from sugarbush.concurrency.memory import FREE, FREE_STEPPED
from sugarbush.concurrency.rcu import RcuDomain, is_atomic
from sugarbush.concurrency.runtimes.simulated import Simulated
from sugarbush.concurrency.strategies import copied, meet
from sugarbush.lockdep.model import is_part

if TYPE_CHECKING:
    from sugarbush.concurrency.core import Execution

Clock = dict[int, int]

_UNWATCHED = frozenset(
    {"args", "context", "fn", "greenlet", "name", "obj", "op", "resume", "thread", "id", "daemon"}
    # What `concurrency.runtimes.liveness` notes of tasks that spin, in `Runtime.relax` and with the operations of
    # others: it makes them wait and go on as `ready` does for an operation, and no program asks for it.
    | {"has_looked", "idle_spins", "kept", "look", "spins", "yielding"}
)
"""Attributes of a task that only the machine uses, or that never change."""
_MADE_ONCE = frozenset({"sleep"})
"""Made by whoever comes first, and the same from then on: who that was makes no difference."""
_COMMUTING = frozenset(
    one
    for one in Footprint
    if one not in (Footprint.READ, Footprint.CHANGE, Footprint.NOTHING, Footprint.PLACES, *REACHING)
)
"""Footprints that change the same attributes and commute all the same: tried in both orders, on copies."""


class WrongDeclaration(ConcurrencyError):
    """An operation is not what it is declared to be; the sentence names it, and what it touched."""


@dataclass(slots=True)
class Audit:
    """What an audit has seen: how many executions, which operations, and what is wrong, each in one sentence."""

    executions: int = 0
    operations: set[str] = field(default_factory=set)
    found: list[str] = field(default_factory=list)


class _Turn(NamedTuple):
    """One operation of a task, and all that the task does until its next one."""

    task: Task
    number: int
    op: Operation
    obj: object
    clock: Clock
    footprint: Footprint
    kinds: int = 0
    """What it is to the checks (`Sight.kinds`)."""

    def __str__(self) -> str:
        if self.op is START:
            return f"the start of {self.task.name}"
        place = f".{self.op.field}" if self.op.field else ""
        return f"{self.op.name}({label(self.obj)}{place})"


class _Touched:
    """Of one attribute of one object: by each task the last turn that looked at it, and the last that changed it.

    With whether the operation itself did, or the task after it.
    """

    __slots__ = ("changes", "checks", "looks", "obj")

    def __init__(self, obj: object) -> None:
        self.obj = obj
        self.looks: dict[int, tuple[_Turn, bool]] = {}
        self.changes: dict[int, tuple[_Turn, bool]] = {}
        self.checks: dict[int, _Turn] = {}
        """By each task the last turn after which a check looked at it."""


_Access = tuple[_Turn, bool, bool]
"""A turn that touches something, whether its operation does, and whether that changes it."""


def _told(access: _Access, what: str) -> str:
    turn, inside, changes = access
    does = f"{'changes' if changes else 'looks at'} {what}"
    return f"{turn} {does}" if inside else f"{turn.task.name} {does} without an operation after {turn}"


class _Listens(Observer):
    """Makes the runtime take the variant of `step` that is announced."""

    def announced(self, task: Task, op: Operation, obj: object) -> None:
        """See `Observer.announced`."""


class Audited(Simulated):
    """Runs programs, and watches what their operations touch."""

    def __init__(self, strategy: Any, observers: tuple[Observer, ...] = (), **how: Any) -> None:
        self._watch = _Watch(self)
        self.report = self._watch.report
        self.keeps_going = False
        """Collect what is found, in place of ending the execution."""
        super().__init__(strategy, (*observers, _Listens()), **how)
        self._announced = self._looking(self._announced)
        self._on_performed = [self._looking(performed) for performed in self._on_performed]

    def _looking(self, hears: Any) -> Any:
        """An observer's method, in which it may look at the state: that belongs to the turn after which it does."""
        if hears is None or not self._sights.bits:
            return hears
        watch = self._watch

        def hear(task: Task, *what: Any) -> None:
            # Not where an operation is only over that nobody looks after: such looks are as free as those of reports.
            with watch.looking():
                hears(task, *what)

        return hear

    def _reset(self) -> None:
        super()._reset()
        self._inner_step = self.step
        self.step = self._audited_step
        self._watch.begin()

    def run(self, program: Callable[[], Any]) -> Execution:
        """See `Simulated.run`."""
        self.report.executions += 1
        try:
            return super().run(program)
        finally:
            self._watch.end()

    def settle(self) -> None:
        """All executions are over: compare what only shows in all of them."""
        self._watch.compare_names()

    def wrong(self, said: str) -> None:
        """Something is not as it is declared."""
        if said in self.report.found:
            return
        self.report.found.append(said)
        if not self.keeps_going:
            error = WrongDeclaration(said)
            if active.runtime is self:
                self.give_up(error)
            raise error

    def _audited_step(self, op: Operation, obj: object) -> None:
        watch = self._watch
        watch.pause()
        watch.meets(op, obj, None)
        self._inner_step(op, obj)
        watch.takes_effect(self.current, op, obj)
        watch.go_on()

    def perform(self, op: Operation, obj: object, arg: Any = None) -> Any:
        """See `Runtime.perform`."""
        watch = self._watch
        watch.pause()
        watch.meets(op, obj, arg)
        result = super().perform(op, obj, arg)
        if op.effect is None:
            watch.takes_effect(self.current, op, obj)
        watch.go_on()
        return result

    def made(self, obj: object) -> None:
        """See `Runtime.made`. No search hears of it: it would give the object a class of its own, as the audit does."""

    def relax(self) -> None:
        """See `Runtime.relax`. What `Liveness` does when it begins to watch, with our step in between."""
        if not self._watching and not self._stopping:
            self._watching = True
            self._inner_step = self._step_watched
            self.perform = self._perform_watched  # type: ignore[method-assign]
        super().relax()

    def spawn(self, fn: Callable[..., Any], args: tuple[Any, ...], name: str | None, daemon: bool) -> Task:
        """See `Runtime.spawn`."""
        with self._watch.elsewhere():
            return super().spawn(fn, args, name, daemon)

    def choose(self, n: int, label: str) -> int:
        """See `Runtime.choose`."""
        with self._watch.elsewhere():
            return super().choose(n, label)

    def might_alloc(self, gfp: int) -> None:
        """See `Runtime.might_alloc`."""
        with self._watch.elsewhere():
            super().might_alloc(gfp)

    def trace(self, event: str, fields: dict[str, object]) -> None:
        """See `Runtime.trace`."""
        with self._watch.elsewhere():
            super().trace(event, fields)

    def _start(
        self, parent: Task | None, fn: Callable[..., Any], args: tuple[Any, ...], name: str, daemon: bool
    ) -> Task:
        watch = self._watch

        def watched(*args: Any) -> Any:
            watch.starts(task)
            watch.go_on()
            try:
                return fn(*args)
            finally:
                watch.pause()

        task = super()._start(parent, watched, args, name, daemon)
        watch.spawned(parent, task, fn, args)
        return task

    def _end(self, task: Task) -> Task | None:
        self._watch.ends(task)
        return super()._end(task)


class _Watch:
    """What operations touch in one execution after another."""

    def __init__(self, runtime: Audited) -> None:
        self._runtime = runtime
        self.report = Audit()
        self._effects: dict[Operation, Callable[[Any, Any, Any], Any]] = {}
        self._relation = Dependence()
        self.listening = False
        self._places: dict[type, set[str]] = {}
        self._kinds: dict[type, dict[Operation, None]] = {}
        """The operations with orderings that were done to objects of each class, in all executions."""
        self.begin()

    # -- one execution --------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """A new execution: nothing is known."""
        self._relation = Dependence(faults=self._runtime.__dict__.get("_faults", 0) > 0)
        self._watched: dict[int, tuple[object, type]] = {}
        self._met: set[Operation] = set()
        self._touched: dict[tuple[int, str], _Touched] = {}
        self._of: dict[int, set[str]] = {}
        """For each object the attributes that were touched."""
        self._window: dict[tuple[int, str], tuple[object, Any, Any]] = {}
        """The containers that were looked at since the window opened, and what was in them."""
        self._inside: Operation | None = None
        """Whose effect is being made."""
        self._asking: Operation | None = None
        """Whose readiness is asked."""
        self._clocks: dict[int, Clock] = {}
        self._turns: dict[int, _Turn] = {}
        self._args: dict[int, Any] = {}
        self._ready: list[tuple[Task, Operation, bool]] = []
        self._made_anywhere: dict[Operation, Clock] = {}
        """For each operation the turns that began with it, whatever it was done to; `START` is one."""
        self._on: dict[int, dict[Operation, Clock]] = {}
        self._pairs: set[tuple[Operation, Operation]] = set()
        self._tried: dict[tuple[Operation, Operation], int] = {}
        self._conflicts: list[str] = []
        """What was found since the task went on; see `_tell`."""
        self._looks = False
        """An observer looks."""
        self._placed: dict[int, dict[tuple[str | None, bool], Clock]] = {}
        """For each object the turns whose operations say that they touch it (`Operation.touches`), as `Events`."""
        self._seen: dict[int, Clock] = {}
        """For each kind of what checks see the turns of that kind."""

    def end(self) -> None:
        """The execution is over: everything is as it was."""
        self.listening = False
        for obj, cls in self._watched.values():
            if type(obj) is recorded.get(cls):
                object.__setattr__(obj, "__class__", cls)
        for op, effect in self._effects.items():
            op.effect = effect
        self._effects.clear()
        self._watched.clear()
        current.watch = None

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
        """The machine works: what it looks at is nobody's business."""
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
        """The machine works in between, in the same turn."""
        was, self.listening = self.listening, False
        try:
            yield
        finally:
            self.listening = was

    def spawned(self, parent: Task | None, task: Task, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """A task is new: what its parent did is before all that it does."""
        self._clocks[task.id] = {} if parent is None else dict(self._clocks[parent.id])
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
                # Copies are for asking what might have been: nobody watches those.
                if active.runtime is not self._runtime:
                    return original(obj, task, arg)
                return self._make(op, original, obj, task, arg)

            op.effect = effect

    # -- turns ----------------------------------------------------------------------------------------------------

    def takes_effect(self, task: Task, op: Operation, obj: object) -> None:
        """The turn of `task` begins, with this operation."""
        clock = self._clocks[task.id]
        if op is JOIN:
            assert isinstance(obj, Task)
            _join(clock, self._clocks[obj.id])
        kinds = self._on.setdefault(id(obj), {})
        places = None if op.touches is None else op.touches(obj, task, self._args.get(task.id))
        if places is None:
            for other, left in kinds.items():
                if self._relation.dependent(op, obj, other, obj):
                    _join(clock, left)
                elif other is not op or len(kinds) == 1:
                    self._compare_orderings(op, other, obj)
            if op.touches is None:
                changes = self._relation.footprint(op, obj) is not Footprint.READ
                if self._relation.footprint(op, obj) is not Footprint.NOTHING:
                    self._meet(clock, obj, op.place, changes)
            clock = self._turn(task, op, obj).clock
            _join(kinds.setdefault(op, {}), clock)
        else:
            places = tuple(places)
            for on, part, changes in places:
                for other, left in self._on.get(id(on), {}).items():
                    if meet(part, changes, other, self._relation.footprint(other, on)):
                        _join(clock, left)
                self._meet(clock, on, part, changes)
            clock = self._turn(task, op, obj, Footprint.PLACES).clock
            for on, part, changes in places:
                _join(self._placed.setdefault(id(on), {}).setdefault((part, changes), {}), clock)
        if op is FREE or op is FREE_STEPPED:
            # Whoever looks at it now is wrong, whatever it looks at.
            for name in sorted(self._of.get(id(obj), ())):
                self._touch(obj, name, changed=True)

    def _meet(self, clock: Clock, obj: object, place: str | None, changes: bool) -> None:
        """What says that it touches this place comes before."""
        for (part, alters), left in self._placed.get(id(obj), {}).items():
            if (changes or alters) and (part is None or place is None or part == place):
                _join(clock, left)

    def _turn(self, task: Task, op: Operation, obj: object, placed: Footprint | None = None) -> _Turn:
        clock = self._clocks[task.id]
        sights = self._runtime._sights
        kinds = 0
        if op is not START:
            kinds = sights.kinds(op, obj)
            for bit in sights.places(kinds):
                _join(clock, self._seen.get(bit, {}))
        # By the relation itself, and of every operation there was: what a task does after its operation, or before its
        # first, belongs to the turn, so a relation that orders a start and a free orders what is touched there.
        for other, left in self._made_anywhere.items():
            if placed is not None:
                if other is not START and self._relation.footprint(other, _ELSEWHERE) in REACHING:
                    _join(clock, left)
            elif self._relation.dependent(op, obj, other, _ELSEWHERE):
                _join(clock, left)
        number = clock[task.id] = clock.get(task.id, 0) + 1
        footprint = placed or self._relation.footprint(op, obj)
        turn = self._turns[task.id] = _Turn(task, number, op, obj, dict(clock), footprint, kinds)
        if placed is None:
            _join(self._made_anywhere.setdefault(op, {}), clock)
        for bit in range(sights.bits):
            if kinds >> bit & 1:
                _join(self._seen.setdefault(bit, {}), clock)
        return turn

    def _make(self, op: Operation, original: Any, obj: Any, task: Task, arg: Any) -> Any:
        """Make an effect, and see what it touches."""
        self.takes_effect(task, op, obj)
        self._try_both_orders(task, op, obj, arg)
        before = self._readiness()
        was_atomic = is_atomic(task)
        current.watch = self
        if op.ready is not None:
            self._asking, self.listening = op, True
            op.ready(obj, task)
            self._close()
            self._asking = None
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
        """Whether each operation that tasks have announced and may have to wait for can go on."""
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
        """What was ready before, and what is now: whoever waits must have been told."""
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

    # -- what is touched ------------------------------------------------------------------------------------------

    def read(self, obj: object, name: str, value: Any) -> None:
        """An attribute of a watched object was read."""
        if not self.listening or (active.runtime is not self._runtime and not self._looks):
            return
        task = self._runtime.current
        if (obj is task and not self._looks) or not is_data(obj, name):
            return
        if isinstance(obj, Task) and name in _UNWATCHED:
            return
        # Whoever looks at these looks for its own entry: `clock.late`.
        self._touch(obj, f"late[{task.id}]" if has_entries(obj, name) else name, changed=False)
        self._reached(value)
        key = id(obj), name
        if type(value) in CONTAINERS and key not in self._window:
            self._window[key] = obj, value, spell_out(value, task)

    def changed(self, obj: object, name: str) -> None:
        """An attribute of a watched object was set."""
        if self._looks or not self.listening or active.runtime is not self._runtime:
            return
        if isinstance(obj, Task) and name in _UNWATCHED:
            return
        if is_data(obj, name):
            self._window.pop((id(obj), name), None)
            self._change(obj, name)

    def _close(self) -> None:
        """See which of the containers have changed that were looked at."""
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
        # What a task keeps of itself is not shared; only those look at it that are declared to look at everything.
        own = obj is turn.task
        what = f"{label(obj)}.{name.removeprefix('_')}"
        if self._asking is not None:
            self._runtime.wrong(
                f"the readiness of {turn} changes {what}: it may be asked at any time, so let it only look"
            )
        elif op is not None and not own:
            self._compare_place(op, turn, obj, name, what)
        self._touch(obj, name, changed=True)

    def _compare_place(self, op: Operation, turn: _Turn, obj: object, name: str, what: str) -> None:
        """An effect has changed an attribute: is that in its place?"""
        # Of what says by itself which places it touches the order alone is compared: see `_touch`.
        if turn.footprint in (Footprint.ANYTHING, Footprint.PLACES):
            return
        field = name.removeprefix("_")
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
        """Operations on `obj` itself are known to touch this attribute: it is a field, or they have."""
        if name.removeprefix("_") in self._fields(obj):
            return True
        touched = self._touched.get((id(obj), name))
        turns = () if touched is None else (*touched.looks.values(), *touched.changes.values())
        return any(turn.obj is obj and turn.op is not START for turn, _ in turns)

    def _touch(self, obj: object, name: str, *, changed: bool) -> None:
        """The turn of the current task touches an attribute: compare it with those of others that are not before it."""
        task = self._runtime.current
        turn = self._turns.get(task.id)
        if turn is None or name in _MADE_ONCE:
            return
        if obj is task and not changed:
            return
        if self._looks:
            self._look_at(turn, obj, name)
            return
        key = id(obj), name
        touched = self._touched.get(key)
        if touched is None:
            touched = self._touched[key] = _Touched(obj)
            self._of.setdefault(id(obj), set()).add(name)
        clock = turn.clock
        # The access of a step is made by the caller, after it.
        field = turn.op.field
        inside = (self._inside or self._asking) is not None or (
            obj is turn.obj and name.removeprefix("_") == field
        )
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

    def _look_at(self, turn: _Turn, obj: object, name: str) -> None:
        """A check looks at an attribute after `turn`: whoever changes it must see that, before and after.

        Looks are kept apart from what the program touches: a check that reads two attributes orders nothing.
        """
        touched = self._touched.get((id(obj), name))
        if touched is None:
            touched = self._touched[id(obj), name] = _Touched(obj)
            self._of.setdefault(id(obj), set()).add(name)
        for other, within in touched.changes.values():
            if turn.clock.get(other.task.id, 0) < other.number:
                self._overlooked(turn, (other, within, True), obj, name)
        touched.checks[turn.task.id] = turn

    def _overlooked(self, turn: _Turn, change: _Access, obj: object, name: str) -> None:
        if self._runtime._sights.overlooks(change[0].op, name):
            return
        what = f"{label(obj)}.{name.removeprefix('_')}"
        self._conflicts.append(
            f"a check looks at {what} after {turn} of {turn.task.name}, and {_told(change, 'it')}, in an order that "
            "the search does not see: let the sight of the observer have the two see each other"
        )

    def _conflict(self, one: _Access, two: _Access, obj: object, name: str) -> None:
        """Two turns that nothing orders touch one attribute, and one of them changes it."""
        turn, other = one[0], two[0]
        if turn.footprint in _COMMUTING and other.footprint in _COMMUTING and turn.obj is other.obj is obj:
            return
        # What is in the way of the rule comes first: a touch without an operation, a look.
        first, second = sorted((one, two), key=lambda access: (access[1], access[2], str(access[0])))
        what = f"{label(obj)}.{name.removeprefix('_')}"
        advice = "leave local=True out of one of them" if first[1] else "make that an operation on it"
        self._conflicts.append(
            f"{_told(first, what)} and {_told(second, 'it')}, in an order that the search does not see since they are "
            f"declared independent: {advice}"
        )

    def _tell(self) -> None:
        """Say what was found, unless the task has failed meanwhile: whoever writes a report looks at everything.

        What the program itself fails by is no report of ours: it may have looked before.
        """
        found, self._conflicts = self._conflicts, []
        failure = sys.exc_info()[1]
        if isinstance(failure, Failure) and failure.kind not in (Kind.CHECK, Kind.BUG_ON):
            return
        for one in found:
            self._runtime.wrong(one)

    # -- what is watched ------------------------------------------------------------------------------------------

    def _reached(self, value: Any) -> None:
        """What a watched object leads to is watched, too."""
        if type(value) in CONTAINERS or type(value) is tuple:
            for one in tuple(value):
                self._adopt(one)
            if type(value) is dict:
                for one in tuple(value.values()):
                    self._adopt(one)
        else:
            self._adopt(value)

    def _known_to(self, function: Any, depth: int = DEPTH) -> None:
        """What a function can reach by name: arguments that it has already, variables of its surroundings."""
        if isinstance(function, partial):
            self._reached(function.args)
            self._reached(function.keywords)
            function = function.func
        self._adopt(getattr(function, "__self__", None))
        function = getattr(function, "__func__", function)
        if not isinstance(function, FunctionType):
            return
        known = list(function.__defaults__ or ())
        known += [cell.cell_contents for cell in function.__closure__ or () if not is_empty(cell)]
        # Not what the engine's own modules hold: those are its tables.
        # A function whose globals have no __name__ (made by `exec`) has no module.
        if not is_part(str(function.__module__), ENGINE):
            names = function.__code__.co_names
            known += [function.__globals__[name] for name in names if name in function.__globals__]
        for one in known:
            if isinstance(one, (FunctionType, MethodType, partial)):
                if depth:
                    self._known_to(one, depth - 1)
            else:
                self._reached(one)

    def _adopt(self, obj: object) -> None:
        cls = type(obj)
        if id(obj) in self._watched:
            return
        recording = recorded.get(cls)
        if recording is None:
            recording = recorded[cls] = make_recording(cls)
        if recording is cls:
            return
        try:
            object.__setattr__(obj, "__class__", recording)
        except TypeError:
            recorded[cls] = cls
            return
        self._watched[id(obj)] = obj, cls

    # -- both orders ----------------------------------------------------------------------------------------------

    def _compare_orderings(self, op: Operation, other: Operation, obj: object) -> None:
        """What is independent must not hand anything on from one to the other."""
        if (op, other) in self._pairs:
            return
        self._pairs.add((op, other))
        for gives, takes in ((op, other), (other, op)):
            for name in gives.releases:
                if name in takes.acquires:
                    self._runtime.wrong(
                        f"{takes.name}({label(obj)}) takes over what {gives.name} leaves behind ({name!r}), yet the "
                        "two are declared independent: their order counts"
                    )

    def _try_both_orders(self, task: Task, op: Operation, obj: object, arg: Any) -> None:
        """Of operations on one object that change it and are declared to commute: make both orders, on copies."""
        footprint = self._relation.footprint(op, obj)
        if footprint not in _COMMUTING:
            return
        for other in self._runtime.tasks:
            two = other.op
            if (
                other is task
                or other.ended
                or two is None
                or other.obj is not obj
                or two not in self._effects
            ):
                continue
            if (
                self._relation.footprint(two, obj) not in _COMMUTING
                or self._tried.get((op, two), 0) > _ENOUGH
            ):
                continue
            if self._relation.dependent(op, obj, two, obj) or not (
                two.ready is None or two.ready(obj, other)
            ):
                continue
            # Of a domain that no program runs in, tasks without preemption cannot be asked for.
            if isinstance(obj, RcuDomain) and any(map(is_atomic, self._runtime.tasks)):
                continue
            self._tried[op, two] = self._tried.get((op, two), 0) + 1
            one = (task, op, arg)
            second = (other, two, self._args.get(other.id))
            with quiet():
                forth, back = self._made(obj, one, second), self._made(obj, second, one)
            if forth != back:
                self._runtime.wrong(
                    f"{op.name} and {two.name} on {label(obj)} are declared independent, yet the order in which they "
                    "are done makes a difference"
                )

    def _made(self, obj: object, *moves: tuple[Task, Operation, Any]) -> object:
        """What two operations leave behind in this order: results by task, the state, and who can go on then."""
        copy = copied(obj)
        counts = [(task, task.preempt_count, task.rcu_nesting, task.irqs_off) for task, _, _ in moves]
        results: dict[int, object] = {}
        try:
            for task, op, arg in moves:
                if op.ready is not None and not op.ready(copy, task):
                    results[task.id] = "has to wait"
                    continue
                try:
                    results[task.id] = spell_out(self._effects[op](copy, task, arg), None)
                except Failure as failure:
                    results[task.id] = failure.headline
            seen = asked(copy, Seen.as_seen)
            state = state_of(copy) if seen is None else seen(copy)
            ready = [
                (task.id, op.ready(copy, task))
                for task, op in self._runtime._waiting.get(id(obj), {}).items()
                if op.ready is not None and all(task is not mover for mover, _, _ in moves)
            ]
        finally:
            for task, preempt_count, rcu_nesting, irqs_off in counts:
                task.preempt_count, task.rcu_nesting, task.irqs_off = preempt_count, rcu_nesting, irqs_off
        return results, state, ready


_ENOUGH = 20
_ELSEWHERE = object()
"""No operation is done to this: what depends on an operation here depends on it wherever it is done."""


def _join(clock: Clock, other: Clock) -> None:
    for task, number in other.items():
        if clock.get(task, 0) < number:
            clock[task] = number
