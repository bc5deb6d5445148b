"""The word of a spinlock under weak memory: what a trylock that fails, and `is_locked`, may see."""

from __future__ import annotations

from sugarbush.concurrency.core import Access, Operation, Task
from sugarbush.concurrency.locks import Spinlock
from sugarbush.concurrency.runtimes.weak.history import (
    KEPT,
    NOTHING,
    Knowledge,
    Location,
    Taken,
    Write,
    joined,
)
from sugarbush.concurrency.runtimes.weak.reading import Knowing, Reads

_WORD = "lock word"
LOOKS_HELD = Operation("looks whether it is held", Access.READ_ONCE, local=True)
"""What a trylock that fails does, and `is_locked`: it reads the lock's word."""


class LockWords(Knowing):
    """The part of `WeakMemory` that spinlocks ask.

    The word is True where a lock wrote (LKW in tools/memory-model/lock.cat, v6.6), False where an unlock did (UL).
    Only a trylock that fails, or a look, reads it; to take the lock needs the newest.
    """

    def holds(self, task: Task, lock: Spinlock) -> None:
        """`task` has taken `lock`."""
        location = self._word(lock, held=False)
        me = self.known[task.id]
        last = location.history[-1]
        # The write of a read-modify-write: a task that sees it is told what the unlock before told, too
        # (rmw-sequence). That is rare, so the two are joined only then (`_read_word`).
        self._append(me, location, Taken(True, last.at + 1, me.told(), me.strong, last))

    def let_go(self, task: Task, lock: Spinlock) -> None:
        """`task` has given `lock` back."""
        location = self._word(lock, held=True)
        me = self.known[task.id]
        self._append(me, location, Write(False, location.history[-1].at + 1, me.frozen(), me.strong))

    def _word(self, lock: Spinlock, *, held: bool) -> Location:
        home = self._home(lock)
        location = home.locations.get(_WORD)
        if location is None:
            location = home.locations[_WORD] = Location(held, home)
        return location

    def _append(self, me: Knowledge, location: Location, write: Write) -> None:
        location.history.append(write)
        if len(location.history) > KEPT:
            location.forget(1)
        me.floor[location] = me.seen[location] = me.own[location] = write
        me.snapshot = None

    def finds_held(self, task: Task, op: Operation, lock: Spinlock, *, tries: bool) -> bool:
        """What `task` sees in the word of `lock`; see `Runtime.finds_held`."""
        me = self.known[task.id]
        location = self._word(lock, held=not lock.unheld)
        newest = location.history[-1]
        ways = location.history[len(location.history) - self._ways(me, lock, location) :][::-1]
        if tries:
            # A trylock that sees the lock free takes it, for which it needs the newest.
            ways = [write for write in ways if write.value or write is newest]
        write = ways[self._runtime.choose(len(ways), "value of the lock") if len(ways) > 1 else 0]
        if tries and not write.value:
            return False
        self._read_word(me, op, location, write, lock)
        return bool(write.value)

    def failed(self, task: Task, op: Operation, lock: Spinlock) -> None:
        """`task` has not got `lock`, which another task took after it had looked: so it has read that."""
        location = self._word(lock, held=True)
        self._read_word(self.known[task.id], op, location, location.history[-1], lock)

    def _read_word(
        self, me: Knowledge, op: Operation, location: Location, write: Write, lock: Spinlock
    ) -> None:
        if isinstance(write, Taken):
            write.view = joined(write.view, write.before)
            write.before = NOTHING
        self._read_from(me, op, location, write, Reads.NOTHING, lock)
