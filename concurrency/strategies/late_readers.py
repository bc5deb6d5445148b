"""Readers of RCU that began too late for a grace period: whether they end before it is nothing that anybody sees.

A grace period waits for the readers that were open when it began, so the end r of a reader depends on the end e of a
grace period: r may let e go on. Let c be where the grace period began (`synchronize_rcu`, `call_rcu`), and b where the
reader did. b and c depend on each other, so which came first is the same in all executions of a trace. If c did, the
grace period does not wait for the reader, and r and e could come in either order.

One thing sees that order all the same: `concurrency.rcu.order`, by which the race detector goes. A reader that outlasts
a grace period knows what came before c (its case 2), one that ends inside of it does not (case 3). So r and e are left
independent here only if the reader knew all that before, whatever the two do: if c comes before b by what one task does
after the other, by spawns and joins, and by the begin of a callback, which knows what came before its `call_rcu`. All
of these order for the race detector as well. (By the order of b and c alone it would be wrong: in the example of
`concurrency.rcu.order` the race shows only if the reader ends first.)

Example. A task queues two callbacks and takes a spinlock. That stretch is a reader, too, and begins too late for both
grace periods. It is the task's own, so it knows what came before them; that it may end before the callbacks, between
them and after them is one trace in this respect.

It is about plain RCU and stretches without preemption, the callbacks of plain RCU among these. Not under weak memory,
where a reader may count as begun before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sugarbush.concurrency.checks import REACHING
from sugarbush.concurrency.core import JOIN, Footprint, Moment, Operation, Task
from sugarbush.concurrency.rcu import is_atomic


class MadeEvents(Protocol):
    """The events so far, as `concurrency.strategies.events` has them."""

    who: list[int]
    ops: list[Operation | None]

    def events_of(self, task: int) -> Sequence[int]:
        """The events of a task."""

    def spawned_in(self, task: int) -> int:
        """The event in whose turn a task was spawned; -1 for the first task."""


class LateReaders:
    """Of each event what its task knows, and the reader that it is inside of; which events end readers and graces."""

    def __init__(self, made: MadeEvents) -> None:
        self._made = made
        self._known: list[int] = []
        """For each event those that are known after it, itself included."""
        self._inside: list[int] = []
        """For each event where the reader began that its task is inside of afterwards; -1 if it is in none."""
        self._readers: list[tuple[int, int]] = []
        """The events that may end a reader, each with where that began."""
        self._graces: list[tuple[int, int]] = []
        """The ends of grace periods, each with where that began."""

    def settle(self, task: Task, obj: object) -> None:
        """The last event, which `task` has made on `obj`, has taken effect."""
        made, number = self._made, len(self._known)
        *earlier, this = made.events_of(task.id)
        assert this == number == len(made.who) - 1, "each event settles once, in turn"
        op, known = made.ops[number], 1 << number
        before = earlier[-1] if earlier else made.spawned_in(task.id)
        if before >= 0:
            known |= self._known[before]
        if op is JOIN:
            assert isinstance(obj, Task)
            known |= self._known[made.events_of(obj.id)[-1]]
        began = self._grace(task, op, earlier)
        if began >= 0:
            self._graces.append((number, began))
            # What came before its call_rcu() is known to a callback.
            known |= self._known[began]
        self._known.append(known)
        inside = self._inside[earlier[-1]] if earlier else -1
        if inside >= 0 and _may_end_reader(op):
            self._readers.append((number, inside))
        if not (task.rcu_nesting or (is_atomic(task) and not task.ended)):
            inside = -1
        elif inside < 0:
            inside = number
        self._inside.append(inside)

    def _grace(self, task: Task, op: Operation | None, earlier: Sequence[int]) -> int:
        """Where the grace period began whose end `op` is, done by `task` after `earlier` events of its; -1 if none."""
        if op is None or not op.grace:
            return -1
        if op.footprint is Footprint.GRACE_ENDS:
            return self._those(earlier, Footprint.GRACE_BEGINS)[-1]
        if op.footprint is not Footprint.CALLBACK_BEGINS:
            return -1
        # It was spawned in the turn of the first call of the task whose callbacks it runs, in the order of its calls.
        whose = self._made.who[self._made.spawned_in(task.id)]
        calls = self._those(self._made.events_of(whose), Footprint.CALLS)
        run = len(self._those(earlier, Footprint.CALLBACK_BEGINS))
        return calls[run] if run < len(calls) else -1

    def _those(self, events: Sequence[int], footprint: Footprint) -> list[int]:
        """Those of the events whose operation is of plain RCU and has this footprint."""
        ops = self._made.ops
        return [
            one for one in events if (op := ops[one]) is not None and op.grace and op.footprint is footprint
        ]

    def apart(self, task: Task, op: Operation) -> int:
        """The events by which readers or grace periods end on which `op`, the next of `task`, does not depend."""
        events = self._made.events_of(task.id)
        began = self._grace(task, op, events)
        if began >= 0:
            return sum([1 << number for number, since in self._readers if self._knows(since, began)])
        since = self._reader(task, op)
        if since >= 0:
            return sum([1 << number for number, began in self._graces if self._knows(since, began)])
        return 0

    def _reader(self, task: Task, op: Operation) -> int:
        """Where the reader began that `op`, the next of `task`, may end; -1 if it can end none."""
        events = self._made.events_of(task.id)
        return self._inside[events[-1]] if events and _may_end_reader(op) else -1

    def _knows(self, since: int, began: int) -> bool:
        return self._known[since] >> began & 1 == 1

    def are_apart(self, one: Task, op: Operation, two: Task, other: Operation) -> bool:
        """Whether the next operations of two tasks are the ends of a grace period and of a reader too late for it."""
        for waits, end, reads, leaves in ((one, op, two, other), (two, other, one, op)):
            began = self._grace(waits, end, self._made.events_of(waits.id))
            since = self._reader(reads, leaves)
            if began >= 0 and since >= 0 and self._knows(since, began):
                return True
        return False

    def rewind(self, count: int) -> None:
        """Forget all but the first `count` events; the last one is settled once more."""
        del self._known[count - 1 :], self._inside[count - 1 :]
        self._readers = [pair for pair in self._readers if pair[0] < count - 1]
        self._graces = [pair for pair in self._graces if pair[0] < count - 1]


def _may_end_reader(op: Operation | None) -> bool:
    """Whether the end of a reader is all by which it can depend on the end of a grace period."""
    if op is None or op.footprint in REACHING or op.footprint is Footprint.CALLBACK_BEGINS:
        return False
    return op.region or (op.footprint is Footprint.READER_ENDS and op.rcu is Moment.READER)
