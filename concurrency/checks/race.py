"""The data race detector: plain accesses of two tasks to one place, one a write, that nothing orders.

Happens-before by vector clocks, with the accesses of each place kept as epochs: Flanagan and Freund, "FastTrack:
Efficient and Precise Dynamic Race Detection", PLDI 2009, section 3, extended by marked accesses. A pair of marked
accesses is no race; a marked against a plain one is, as for KCSAN (Documentation/dev-tools/kcsan.rst, v6.6). A marked
write after a write barrier releases, a read barrier acquires what marked reads before it have read from, as the fences
of C11 do. What grace periods of RCU order is `concurrency.rcu.order`'s; where that is known only later, so is the
report: a pair of accesses that would be ordered if an open reader outlasted a grace period waits for the reader's end.

Under weak memory it is the write that was read from that counts, not the last one: the memory says which it was.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable
from operator import itemgetter
from typing import Any

from sugarbush.concurrency.core import (
    END,
    Access,
    Failure,
    Fence,
    Kind,
    Observer,
    Operation,
    Runtime,
    Task,
    label,
    stack,
)
from sugarbush.concurrency.memory import Shared
from sugarbush.concurrency.rcu import Flavour, GraceOrder, Reader
from sugarbush.concurrency.time import run_clock

_NONE, _READ, _WRITE = Access.NONE, Access.READ, Access.WRITE
_READ_ONCE, _WRITE_ONCE = Access.READ_ONCE, Access.WRITE_ONCE
_ACQUIRE, _RELEASE, _ACQ_REL = Access.ACQUIRE, Access.RELEASE, Access.ACQ_REL
_MARKED_READS = (Access.READ_ONCE, Access.ACQUIRE)
_OVERWRITES = (Access.WRITE, Access.WRITE_ONCE)
"""Writes after which an acquire of the place no longer reads from the release before."""
_epoch_of = itemgetter(0)
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


def _adds(clock: Clock, into: Clock) -> bool:
    """`clock` knows something that `into` does not."""
    known = into.get
    return any(known(task, 0) < epoch for task, epoch in clock.items())


class _Suspect:
    """A pair of accesses that is a race unless an open reader outlasts a grace period: `clock` is what the later one
    knew, `failure` the report.
    """

    __slots__ = ("clock", "failure", "first", "task")

    def __init__(self, first: _Seen, task: Task, clock: Clock, failure: Failure) -> None:
        self.first = first
        self.task = task
        self.clock = clock
        self.failure = failure


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
        self._rcu: GraceOrder[Clock] = GraceOrder(self)
        self._heeded = False
        """An operation of this execution meant something to RCU."""
        self._late: dict[int, list[tuple[int, Clock]]] = {}
        """What turned out to be known all along, for each task in the order of its epochs: whoever knows of that epoch
        or a later one knows this, too. Each entry has all that those before it have."""
        self._suspects: list[_Suspect] = []
        self.follows_reads = False
        """The memory says what each access to a field reads from."""

    def begin(self, runtime: Runtime) -> None:
        """See `Observer.begin`."""
        self._runtime = runtime
        self._pending = {}
        self._before_barrier = {}
        self._clocks = []
        self._places = {}
        if self._heeded:
            self._rcu, self._heeded = GraceOrder(self), False
        self._late = {}
        self._suspects = []
        self._on = "data-race" not in runtime.without

    def spawned(self, parent: Task | None, task: Task) -> None:
        """What the parent did before is before all that the child does."""
        clock: Clock = {}
        # The task of the clock belongs to nobody: that one timer was the first says nothing about the others.
        if parent is not None and task.fn is not run_clock:
            clock.update(self._clocks[parent.id])
            self._clocks[parent.id][parent.id] += 1
        clock[task.id] = 1
        self._clocks.append(clock)
        if self._rcu.tasks is not None and not self.follows_reads:
            self._rcu.spawned(task)

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:
        """Orderings that locks, RCU and joins make."""
        # Most operations mean nothing to RCU, and are not asked further. A task that ends does only if it leaves a
        # reader open; under Tasks RCU every wait counts.
        rcu = self._rcu
        if (op.heeds or rcu.tasks is not None or (op is END and rcu.plain.open)) and not self.follows_reads:
            self._heeded = True
            rcu.performed(task, op, obj, arg, result)
            if self._suspects:
                self._judge()
        whose = obj if op.surely else op.ordered(obj, arg, result)
        if op.acquires and whose is not None:
            fields = self._places.get(id(whose)) or self._fields(whose)
            for name in op.acquires:
                left = fields[name].clock
                if left:
                    _merge(self._clocks[task.id], left)
        if op.access is not _NONE or op.before is not None or op.after is not None:
            self.accessed(task, op, obj)
        if op.releases and whose is not None:
            clock = self._clocks[task.id]
            fields = self._places.get(id(whose)) or self._fields(whose)
            for name in op.releases:
                place = fields[name]
                if place.clock:
                    _merge(place.clock, clock)
                else:
                    place.clock = clock.copy()
            clock[task.id] += 1

    def finished(self) -> None:
        """A reader that never ends outlasts nothing of which nobody has seen the end."""
        for suspect in self._suspects:
            raise suspect.failure

    # -- for `GraceOrder` -----------------------------------------------------------------------------------------

    def told(self, task: Task) -> Clock:
        """See `Keeper.told`."""
        mine = self._clocks[task.id]
        left = mine.copy()
        mine[task.id] += 1
        return left

    def joined(self, one: Clock, other: Clock) -> Clock:
        """See `Keeper.joined`."""
        both = one.copy()
        _merge(both, other)
        return both

    def collected(self, before: Clock | None, task: Task) -> Clock:
        """See `Keeper.collected`."""
        if before is None:
            return self.told(task)
        mine = self._clocks[task.id]
        _merge(before, mine)
        mine[task.id] += 1
        return before

    def copied(self, told: Clock) -> Clock:
        """See `Keeper.copied`."""
        return told.copy()

    def learns(self, task: Task, told: Clock) -> None:
        """See `Keeper.learns`."""
        _merge(self._clocks[task.id], told)

    def is_news(self, task: Task, told: Clock) -> bool:
        """`task` does not know all of this."""
        return _adds(told, self._clocks[task.id])

    def epoch(self, task: Task) -> int:
        """See `Keeper.epoch`. Whatever is handed on ends an epoch, too, so who knows of one knows of all of it."""
        clock = self._clocks[task.id]
        clock[task.id] += 1
        return clock[task.id]

    def since(self, flavour: Flavour[Clock], key: Hashable, task: Task) -> int:  # noqa: ARG002
        """See `Keeper.since`: under sequential consistency a reader begins where it stands."""
        return flavour.begun

    def outlasted(self, reader: Reader, told: Clock) -> None:
        """See `Keeper.outlasted`."""
        _merge(self._clocks[reader.task.id], told)
        entries = self._late.setdefault(reader.task.id, [])
        at = bisect_right(entries, reader.epoch, key=_epoch_of)
        if not at or entries[at - 1][0] < reader.epoch:
            entries.insert(at, (reader.epoch, entries[at - 1][1].copy() if at else {}))
            at += 1
        # Readers of SRCU nest, so there may be later ones already; they know at least as much.
        for _, known in entries[at - 1 :]:
            _merge(known, told)

    def _complete(self, clock: Clock, late: dict[int, list[tuple[int, Clock]]]) -> None:
        """Have `clock` know what those have known all along of whom it knows."""
        again = True
        while again:
            again = False
            for task, epoch in list(clock.items()):
                entries = late.get(task)
                at = bisect_right(entries, epoch, key=_epoch_of) if entries else 0
                if entries and at and _adds(entries[at - 1][1], clock):
                    _merge(clock, entries[at - 1][1])
                    again = True

    def _may_know(self, first: _Seen, clock: Clock) -> bool:
        """`clock` knows of `first` if every open reader outlasts the grace periods that go on."""
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
        """A reader or a grace period has ended: decide what can be decided."""
        left = []
        for suspect in self._suspects:
            self._complete(suspect.clock, self._late)
            if suspect.first.epoch <= suspect.clock.get(suspect.first.task.id, 0):
                continue
            if not self._may_know(suspect.first, suspect.clock):
                raise suspect.failure
            left.append(suspect)
        self._suspects = left

    def _unknown(self, first: _Seen, task: Task, op: Operation, obj: object, clock: Clock) -> None:
        """Nothing known so far orders the access after `first`: report it, unless that is not settled."""
        if self._late:
            self._complete(clock, self._late)
            if first.epoch <= clock.get(first.task.id, 0):
                return
        if not self.follows_reads and self._may_know(first, clock):
            # A later access of the same task knows at least as much, so one suspicion for both will do.
            if all(other.first is not first or other.task is not task for other in self._suspects):
                self._suspects.append(
                    _Suspect(first, task, clock.copy(), self._race(first, task, op, obj, late=True))
                )
            return
        raise self._race(first, task, op, obj)

    # -- accesses ---------------------------------------------------------------------------------------------------

    def accessed(self, task: Task, op: Operation, obj: object) -> None:
        """Compare an access with those before it, and remember it."""
        access = op.access
        if op.before is not None:
            self._barrier(task, op.before)
        barriers = self._before_barrier
        follow: object = op.tracked or access is _RELEASE or (barriers and access in _OVERWRITES)
        # Most other accesses order nothing, and end here: what they read has been released by nobody.
        if not follow and access is not _NONE and id(obj) in self._places:
            place = self._places[id(obj)].get(op.field)
            follow = place is not None and place.clock
        if follow:
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
            elif access is _READ_ONCE:
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
            self._unknown(write, task, op, obj, clock)
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
                self._unknown(seen, task, op, obj, clock)

    def _remember(self, where: dict[int, _Seen], task: Task, clock: Clock, op: Operation) -> None:
        number = task.id
        epoch = clock[number]
        seen = where.get(number)
        if seen is None or seen.epoch != epoch or seen.op is not op or self._stacks:
            where[number] = _Seen(task, epoch, op, stack() if self._stacks else ())

    def _race(self, first: _Seen, task: Task, op: Operation, obj: object, *, late: bool = False) -> Failure:
        where = f"{label(obj)}.{op.field}" if op.field else label(obj)

        def line(name: str, by: Task) -> str:
            return f"{name} of {where} by task {by.id} ({by.name}):"

        detail = [line(op.name, task), *(f"  {frame}" for frame in stack())]
        detail += ["", line(first.op.name, first.task), *(f"  {frame}" for frame in first.stack)]
        detail += ["", "no lock, release/acquire pair or join orders the two"]
        if late:
            detail += [
                "a grace period would have, had the reader around the later one not ended before it was over"
            ]
        return Failure(
            Kind.DATA_RACE,
            f"BUG: KCSAN: data-race in {where}: {first.op.name} by {first.task.name}, {op.name} by {task.name}",
            "\n".join(detail),
            check="data-race",
        )
