"""The data race detector: plain accesses of two tasks to one place, one a write, that nothing orders.

Happens-before by vector clocks, with the accesses of each place kept as epochs: Flanagan and Freund, "FastTrack:
Efficient and Precise Dynamic Race Detection", PLDI 2009, section 3, extended by marked accesses. A pair of marked
accesses is no race; a marked against a plain one is, as for KCSAN (Documentation/dev-tools/kcsan.rst, v6.6). A marked
write after a write barrier releases, a read barrier acquires what marked reads before it have read from, as the fences
of C11 do.

Under weak memory it is the write that was read from that counts, not the last one: the memory says which it was.
"""

from __future__ import annotations

from typing import Any

from concurrency.failure import Failure, Kind
from concurrency.observer import Observer
from concurrency.operation import Access, Dep, Fence, Operation
from concurrency.rcu.domain import READERS, UPDATES, RcuDomain, is_atomic
from concurrency.runtime import Runtime
from concurrency.shared import Shared
from concurrency.site import stack
from concurrency.task import Task
from concurrency.waiting import label

_NONE, _READ, _WRITE = Access.NONE, Access.READ, Access.WRITE
_READ_ONCE, _WRITE_ONCE = Access.READ_ONCE, Access.WRITE_ONCE
_ACQUIRE, _RELEASE, _ACQ_REL = Access.ACQUIRE, Access.RELEASE, Access.ACQ_REL
_TRIES = (Dep.TRY, Dep.TRY_READ)
_MARKED_READS = (Access.READ_ONCE, Access.ACQUIRE)
_OVERWRITES = (Access.WRITE, Access.WRITE_ONCE)
"""Writes after which an acquire of the place no longer reads from the release before."""
Clock = dict[int, int]
"""For each task, by number, how much of its work is known: a task that is missing is unknown."""


class _Seen:
    """An access of the past: who, when by its own clock, and its stack if stacks are kept."""

    __slots__ = ("epoch", "op", "stack", "task")

    def __init__(self, task: Task, epoch: int, op: Operation, where: tuple[str, ...]) -> None:
        self.task = task
        self.epoch = epoch
        self.op = op
        self.stack = where


class _Past:
    """The accesses of a place that a later one may race with.

    Plain writes are ordered among themselves (or a race was reported), so the last one stands for all; of the
    others the last of each task is kept, since a marked access orders nothing and hides nothing.
    """

    __slots__ = ("marked_reads", "marked_writes", "reads", "write")

    def __init__(self) -> None:
        self.write: _Seen | None = None
        self.reads: dict[int, _Seen] = {}
        self.marked_reads: dict[int, _Seen] = {}
        self.marked_writes: dict[int, _Seen] = {}


class _Place:
    """One field of one object: what its last release left, and its past if its accesses are compared."""

    __slots__ = ("clock", "past")

    def __init__(self) -> None:
        self.clock: Clock = {}
        self.past: _Past | None = None


class _Fields(dict[str | None, _Place]):
    """The places of one object, made when they are first asked for."""

    __slots__ = ("obj",)
    obj: object

    def __missing__(self, field: str | None) -> _Place:
        place = self[field] = _Place()
        return place


def _merge(into: Clock, other: Clock) -> None:
    known = into.get
    for task, epoch in other.items():
        if known(task, 0) < epoch:
            into[task] = epoch


class RaceDetector(Observer):
    """Reports the first data race of an execution as a `Failure`.

    With `stacks` each access keeps its stack, for a report with both; without it detection is several times faster.
    An execution that failed is run again with stacks.
    """

    def __init__(self, *, stacks: bool = False) -> None:
        self._stacks = stacks
        self._runtime: Runtime | None = None
        self._clocks: list[Clock] = []
        self._places: dict[int, _Fields] = {}
        self._on = True
        self._pending: dict[int, Clock] = {}
        """For each task, what a read barrier would make known."""
        self._before_barrier: dict[int, Clock] = {}
        """For each task, its clock at its last write barrier."""
        self.follows_reads = False
        """The memory says what each access to a field reads from."""

    def begin(self, runtime: Runtime) -> None:
        """See `Observer.begin`."""
        self._runtime = runtime
        self._pending = {}
        self._before_barrier = {}
        self._clocks = []
        self._places = {}
        self._on = "data-race" not in runtime.without

    def spawned(self, parent: Task | None, task: Task) -> None:
        """What the parent did before is before all that the child does."""
        clock: Clock = {}
        if parent is not None:
            clock.update(self._clocks[parent.id])
            self._clocks[parent.id][parent.id] += 1
        clock[task.id] = 1
        self._clocks.append(clock)

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:  # noqa: ARG002
        """Orderings that locks, RCU and joins make."""
        if op.acquires and (result or op.dep not in _TRIES):
            fields = self._places.get(id(obj)) or self._fields(obj)
            for name in op.acquires:
                left = fields[name].clock
                if left:
                    _merge(self._clocks[task.id], left)
        if op.access is not _NONE or op.before is not None or op.after is not None:
            self.accessed(task, op, obj)
        if op.releases:
            clock = self._clocks[task.id]
            fields = self._places.get(id(obj)) or self._fields(obj)
            for name in op.releases:
                place = fields[name]
                if place.clock:
                    _merge(place.clock, clock)
                else:
                    place.clock = clock.copy()
            clock[task.id] += 1
        if op.region:
            self._stretch(task)

    def _stretch(self, task: Task) -> None:
        """Preemption may have gone off or on: what grace periods of RCU wait for has begun or ended."""
        assert self._runtime is not None
        rcu = self._runtime.domain(RcuDomain)
        fields = self._places.get(id(rcu)) or self._fields(rcu)
        clock = self._clocks[task.id]
        if is_atomic(task):
            for name in UPDATES:
                _merge(clock, fields[name].clock)
        else:
            for name in READERS:
                _merge(fields[name].clock, clock)
            clock[task.id] += 1

    def accessed(self, task: Task, op: Operation, obj: object) -> None:
        """Compare an access with those before it, and remember it."""
        access = op.access
        if op.before is not None:
            self._barrier(task, op.before)
        barriers = self._before_barrier
        # A marked access orders something where a barrier was met, and a store ends the ordering of a release.
        if (
            op.tracked
            or barriers
            or (
                id(obj) in self._places
                if access is _WRITE_ONCE
                else access is not _READ_ONCE and access is not _NONE
            )
        ):
            if self.follows_reads and (isinstance(obj, Shared) or op.word is not None):
                if access is not _ACQUIRE and access is not _ACQ_REL:
                    self.compare(task, op, obj)
            else:
                self._follow(task, op, obj, barriers)
        if op.after is not None:
            self._barrier(task, op.after)

    def _follow(self, task: Task, op: Operation, obj: object, barriers: dict[int, Clock]) -> None:
        """An access reads what was written last."""
        access = op.access
        fields = self._places.get(id(obj)) or self._fields(obj)
        place = fields[op.field]
        clock = self._clocks[task.id]
        if place.clock:
            if access is _ACQUIRE:
                _merge(clock, place.clock)
            elif access is _READ_ONCE and barriers:
                _merge(self._pending.setdefault(task.id, {}), place.clock)
        if op.tracked and self._on:
            self._compare(task, op, obj, place, clock)
        if access is _RELEASE:
            place.clock = clock.copy()
            clock[task.id] += 1
        elif access in _OVERWRITES and (place.clock or barriers):
            before = barriers.get(task.id) if access is _WRITE_ONCE else None
            place.clock = before.copy() if before else {}

    def _barrier(self, task: Task, barrier: Fence) -> None:
        clock = self._clocks[task.id]
        if barrier is not Fence.WMB and task.id in self._pending:
            _merge(clock, self._pending.pop(task.id))
        if barrier is not Fence.RMB:
            self._before_barrier[task.id] = clock.copy()
            clock[task.id] += 1

    def compare(self, task: Task, op: Operation, obj: object) -> None:
        """Compare an access with those before it, and remember it; what it reads from is known already."""
        if op.tracked and self._on:
            fields = self._places.get(id(obj)) or self._fields(obj)
            self._compare(task, op, obj, fields[op.field], self._clocks[task.id])

    def reads_from(self, task: Task, clock: Clock, *, acquires: bool) -> None:
        """`task` reads a write that was left with `clock`."""
        _merge(self._clocks[task.id] if acquires else self._pending.setdefault(task.id, {}), clock)

    def writes(self, task: Task, *, releases: bool, onto: Clock | None = None) -> Clock | None:
        """What is left with a write of `task`; `onto` was left with the write that it replaces atomically."""
        if releases:
            mine = self._clocks[task.id]
            left = mine.copy()
            mine[task.id] += 1
        else:
            before = self._before_barrier.get(task.id)
            if before is None:
                return onto
            left = before.copy()
        if onto is not None:
            _merge(left, onto)
        return left

    def _fields(self, obj: object) -> _Fields:
        """The places of an object that has none yet; it is kept alive, so that its id stays its own."""
        made = self._places[id(obj)] = _Fields()
        made.obj = obj
        return made

    def _compare(self, task: Task, op: Operation, obj: object, place: _Place, clock: Clock) -> None:
        access = op.access
        past = place.past
        if past is None:
            past = place.past = _Past()
        write = past.write
        if write is not None and write.epoch > clock.get(write.task.id, 0):
            self._report(write, task, op, obj)
        if access is _READ:
            if past.marked_writes:
                self._compare_all(past.marked_writes, task, op, obj, clock)
            self._remember(past.reads, task, clock, op)
        elif access is _WRITE:
            for earlier in (past.reads, past.marked_reads, past.marked_writes):
                if earlier:
                    self._compare_all(earlier, task, op, obj, clock)
                    earlier.clear()
            past.write = _Seen(task, clock[task.id], op, stack() if self._stacks else ())
        elif access in _MARKED_READS:
            self._remember(past.marked_reads, task, clock, op)
        else:
            if past.reads:
                self._compare_all(past.reads, task, op, obj, clock)
            self._remember(past.marked_writes, task, clock, op)

    def _compare_all(
        self, earlier: dict[int, _Seen], task: Task, op: Operation, obj: object, clock: Clock
    ) -> None:
        known = clock.get
        for number, seen in earlier.items():
            if seen.epoch > known(number, 0):
                self._report(seen, task, op, obj)

    def _remember(self, where: dict[int, _Seen], task: Task, clock: Clock, op: Operation) -> None:
        number = task.id
        epoch = clock[number]
        seen = where.get(number)
        if seen is None or seen.epoch != epoch or seen.op is not op or self._stacks:
            where[number] = _Seen(task, epoch, op, stack() if self._stacks else ())

    def _report(self, first: _Seen, task: Task, op: Operation, obj: object) -> None:
        where = f"{label(obj)}.{op.field}" if op.field else label(obj)

        def line(name: str, by: Task) -> str:
            return f"{name} of {where} by task {by.id} ({by.name}):"

        detail = [line(op.name, task), *(f"  {frame}" for frame in stack())]
        detail += ["", line(first.op.name, first.task), *(f"  {frame}" for frame in first.stack)]
        detail += ["", "no lock, release/acquire pair or join orders the two"]
        raise Failure(
            Kind.DATA_RACE,
            f"BUG: KCSAN: data-race in {where}: {first.op.name} by {first.task.name}, {op.name} by {task.name}",
            "\n".join(detail),
            check="data-race",
        )
