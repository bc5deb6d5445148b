"""What the race detector keeps of each field: the accesses so far, and what the last release left; with clocks."""

from __future__ import annotations

from sugarbush.concurrency.core import Operation, Task

Clock = dict[int, int]
"""For each task, by number, how much of its work is known: a task that is missing is unknown."""


class PastAccess:
    """An access of the past: of which task, when by its own clock, and its stack if stacks are kept."""

    __slots__ = ("epoch", "op", "stack", "task")

    def __init__(self, task: Task, epoch: int, op: Operation, where: tuple[str, ...]) -> None:
        self.task = task
        self.epoch = epoch
        self.op = op
        self.stack = where


class Past:
    """The accesses of a field that a later one may race with.

    Plain writes are ordered among themselves (or a race was reported), so the last one stands for all; of the
    others the last of each task is kept, since a marked access orders nothing and hides nothing.
    """

    __slots__ = ("marked_reads", "marked_writes", "reads", "spare", "write")

    def __init__(self) -> None:
        self.write: PastAccess | None = None
        self.spare: PastAccess | None = None
        """A read for which the last write stands, to be used again: to make one takes as long as to compare it."""
        self.reads: dict[int, PastAccess] = {}
        self.marked_reads: dict[int, PastAccess] = {}
        self.marked_writes: dict[int, PastAccess] = {}


class FieldRecord:
    """One field of one object: what its last release left, and its past if its accesses are compared.

    `knower` is the number of a task that knows all of `clock`, -1 if none is known to: it need not be told again, and
    what it releases is its own clock, with nothing to be merged. That holds as long as `clock` stays, since what a
    task knows only grows. Therefore `knower` is set wherever `clock` is.
    """

    __slots__ = ("clock", "knower", "past")

    def __init__(self) -> None:
        self.clock: Clock = {}
        self.knower = -1
        self.past: Past | None = None


class FieldRecords(dict[str | None, FieldRecord]):
    """The records of one object's fields, made when they are first asked for."""

    __slots__ = ("obj",)
    obj: object

    def __missing__(self, field: str | None) -> FieldRecord:
        record = self[field] = FieldRecord()
        return record


def merge(into: Clock, other: Clock) -> None:
    """Make `into` know all that `other` knows."""
    known = into.get
    for task, epoch in other.items():
        if known(task, 0) < epoch:
            into[task] = epoch


def adds(clock: Clock, into: Clock) -> bool:
    """Whether `clock` knows something that `into` does not."""
    known = into.get
    return any(known(task, 0) < epoch for task, epoch in clock.items())
