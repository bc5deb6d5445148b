"""The data race detector: plain accesses of two tasks to one place, one a write, that nothing orders.

Happens-before by vector clocks, with the last write and the last reads of each place kept as epochs: Flanagan and
Freund, "FastTrack: Efficient and Precise Dynamic Race Detection", PLDI 2009, section 3. A pair of marked accesses
is no race; a marked against a plain one is, as for KCSAN (Documentation/dev-tools/kcsan.rst, v6.6).
"""

from __future__ import annotations

from typing import Any

from concurrency.failure import Failure, Kind
from concurrency.observer import Observer
from concurrency.operation import Access, Dep, Operation
from concurrency.runtime import Runtime
from concurrency.site import stack
from concurrency.task import Task
from concurrency.waiting import label

_READS = (Access.READ, Access.READ_ONCE, Access.ACQUIRE)
_TRIES = (Dep.TRY, Dep.TRY_READ)


class _Seen:
    """An access of the past: who, when by its own clock, whether it was marked, and its stack if stacks are kept."""

    __slots__ = ("epoch", "marked", "op", "stack", "task")

    def __init__(self, task: Task, epoch: int, op: Operation, marked: bool, where: tuple[str, ...]) -> None:
        self.task = task
        self.epoch = epoch
        self.op = op
        self.marked = marked
        self.stack = where


class _Place:
    """One field of one object: its last write, the reads since then, and what its last release made visible."""

    __slots__ = ("clock", "reads", "write")

    def __init__(self) -> None:
        self.write: _Seen | None = None
        self.reads: dict[int, _Seen] = {}
        self.clock: list[int] = []


def _merge(into: list[int], other: list[int]) -> None:
    if len(into) < len(other):
        into.extend([0] * (len(other) - len(into)))
    for index, value in enumerate(other):
        into[index] = max(into[index], value)


class RaceDetector(Observer):
    """Reports the first data race of an execution as a `Failure`.

    With `stacks` each access keeps its stack, for a report with both; without it detection is several times faster.
    An execution that failed is run again with stacks.
    """

    def __init__(self, *, stacks: bool = False) -> None:
        self._stacks = stacks
        self._clocks: list[list[int]] = []
        self._places: dict[int, tuple[object, dict[str | None, _Place]]] = {}
        self._on = True

    def begin(self, runtime: Runtime) -> None:
        """See `Observer.begin`."""
        self._clocks = []
        self._places = {}
        self._on = "data-race" not in runtime.without

    def spawned(self, parent: Task | None, task: Task) -> None:
        """What the parent did before is before all that the child does."""
        if parent is None:
            clock: list[int] = []
        else:
            clock = self._clocks[parent.id].copy()
            self._clocks[parent.id][parent.id] += 1
        clock.extend([0] * (task.id + 1 - len(clock)))
        clock[task.id] = 1
        self._clocks.append(clock)

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:  # noqa: ARG002
        """Orderings that locks, RCU and joins make."""
        if op.acquires and not (op.dep in _TRIES and not result):
            clock = self._clocks[task.id]
            for name in op.acquires:
                _merge(clock, self._place(obj, name).clock)
        if op.tracked:
            self.accessed(task, op, obj)
        if op.releases:
            clock = self._clocks[task.id]
            for name in op.releases:
                _merge(self._place(obj, name).clock, clock)
            clock[task.id] += 1

    def accessed(self, task: Task, op: Operation, obj: object) -> None:
        """Compare an access with those before it, and remember it."""
        access = op.access
        if access is Access.NONE:
            return
        place = self._place(obj, op.field)
        clock = self._clocks[task.id]
        if access is Access.ACQUIRE:
            _merge(clock, place.clock)
        if op.tracked and self._on:
            self._compare(task, op, obj, place, clock)
        if access is Access.RELEASE:
            place.clock = clock.copy()
            clock[task.id] += 1

    def _place(self, obj: object, field: str | None) -> _Place:
        entry = self._places.get(id(obj))
        if entry is None:
            entry = self._places[id(obj)] = (obj, {})
        place = entry[1].get(field)
        if place is None:
            place = entry[1][field] = _Place()
        return place

    def _compare(self, task: Task, op: Operation, obj: object, place: _Place, clock: list[int]) -> None:
        number = task.id
        marked = op.access > Access.WRITE
        write = place.write
        if (
            write is not None
            and write.task is not task
            and not (marked and write.marked)
            and (write.task.id >= len(clock) or write.epoch > clock[write.task.id])
        ):
            self._report(write, task, op, obj)
        if op.access in _READS:
            read = place.reads.get(number)
            if read is None or read.epoch != clock[number] or self._stacks or read.marked > marked:
                place.reads[number] = self._seen(task, clock[number], op, marked)
            return
        for read in place.reads.values():
            if (
                read.task is not task
                and not (marked and read.marked)
                and (read.task.id >= len(clock) or read.epoch > clock[read.task.id])
            ):
                self._report(read, task, op, obj)
        place.reads.clear()
        place.write = self._seen(task, clock[number], op, marked)

    def _seen(self, task: Task, epoch: int, op: Operation, marked: bool) -> _Seen:
        return _Seen(task, epoch, op, marked, stack() if self._stacks else ())

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
