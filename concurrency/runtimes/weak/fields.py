"""Fields of `Shared` objects under weak memory: which write a read, a write or a read-modify-write stands next to.

Each way is a data choice of the schedule, the newest first, so that a schedule without choices is one of strong
memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sugarbush.concurrency.checks import same_value
from sugarbush.concurrency.core import Operation
from sugarbush.concurrency.memory import KEEP, NO_RESULT, Order
from sugarbush.concurrency.runtimes.weak.history import KEPT, Knowledge, Location, Write, joined, learn
from sugarbush.concurrency.runtimes.weak.reading import Knowing, Reads


class Fields(Knowing):
    """The part of `WeakMemory` that fields ask; the accessors call it (`concurrency.runtimes.weak.accessors`)."""

    def read(self, op: Operation, obj: Any, field: str, reads: Reads, newest: Any) -> Any:
        """A read of a field: the value of the write that it returns, which is a choice if there are several."""
        try:
            home = obj._memory
            if home.memory is not self:
                home = self._home(obj)
        except AttributeError:
            home = self._home(obj)
        location = home.locations.get(field)
        if location is None or location.history[-1].value is not newest:
            location = self._location(home, field, newest)
        history = location.history
        write = history[-1]
        me = self.known[self._runtime.current.id]
        # The short way of most reads: the task knows the newest write already, and learns nothing by reading it.
        if me.floor.get(location) is write and (
            reads is Reads.NOTHING or (reads is Reads.POINTER and newest.__class__ is int)
        ):
            return newest
        if home.birth is not None:
            ways = self._ways(me, obj, location)
            if self._may_be_unborn(me, home.birth, obj, location):
                chosen = self._runtime.choose(ways + 1, f"value of {field}")
                if chosen == ways:
                    self._unborn(op, obj, field)
                    # The check is off: the oldest value stands for what was there before.
                    chosen = ways - 1
            else:
                chosen = self._runtime.choose(ways, f"value of {field}") if ways > 1 else 0
            write = history[-1 - chosen]
        elif len(history) > 1:
            ways = self._ways(me, obj, location)
            if ways > 1:
                write = history[-1 - self._runtime.choose(ways, f"value of {field}")]
        elif not write.view and write.clock is None and not (op.tracked and reads is Reads.ACQUIRE):
            return newest
        self._read_from(me, op, location, write, reads, obj)
        if op.tracked and reads is Reads.ACQUIRE and self._races is not None:
            self._races.compare(self._runtime.current, op, obj)
        return write.value

    def _pass_by(self, me: Knowledge, location: Location, write: Write) -> None:
        """An atomic without a result has read `write`, which a later smp_rmb() does not order (`Knowledge.aside`)."""
        aside = me.aside.copy()
        have = aside.get(location)
        if have is None or have.at < write.at:
            aside[location] = write
        learn(aside, write.view)
        me.aside = aside
        me.snapshot = None
        if write.strong and write.strong is not me.strong:
            me.strong = joined(me.strong, write.strong)
            me.stamp = None
        me.floor[location] = write
        if write.clock is not None and self._races is not None:
            self._races.reads_from(self._runtime.current, write.clock, acquires=False)

    def write(self, obj: Any, field: str, value: Any, newest: Any, *, releases: bool) -> bool:
        """Write to a field, where in its history is a choice; True if the write is now the last of it."""
        try:
            home = obj._memory
            if home.memory is not self:
                home = self._home(obj)
        except AttributeError:
            home = self._home(obj)
        location = home.locations.get(field)
        if location is None or location.history[-1].value is not newest:
            location = self._location(home, field, newest)
        me = self.known[self._runtime.current.id]
        history = location.history
        spot = len(history)
        # Behind all that the task has seen, and not in between a read-modify-write and what that has read. By what it
        # has seen, and not by its floor: a write comes after earlier reads, which is what rules out load buffering.
        low = me.seen.get(location) if not me.aside else me.newest(location)
        if spot > 1 and low is not history[-1]:
            oldest = history[0].at if low is None else low.at
            spots = [
                n
                for n in range(spot, 0, -1)
                if history[n - 1].at >= oldest and (n == spot or not history[n - 1].taken)
            ]
            if len(spots) > 1:
                spot = spots[self._runtime.choose(len(spots), f"order of the write to {field}")]
        write = Write(value, 0, me.frozen() if releases else me.told(), me.strong)
        if self._races is not None:
            write.clock = self._races.writes(self._runtime.current, releases=releases)
        if spot == len(history):
            write.at = history[-1].at + 1
            history.append(write)
            if spot == KEPT:
                location.forget(1)
        else:
            location.insert(spot, write)
        self._made(me, location, write)
        last = history[-1] is write
        self._runtime.wrote(kept=last and same_value(newest, value))
        return last

    def modify(
        self,
        op: Operation,
        obj: Any,
        field: str,
        change: Callable[[Any], tuple[Any, Any]],
        order: Order,
        newest: Any,
    ) -> tuple[Any, Any, bool]:
        """An atomic read-modify-write: the result of `change`, what it wrote (or `KEEP`), and whether that is last."""
        location = self._location(self._home(obj), field, newest)
        me = self.known[self._runtime.current.id]
        history = location.history
        low = me.seen.get(location) if not me.aside else me.newest(location)
        oldest = history[0].at if low is None else low.at
        ways = []
        for n in range(len(history) - 1, len(history) - 1 - self._ways(me, obj, location), -1):
            old = history[n]
            new, result = change(old.value)
            # One that writes comes right after the write that it reads, so that must not be followed by another one of
            # these, nor be older than what the task has seen. One that keeps the value only reads.
            if new is KEEP or (old.at >= oldest and not old.taken):
                ways.append((n, new, result))
        n, new, result = ways[self._runtime.choose(len(ways), f"value of {field}") if len(ways) > 1 else 0]
        old = history[n]
        acquires = order in (Order.FULL, Order.ACQUIRE) and new is not KEEP
        if result is NO_RESULT:
            self._pass_by(me, location, old)
        else:
            self._read_from(me, op, location, old, Reads.ACQUIRE if acquires else Reads.POINTER, obj)
        if op.tracked and self._races is not None:
            self._races.compare(self._runtime.current, op, obj)
        self._runtime.wrote(kept=new is KEEP or (old is history[-1] and same_value(old.value, new)))
        if new is KEEP:
            return result, new, False
        releases = order in (Order.FULL, Order.RELEASE)
        # A task that reads it is also told what the write before it tells: a release is passed on by
        # read-modify-writes.
        view = joined(me.frozen() if releases else me.told(), old.view)
        write = Write(new, 0, view, joined(me.strong, old.strong))
        if self._races is not None:
            write.clock = self._races.writes(self._runtime.current, releases=releases, onto=old.clock)
        old.taken = True
        location.insert(n + 1, write)
        self._made(me, location, write)
        return result, new, location.history[-1] is write

    def fails(
        self, op: Operation, obj: Any, field: str, change: Callable[[Any], tuple[Any, Any]], newest: Any
    ) -> tuple[Any, bool]:
        """Before the barrier of a fully ordered read-modify-write: what it gives, if it fails, and whether it does.

        One that fails is a READ_ONCE() and no barrier (tools/memory-model/linux-kernel.def and lib/CSem.ml of herd7,
        CmpExchange). It can go on if something that it could read would not have it fail.
        """
        location = self._location(self._home(obj), field, newest)
        me = self.known[self._runtime.current.id]
        history = location.history
        found = []
        goes_on = False
        for n in range(len(history) - 1, len(history) - 1 - self._ways(me, obj, location), -1):
            new, result = change(history[n].value)
            if new is KEEP:
                found.append((history[n], result))
            else:
                goes_on = True
        # It cannot fail, whatever it reads, so it is a full barrier as any other one.
        if not found:
            return None, False
        ways = len(found) + goes_on
        chosen = self._runtime.choose(ways, f"value of {field}") if ways > 1 else 0
        if goes_on:
            # The first way is not to fail: what it reads then is chosen behind the barrier, by `modify`.
            if not chosen:
                return None, False
            chosen -= 1
        write, result = found[chosen]
        self._read_from(me, op, location, write, Reads.POINTER, obj)
        if op.tracked and self._races is not None:
            self._races.compare(self._runtime.current, op, obj)
        self._runtime.wrote(kept=True)
        return result, True
