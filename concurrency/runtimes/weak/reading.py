"""What all accesses under weak memory share: the locations, and what a task comes to know by a read or a write.

The rules are told in `concurrency.runtimes.weak.memory`. What stands here is asked by all that reads or writes, so it
is written for speed: a view that is already known is told by identity before it is compared.
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
    """What a read orders."""

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
        """One of so many ways, by choice of the strategy."""

    def wrote(self, *, kept: bool) -> None:
        """The task has written; with `kept` what was there already."""


class Knowing:
    """Who knows what. `newest` in a method is what the field holds, the last of its history."""

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
        """The views that somebody else keeps."""
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
            home = obj._memory = Home(self, None)
            return home
        found = self.others.get(id(obj))
        if found is None:
            found = self.others[id(obj)] = Home(self, obj)
        return found

    def _location(self, home: Home, field: str, newest: Any) -> Location:
        """The location, in whose history `newest` is the last.

        If it is not, an effect has set the field, which every task sees at once.
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
            home.birth = birth = Location(None, home)
            birth.insert(1, Write(None, 1, NOTHING, NOTHING))
            self._made(self.known[self._runtime.current.id], birth, birth.history[1])

    def _ways(self, me: Knowledge, obj: Any, location: Location) -> int:
        """How many of the newest writes the task may read from."""
        history = location.history
        low = me.floor.get(location)
        if low is history[-1] or me.settled:
            return 1
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
            kept = prune(self, self._runtime.tasks)
            self._writes = 0
            self._prune_at = max(_PRUNE_AT, 2 * kept)

    def _may_be_unborn(self, me: Knowledge, birth: Location, obj: Any, location: Location | None) -> bool:
        """The task knows neither that the object was made nor a later write to the location."""
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
