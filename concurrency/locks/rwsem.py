"""rw_semaphore: many readers or one writer, with a queue in which a waiting writer stops new readers.

Kernel: struct rw_semaphore in kernel/locking/rwsem.c, v6.6. Simpler here: the queue is served strictly in order, so
the hand-off bit is not needed. A running writer may still take a free lock before those that wait, as there; a running
reader may not, which there can steal a lock that a writer has just left ("reader optimistic lock stealing"). A trylock
fails while any task waits, as there (RWSEM_FLAG_WAITERS is in RWSEM_READ_FAILED_MASK).

To take it is one operation, or two: the first takes it or enters the queue (`DOWN_READ`), the second waits in the
queue (`DOWN_READ_SLOW`). It cannot be one operation with a `ready`: entering the queue changes what others may do,
and must happen while the task still waits. The queue is why a task must not read inside of its own read section:

>>> from sugarbush import Settings, explore, spawn
>>> def program():
...     sem = RwSemaphore("sem")
...     def write():
...         sem.down_write()
...         sem.up_write()
...     spawn(write, name="writer")
...     sem.down_read()
...     sem.down_read()                 # behind the writer, if that came in between
...     sem.up_read()
...     sem.up_read()
>>> without = Settings(without=frozenset({"lockdep"}))
>>> failure = explore(program, strategy="dpor", settings=without).failures[0].failure
>>> print(failure.headline)
deadlock: a circle of waits (main -> writer -> main)
"""

from __future__ import annotations

from collections.abc import Mapping

from sugarbush.concurrency.core import (
    Dep,
    Footprint,
    Hold,
    Operation,
    Task,
    checked,
    current_task,
    looking_from_outside,
    might_sleep,
    of_oneself,
    perform,
)
from sugarbush.concurrency.locks.lock import HELD, QUEUED, Lock, SharedLock, nested
from sugarbush.lockdep import LockClassKey


class RwSemaphore(SharedLock):
    """A sleeping reader/writer lock with downgrade and queued writers."""

    __slots__ = ("_queue",)

    def __init__(self, name: str = "rwsem", key: LockClassKey | None = None) -> None:
        super().__init__(name, key)
        self._queue: list[tuple[Task, bool]] = []
        """The tasks that wait, oldest first, each with whether it wants to write. Invariant: a task stands in it at
        most once, from the operation that enters it to the one that leaves it."""

    @property
    def holders(self) -> tuple[Task, ...]:
        """The writer, or the readers in the order in which they came."""
        return tuple(self._readers) if self._writer is None else (self._writer,)

    @property
    def unheld(self) -> bool:
        """Whether neither a writer nor a reader holds it: no operation."""
        return self._writer is None and not self._readers

    def as_seen(self) -> object:
        """The state as operations can see it (`faces.Seen`): readers next to each other in the queue are in no order.

        They go on together, so no operation tells which of them came first; a writer between two keeps them apart.
        """
        queue: list[object] = []
        for task, writes in self._queue:
            if not writes and queue and isinstance(queue[-1], set):
                queue[-1].add(task.id)
            else:
                queue.append(task.id if writes else {task.id})
        return self._writer, sorted(task.id for task in self._readers), queue

    def awaited(self, task: Task) -> Mapping[Task, str]:
        """The tasks without which `task`, which is in the queue, cannot go on (`faces.Waitable`).

        A reader waits for writers only: the one that holds it, and those before it in the queue. A writer waits for
        all that hold it and all that stand before it. Example: `a` reads, `b` waits to write, `c` waits to read.
        Then `b` waits for `a`, and `c` for `b`. That `c` cannot go on before `a` has left follows from the two;
        named for `c` itself it would make a circle that leaves out `b`, the task that is in the way.
        """
        # The same conditions as in `_may_read` and `_may_write`: so none of the tasks named could be done without.
        waiters = [waiter for waiter, _ in self._queue]
        at = waiters.index(task)
        writes = self._queue[at][1]
        holders = self.holders if writes or self._writer is not None else ()
        before = [waiter for waiter, writing in self._queue[:at] if writes or writing]
        return {**dict.fromkeys(before, QUEUED), **dict.fromkeys(holders, HELD)}

    def down_read(self, subclass: int = 0, nest_lock: Lock | None = None) -> None:
        """Take it for reading, after the writers that wait already."""
        might_sleep()
        if not perform(DOWN_READ, self, nested(subclass, nest_lock)):
            perform(DOWN_READ_SLOW, self)

    def down_write(self, subclass: int = 0, nest_lock: Lock | None = None) -> None:
        """Take it alone; from now on new readers wait."""
        might_sleep()
        if not perform(DOWN_WRITE, self, nested(subclass, nest_lock)):
            perform(DOWN_WRITE_SLOW, self)

    def down_read_trylock(self) -> bool:
        """Take it for reading if no writer holds it and nobody waits."""
        return bool(perform(DOWN_READ_TRYLOCK, self))

    def down_write_trylock(self) -> bool:
        """Take it alone if nobody holds it and nobody waits."""
        return bool(perform(DOWN_WRITE_TRYLOCK, self))

    def up_read(self) -> None:
        """End one read hold of the calling task."""
        perform(UP_READ, self)

    def up_write(self) -> None:
        """End the write hold."""
        perform(UP_WRITE, self)

    def downgrade_write(self) -> None:
        """Turn the write hold into a read hold, letting no writer in between."""
        perform(DOWNGRADE_WRITE, self)

    @of_oneself
    def assert_held_write(self) -> None:
        """Fail unless the calling task holds it for writing; kernel: lockdep_assert_held_write()."""
        if self._writer is not current_task() and checked("lockdep") and not looking_from_outside():
            self._not_held("lockdep_assert_held_write")


# A new reader enters the queue if a writer waits there. A new writer takes a lock that is free whoever waits, as the
# kernel's optimistic spinning lets a running writer do (rwsem_try_write_lock_unqueued()).


def _reads_at_once(sem: RwSemaphore) -> bool:
    return sem._writer is None and not any(writes for _, writes in sem._queue)


def _writes_at_once(sem: RwSemaphore) -> bool:
    return sem.unheld


def _can_try_read(sem: RwSemaphore) -> bool:
    return sem._writer is None and not sem._queue


def _can_try_write(sem: RwSemaphore) -> bool:
    return sem.unheld and not sem._queue


def _read_or_queue(sem: RwSemaphore, task: Task, _arg: object) -> bool:
    if _reads_at_once(sem):
        sem._readers.append(task)
        return True
    sem._queue.append((task, False))
    return False


def _write_or_queue(sem: RwSemaphore, task: Task, _arg: object) -> bool:
    if _writes_at_once(sem):
        sem._writer = task
        return True
    sem._queue.append((task, True))
    return False


def _may_read(sem: RwSemaphore, task: Task) -> bool:
    """No writer holds it, and none waits before this reader."""
    if sem._writer is not None:
        return False
    for waiter, writes in sem._queue:
        if waiter is task:
            return True
        if writes:
            return False
    return True


def _may_write(sem: RwSemaphore, task: Task) -> bool:
    return sem.unheld and sem._queue[0][0] is task


def _leave_queue_reading(sem: RwSemaphore, task: Task, _arg: object) -> None:
    sem._queue.remove((task, False))
    sem._readers.append(task)


def _leave_queue_writing(sem: RwSemaphore, task: Task, _arg: object) -> None:
    sem._queue.remove((task, True))
    sem._writer = task


def _try_read(sem: RwSemaphore, task: Task, _arg: object) -> bool:
    if not _can_try_read(sem):
        return False
    sem._readers.append(task)
    return True


def _try_write(sem: RwSemaphore, task: Task, _arg: object) -> bool:
    if not _can_try_write(sem):
        return False
    sem._writer = task
    return True


def _up_read(sem: RwSemaphore, task: Task, _arg: object) -> None:
    if task not in sem._readers:
        sem._unheld_release("up_read")
    sem._readers.remove(task)


def _up_write(sem: RwSemaphore, task: Task, _arg: object) -> None:
    if sem._writer is not task:
        sem._unheld_release("up_write")
    sem._writer = None


def _downgrade(sem: RwSemaphore, task: Task, _arg: object) -> None:
    if sem._writer is not task:
        sem._unheld_release("downgrade_write")
    sem._writer = None
    sem._readers.append(task)


# The orderings are those of `RwLock`. The slow halves have no `dep`: the lock validator has heard of the lock at
# the first half, before the task waits. That one acquires even if it only enters the queue; nothing is accessed
# before the slow half, which acquires more, so that makes no difference. `hold` says of the slow half that it takes
# nothing more: a task that spins is counted as holding the lock from DOWN_READ on.
_SHARES = Footprint.SHARES
_READ = ("writers",)
_WRITE = ("writers", "readers")

DOWN_READ = Operation(
    "down_read", effect=_read_or_queue, wakes=True, dep=Dep.ACQUIRE_READ, acquires=_READ, footprint=_SHARES
)
DOWN_WRITE = Operation(
    "down_write", effect=_write_or_queue, wakes=True, dep=Dep.ACQUIRE, acquires=_WRITE, local=True
)
DOWN_READ_SLOW = Operation(
    "down_read_slowpath",
    ready=_may_read,
    effect=_leave_queue_reading,
    wakes=True,
    acquires=_READ,
    footprint=Footprint.LEAVES_QUEUE,
    hold=Hold.KEEPS,
)
DOWN_WRITE_SLOW = Operation(
    "down_write_slowpath",
    ready=_may_write,
    effect=_leave_queue_writing,
    wakes=True,
    acquires=_WRITE,
    local=True,
    hold=Hold.KEEPS,
)
DOWN_READ_TRYLOCK = Operation(
    "down_read_trylock",
    effect=_try_read,
    wakes=True,
    dep=Dep.TRY_READ,
    acquires=_READ,
    footprint=Footprint.TRIES,
)
DOWN_WRITE_TRYLOCK = Operation(
    "down_write_trylock", effect=_try_write, wakes=True, dep=Dep.TRY, acquires=_WRITE, local=True
)
UP_READ = Operation(
    "up_read", effect=_up_read, wakes=True, dep=Dep.RELEASE, releases=("readers",), footprint=_SHARES
)
UP_WRITE = Operation(
    "up_write", effect=_up_write, wakes=True, dep=Dep.RELEASE, releases=("writers",), local=True
)
DOWNGRADE_WRITE = Operation(
    "downgrade_write", effect=_downgrade, wakes=True, dep=Dep.DOWNGRADE, releases=("writers",), local=True
)

_ATTEMPTS = {
    DOWN_READ: _reads_at_once,
    DOWN_WRITE: _writes_at_once,
    DOWN_READ_TRYLOCK: _can_try_read,
    DOWN_WRITE_TRYLOCK: _can_try_write,
}


def is_in_vain(op: Operation, sem: RwSemaphore) -> bool:
    """Whether `op` is an attempt to take `sem` that would fail or enter the queue if it were made now: no operation.

    The four attempts have a rule each, which their effects go by as well; all other operations are none. What changes
    the answer are operations on `sem` that depend on the attempt.
    """
    allowed = _ATTEMPTS.get(op)
    return allowed is not None and not allowed(sem)
