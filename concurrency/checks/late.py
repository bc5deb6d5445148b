"""Orderings that are known only when a grace period of RCU has ended: the race detector's part that waits for them.

A pair of accesses that would be ordered if an open reader outlasted a grace period is a suspect until that is decided.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable
from operator import itemgetter

from sugarbush.concurrency.checks.past import Clock, PastAccess, adds, merge
from sugarbush.concurrency.core import Failure, Observer, Task
from sugarbush.concurrency.rcu import Flavour, GraceOrder, Reader

_epoch_of = itemgetter(0)


class Suspect:
    """A pair of accesses that is a race unless an open reader outlasts a grace period: `clock` is what the later one
    knew, `failure` the report.
    """

    __slots__ = ("clock", "failure", "first", "task")

    def __init__(self, first: PastAccess, task: Task, clock: Clock, failure: Failure) -> None:
        self.first = first
        self.task = task
        self.clock = clock
        self.failure = failure


class LateOrders(Observer):
    """The part of `RaceDetector` that keeps what tasks know, for `GraceOrder`, which asks for it (`Keeper`)."""

    def __init__(self) -> None:
        self._clocks: list[Clock] = []
        self._rcu: GraceOrder[Clock] = GraceOrder(self)
        self._late: dict[int, list[tuple[int, Clock]]] = {}
        """What turned out to be known all along, for each task in the order of its epochs: a clock that knows of that
        epoch or a later one knows this, too. Each entry has all that those before it have."""
        self._suspects: list[Suspect] = []

    def told(self, task: Task) -> Clock:
        """A copy of what `task` knows; what it does from here on is of a new epoch, so it is not in there."""
        mine = self._clocks[task.id]
        left = mine.copy()
        mine[task.id] += 1
        return left

    def joined(self, one: Clock, other: Clock) -> Clock:
        """A clock that knows what either knows."""
        both = one.copy()
        merge(both, other)
        return both

    def collected(self, before: Clock | None, task: Task) -> Clock:
        """`before` with all that `task` knows added to it."""
        if before is None:
            return self.told(task)
        mine = self._clocks[task.id]
        merge(before, mine)
        mine[task.id] += 1
        return before

    def copied(self, told: Clock) -> Clock:
        """The same clock, to be kept while `told` is changed."""
        return told.copy()

    def learns(self, task: Task, told: Clock) -> None:
        """From here on `task` knows this."""
        merge(self._clocks[task.id], told)

    def is_news(self, task: Task, told: Clock) -> bool:
        """Whether `task` lacks something of this."""
        return adds(told, self._clocks[task.id])

    def epoch(self, task: Task) -> int:
        """The number of a new epoch of `task`.

        Whatever is handed on ends an epoch, too, so a task that knows of one knows of all of it.
        """
        clock = self._clocks[task.id]
        clock[task.id] += 1
        return clock[task.id]

    def since(self, flavour: Flavour[Clock], key: Hashable, task: Task) -> int:  # noqa: ARG002
        """The last grace period that has begun: under sequential consistency a reader begins where it stands."""
        return flavour.begun

    def outlasted(self, reader: Reader, told: Clock) -> None:
        """The reader has known `told` since its epoch began, and so has whatever knows of that epoch."""
        merge(self._clocks[reader.task.id], told)
        entries = self._late.setdefault(reader.task.id, [])
        at = bisect_right(entries, reader.epoch, key=_epoch_of)
        if not at or entries[at - 1][0] < reader.epoch:
            entries.insert(at, (reader.epoch, entries[at - 1][1].copy() if at else {}))
            at += 1
        # Readers of SRCU nest, so there may be later ones already; they know at least as much.
        for _, known in entries[at - 1 :]:
            merge(known, told)

    def _complete(self, clock: Clock, late: dict[int, list[tuple[int, Clock]]]) -> None:
        """Add to `clock` what each task that it knows of has known all along."""
        # Until nothing is added: what is learned may tell of an epoch of another task, which has known something, too.
        again = True
        while again:
            again = False
            for task, epoch in list(clock.items()):
                entries = late.get(task)
                at = bisect_right(entries, epoch, key=_epoch_of) if entries else 0
                if entries and at and adds(entries[at - 1][1], clock):
                    merge(clock, entries[at - 1][1])
                    again = True

    def _may_know(self, first: PastAccess, clock: Clock) -> bool:
        """Whether `clock` knows of `first` if every open reader outlasts the grace periods that go on."""
        late: dict[int, list[tuple[int, Clock]]] = {}
        for reader, told in self._rcu.undecided():
            late.setdefault(reader.task.id, []).append((reader.epoch, told))
        if not late:
            return False
        for task, known in self._late.items():
            late.setdefault(task, []).extend(known)
        for task, entries in late.items():
            both: Clock = {}
            added = []
            for epoch, told in sorted(entries, key=_epoch_of):
                both = self.joined(both, told)
                added.append((epoch, both))
            late[task] = added
        trial = clock.copy()
        self._complete(trial, late)
        return first.epoch <= trial.get(first.task.id, 0)

    def _judge(self) -> None:
        """A reader or a grace period has ended: report what is a race now, and keep what is still open."""
        left = []
        for suspect in self._suspects:
            self._complete(suspect.clock, self._late)
            if suspect.first.epoch <= suspect.clock.get(suspect.first.task.id, 0):
                continue
            if not self._may_know(suspect.first, suspect.clock):
                raise suspect.failure
            left.append(suspect)
        self._suspects = left
