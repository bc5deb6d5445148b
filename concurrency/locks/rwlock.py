"""rwlock: many readers or one writer, and nobody may sleep. Kernel: rwlock_t, v6.6.

A reader waits for a writer that holds it, not for one that waits. So a task may read inside of its own read
section, and readers can starve a writer. In the kernel that holds in interrupts only: a queued rwlock
(kernel/locking/qrwlock.c) makes new readers in process context wait behind a writer that waits. Here it holds
everywhere, so a program that hangs there because it nests readers around a writer is not found; `RwSemaphore` has
such a queue.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sugarbush.concurrency.core import (
    Dep,
    Footprint,
    Operation,
    Task,
    checked,
    current_task,
    looking_from_outside,
    of_oneself,
    perform,
)
from sugarbush.concurrency.locks.lock import Lock, SharedLock, nested
from sugarbush.lockdep import LockClassKey


class RwLock(SharedLock):
    """A reader/writer spinlock: read_lock(), write_lock(), and their trylocks."""

    __slots__ = ()

    def __init__(self, name: str = "rwlock", key: LockClassKey | None = None) -> None:
        super().__init__(name, key)

    @property
    def holders(self) -> tuple[Task, ...]:
        """The writer, or the readers, each once, in the order in which they came."""
        return tuple(dict.fromkeys(self._readers)) if self._writer is None else (self._writer,)

    def as_seen(self) -> object:
        """The state as operations can see it: no operation tells in which order the readers came (`faces.Seen`)."""
        return self._writer, sorted(task.id for task in self._readers)

    def times_held(self, task: Task) -> int:
        """How often `task` holds it now: a reader may hold it several times."""
        return self._readers.count(task) + (self._writer is task)

    def read_lock(self) -> None:
        """Wait until no writer holds it, and share it; nests."""
        perform(READ_LOCK, self)

    def read_trylock(self) -> bool:
        """Share it if no writer holds it."""
        return bool(perform(READ_TRYLOCK, self))

    def read_unlock(self) -> None:
        """End one read hold of the calling task."""
        perform(READ_UNLOCK, self)

    def write_lock(self, subclass: int = 0, nest_lock: Lock | None = None) -> None:
        """Wait until nobody holds it, and take it alone."""
        perform(WRITE_LOCK, self, nested(subclass, nest_lock))

    def write_trylock(self) -> bool:
        """Take it alone if nobody holds it."""
        return bool(perform(WRITE_TRYLOCK, self))

    def write_unlock(self) -> None:
        """End the write hold."""
        perform(WRITE_UNLOCK, self)

    @contextmanager
    def read(self) -> Iterator[None]:
        """`read_lock` and `read_unlock`, as a `with` block; kernel: guard(read_lock)."""
        self.read_lock()
        try:
            yield
        finally:
            self.read_unlock()

    @contextmanager
    def write(self) -> Iterator[None]:
        """`write_lock` and `write_unlock`, as a `with` block; kernel: guard(write_lock)."""
        self.write_lock()
        try:
            yield
        finally:
            self.write_unlock()

    @of_oneself
    def assert_held_write(self) -> None:
        """Fail unless the calling task holds it for writing; kernel: lockdep_assert_held_write()."""
        if self._writer is not current_task() and checked("lockdep") and not looking_from_outside():
            self._not_held("lockdep_assert_held_write")


def _may_read(lock: RwLock, _task: Task) -> bool:
    return lock._writer is None


def _may_write(lock: RwLock, _task: Task) -> bool:
    return lock._writer is None and not lock._readers


def _read(lock: RwLock, task: Task, _arg: object) -> bool:
    if lock._writer is not None:
        return False
    lock._readers.append(task)
    task.preempt_count += 1
    return True


def _write(lock: RwLock, task: Task, _arg: object) -> bool:
    if not _may_write(lock, task):
        return False
    lock._writer = task
    task.preempt_count += 1
    return True


def _end_read(lock: RwLock, task: Task, _arg: object) -> None:
    if task not in lock._readers:
        lock._unheld_release("read_unlock")
    lock._readers.remove(task)
    task.preempt_count -= 1


def _end_write(lock: RwLock, task: Task, _arg: object) -> None:
    if lock._writer is not task:
        lock._unheld_release("write_unlock")
    lock._writer = None
    task.preempt_count -= 1


# Two orderings: a reader knows what writers did before, a writer what writers and readers did. Readers do not order
# each other, which is why two of them commute (Footprint.SHARES). READ_LOCK is recursive to the lock validator, as
# read_lock() is in interrupts (read_lock_is_recursive()): a reader inside of a reader is then no report.
_READ, _WRITE = ("writers",), ("writers", "readers")
READ_LOCK = Operation(
    "read_lock",
    ready=_may_read,
    effect=_read,
    wakes=True,
    dep=Dep.ACQUIRE_RECURSIVE,
    acquires=_READ,
    footprint=Footprint.SHARES,
    spins=True,
    region=True,
)
READ_TRYLOCK = Operation(
    "read_trylock",
    effect=_read,
    wakes=True,
    dep=Dep.TRY_READ,
    acquires=_READ,
    footprint=Footprint.SHARES,
    region=True,
)
READ_UNLOCK = Operation(
    "read_unlock",
    effect=_end_read,
    wakes=True,
    dep=Dep.RELEASE,
    releases=("readers",),
    footprint=Footprint.SHARES,
    region=True,
)
WRITE_LOCK = Operation(
    "write_lock",
    ready=_may_write,
    effect=_write,
    wakes=True,
    dep=Dep.ACQUIRE,
    acquires=_WRITE,
    local=True,
    spins=True,
    region=True,
)
WRITE_TRYLOCK = Operation(
    "write_trylock", effect=_write, wakes=True, dep=Dep.TRY, acquires=_WRITE, local=True, region=True
)
WRITE_UNLOCK = Operation(
    "write_unlock",
    effect=_end_write,
    wakes=True,
    dep=Dep.RELEASE,
    releases=("writers",),
    local=True,
    region=True,
)
