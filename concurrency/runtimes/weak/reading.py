"""What all accesses under weak memory share: the locations, and what a task comes to know by a read or a write.

The rules are told in `concurrency.runtimes.weak.memory`. What stands here is asked by all that reads or writes, so it
is written for speed: a view that is already known is told by identity before it is compared.

Example: the writer stores data, then ready; the reader may see the old value of either.
`_ways` says how many of the newest writes it may read from, as long as it has not read:

>>> from sugarbush.concurrency import Once
>>> from sugarbush.concurrency.core import Fence
>>> from sugarbush.concurrency.runtimes.weak.memory import WeakMemory
>>> class Message(Shared):
...     data: Once[int] = 0
...     ready: Once[int] = 0
>>> writer, reader = Task(0, "writer", print), Task(1, "reader", print)
>>> class Machine:
...     tasks = [writer, reader]
...     def choose(self, ways, what):
...         return 0  # Always the newest.
...     def wrote(self, *, kept):
...         pass
>>> def stored(barrier):
...     machine, message = Machine(), Message()
...     memory = WeakMemory(machine, None)
...     for task in machine.tasks:
...         memory.spawned(None)
...     machine.current = writer
...     memory.write(message, "data", 1, 0, releases=False)
...     if barrier:
...         memory.barrier(writer, Fence.WMB)
...     memory.write(message, "ready", 1, 0, releases=False)
...     machine.current = reader
...     return memory, message
>>> def ways(memory, message, field):
...     return memory._ways(memory.known[reader.id], message, memory._home(message).locations[field])
>>> look = Operation("READ_ONCE", Access.READ_ONCE)
>>> memory, message = stored(barrier=True)
>>> ways(memory, message, "data"), ways(memory, message, "ready")
(2, 2)

The reader reads that ready is 1. It has seen what the store of ready tells of, which `smp_wmb` put there: the store of
data. But an earlier read does not bind a later one, before `smp_rmb` says so:

>>> memory.read(look, message, "ready", Reads.POINTER, 1)
1
>>> ways(memory, message, "data")
2
>>> memory.barrier(reader, Fence.RMB)
>>> ways(memory, message, "data")
1

To read by `smp_load_acquire` binds at once. Without the write barrier there is nothing that it could bind to:

>>> for barrier in (True, False):
...     memory, message = stored(barrier)
...     assert memory.read(look, message, "ready", Reads.ACQUIRE, 1) == 1
...     print(ways(memory, message, "data"))
1
2
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, Protocol

from sugarbush.concurrency.checks import RaceDetector
from sugarbush.concurrency.core import Access, Failure, Kind, Operation, Task, caller, checked, fail, label
from sugarbush.concurrency.memory import Shared
from sugarbush.concurrency.runtimes.weak.history import (
    NOTHING,
    Home,
    Knowledge,
    Location,
    View,
    Write,
    joined,
    learn,
)
from sugarbush.concurrency.runtimes.weak.prune import prune


class Reads(IntEnum):
    """What a read orders behind it."""

    NOTHING = 0
    POINTER = 1
    """What is read through the pointer that it returns."""
    ACQUIRE = 2


_PRUNE_AT = 64


class Host(Protocol):
    """What the memory asks of the runtime that it is the memory of,
    `concurrency.runtimes.weak.runtime.WeakSimulated`.
    """

    current: Task
    tasks: list[Task]

    def choose(self, ways: int, what: str) -> int:
        """One of so many ways, which the strategy chooses; `what` is what a schedule calls it."""

    def wrote(self, *, kept: bool) -> None:
        """The running task has written; `kept` says that the value was there already."""


class Knowing:
    """What each task knows, and what it comes to know by an access. `newest` in a method is the value that the field
    holds.
    """

    def __init__(self, runtime: Host, races: RaceDetector | None) -> None:
        self._runtime = runtime
        self._races = races
        self.known: list[Knowledge] = []
        """For each task, by number, what it knows."""
        self.everywhere: View = NOTHING
        """What the last full barrier has made known."""
        self.others: dict[int, Home] = {}
        """What is kept about objects that are not `Shared`, by id."""
        self.handed_on: Callable[[], list[View]] = list
        """The views that are kept elsewhere (by what grace periods hand on)."""
        self._writes = 0
        self._prune_at = _PRUNE_AT

    def _home(self, obj: Any) -> Home:
        if isinstance(obj, Shared):
            try:
                home = obj._memory
                if home.memory is self:
                    return home  # type: ignore[no-any-return]
            except AttributeError:
                pass
            # What is there is of an execution before: an object may outlive executions, its history does not.
            home = obj._memory = Home(self, None)
            return home
        found = self.others.get(id(obj))
        if found is None:
            found = self.others[id(obj)] = Home(self, obj)
        return found

    def _location(self, home: Home, field: str, newest: Any) -> Location:
        """The location, in whose history `newest` is the last write.

        If it is not, an effect has set the field, which every task sees at once: all that was written before is
        forgotten.
        """
        location = home.locations.get(field)
        if location is None:
            location = home.locations[field] = Location(newest, home)
        elif location.history[-1].value is not newest:
            last = location.history[-1].at
            location.forget(len(location.history))
            location.history.append(Write(newest, last + 1, NOTHING, NOTHING))
        return location

    def born(self, obj: Any) -> None:
        """The calling task has made `obj`."""
        home = self._home(obj)
        if home.birth is None:
            # Two writes: what was there before the object was made, and its making. A task that may read the first
            # one may find the object as it was before.
            home.birth = birth = Location(None, home)
            birth.insert(1, Write(None, 1, NOTHING, NOTHING))
            self._made(self.known[self._runtime.current.id], birth, birth.history[1])

    def _ways(self, me: Knowledge, obj: Any, location: Location) -> int:
        """From how many of the newest writes the task may read."""
        history = location.history
        low = me.floor.get(location)
        if low is history[-1] or me.settled:
            return 1
        # Below the floor nothing is read; what led here by a pointer may have put it higher for this object.
        oldest = history[0].at if low is None else low.at
        if me.through:
            led = me.through.get(id(obj))
            if led is not None:
                through = led[1].get(location)
                if through is not None and through.at > oldest:
                    oldest = through.at
        ways = 0
        for write in reversed(history):
            if write.at < oldest:
                break
            ways += 1
        return ways

    def _read_from(
        self, me: Knowledge, op: Operation, location: Location, write: Write, reads: Reads, obj: Any
    ) -> None:
        """The task comes to know of `write`, and of what it tells."""
        seen = me.seen
        have = seen.get(location)
        # Seen is told of in later writes; only what is on the floor binds later reads.
        if have is not write:
            me.snapshot = None
            if have is None or have.at < write.at:
                seen[location] = write
            if write.view:
                learn(seen, write.view)
            if write.strong and write.strong is not me.strong:
                me.strong = joined(me.strong, write.strong)
                me.stamp = None
        me.floor[location] = write
        if write.view:
            if reads is Reads.ACQUIRE:
                learn(me.floor, write.view)
            elif reads is Reads.POINTER:
                self._lead(me, write, obj)
        if write.clock is not None and self._races is not None:
            acquires = reads is Reads.ACQUIRE or op.access is Access.ACQUIRE
            self._races.reads_from(self._runtime.current, write.clock, acquires=acquires)

    def _lead(self, me: Knowledge, write: Write, obj: Any) -> None:
        """What is read through a pointer, or one of a tuple of them, comes after the read of the pointer."""
        before = me.through.get(id(obj))
        view = write.view if before is None else joined(write.view, before[1])
        for target in write.value if isinstance(write.value, tuple) else (write.value,):
            if target is not None and not isinstance(target, (int, str, float)):
                have = me.through.get(id(target))
                me.through[id(target)] = (target, view if have is None else joined(view, have[1]))
        # Too many pointers to remember: to bind all reads by them, not only those through each, forbids something
        # that is allowed, and allows nothing that is forbidden.
        if len(me.through) > _PRUNE_AT:
            for _, led in me.through.values():
                learn(me.floor, led)
            me.through.clear()

    def _made(self, me: Knowledge, location: Location, write: Write) -> None:
        me.floor[location] = me.seen[location] = me.own[location] = write
        me.snapshot = None
        if write.view:
            learn(me.own, write.view)
        self._writes += 1
        if self._writes >= self._prune_at:
            # Not again before as many writes as it has left were added: so to prune costs each write a fixed share.
            kept = prune(self, self._runtime.tasks)
            self._writes = 0
            self._prune_at = max(_PRUNE_AT, 2 * kept)

    def _may_be_unborn(self, me: Knowledge, birth: Location, obj: Any, location: Location | None) -> bool:
        """Whether the task may find the field as it was before the object was made.

        It may if it knows neither that the object was made nor a later write to the location.
        """
        if len(birth.history) == 1 or birth in me.floor or (location is not None and location in me.floor):
            return False
        led = me.through.get(id(obj))
        return led is None or birth not in led[1]

    def _unborn(self, op: Operation, obj: Any, field: str | None) -> None:
        if checked("uninit"):
            where = label(obj) if field is None else f"{label(obj)}.{field}"
            fail(
                Failure(
                    Kind.UNINIT,
                    f"BUG: KMSAN: uninit-value in {where}: {op.name} by {self._runtime.current.name}",
                    f"at {caller()}\nthe object was published before it was initialised: no release, barrier or "
                    "lock orders what its maker wrote before this read",
                    check="uninit",
                )
            )
