"""The validator on real threads: who the current task is, and drop-in locks.

    monitor = ThreadMonitor()
    accounts = monitor.Lock("accounts")
    with accounts: ...
    for report in monitor.lockdep.reports: print(report.render())

A lock made without a key shares one with all locks made at the same line, as the kernel's initialisers do it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Collection
from functools import partial
from itertools import count
from types import TracebackType
from typing import Protocol

from lockdep.keys import LockClassKey, LockMap, WaitType
from lockdep.lockstat import LockStat
from lockdep.reports import Report
from lockdep.task import TaskContext
from lockdep.trace import Tracer, resolve, short_path
from lockdep.validator import Lockdep


class _Inner(Protocol):
    """The part of `threading.Lock` that is used here."""

    def acquire(self, blocking: bool = ..., timeout: float = ...) -> bool:
        """Takes the lock."""

    def release(self) -> None:
        """Gives it back."""


class _Local(threading.local):
    """One task context for each thread, numbered as they first touch a lock, the monitor's maker first."""

    def __init__(self, numbers: count[int]) -> None:
        self.context = TaskContext(threading.current_thread().name, next(numbers))


class ThreadMonitor:
    """Watches the locks that it makes, for all threads of the process.

    `on_report` gets each failure in the thread that caused it. With `stat`, contention and hold times are
    counted.
    """

    def __init__(
        self,
        *,
        internal: Collection[str] = ("lockdep", "threading"),
        on_report: Callable[[Report], None] | None = None,
        stat: bool = False,
    ) -> None:
        # A call without a Python frame: it is made for every lock operation.
        self.current: Callable[[], TaskContext] = partial(getattr, _Local(count(1)), "context")
        self._keys: dict[tuple[str, int, str], LockClassKey] = {}
        self._tracer = Tracer(internal)
        self.lockdep = Lockdep(self.current, internal=internal, on_report=on_report)
        clock = time.perf_counter_ns
        self.lock_stat = LockStat(self.current, clock, internal=internal) if stat else None

    def Lock(self, name: str | None = None, *, key: LockClassKey | None = None) -> Lock:
        """A mutual exclusion lock like `threading.Lock`."""
        return Lock(self, self._map(name, key))

    def RLock(self, name: str | None = None, *, key: LockClassKey | None = None) -> RLock:
        """A lock like `threading.RLock`: its owner may take it again."""
        return RLock(self, self._map(name, key))

    def thread_exit(self) -> None:
        """Reports locks that the running thread still holds; to be called as its last step."""
        self.lockdep.task_exit(self.current())

    def _map(self, name: str | None, key: LockClassKey | None) -> LockMap:
        if key is None:
            made = resolve(self._tracer.site(sys._getframe(2)))
            path, line = made.file, made.line
            title = name or f"{short_path(path)}:{line}"
            key = self._keys.setdefault((path, line, title), LockClassKey(title))
        return LockMap(key, name, wait_inner=WaitType.SLEEP)


class _Wrapped:
    """What both kinds of lock share: the map, the way to the validator, the statistics."""

    __slots__ = ("_acquire", "_contended", "_current", "_release", "_stat", "dep_map")

    def __init__(self, monitor: ThreadMonitor, dep_map: LockMap) -> None:
        self.dep_map = dep_map
        self._acquire = monitor.lockdep.acquire
        self._release = monitor.lockdep.release
        self._contended = monitor.lockdep.lock_contended
        self._current = monitor.current
        self._stat = monitor.lock_stat

    def _take(self, lock: _Inner, blocking: bool, timeout: float) -> bool:
        if blocking and timeout < 0:
            self._acquire(self.dep_map)
            if not lock.acquire(blocking=False):
                if self._stat is not None:
                    self._contended(self.dep_map)
                    self._stat.contended(self.dep_map)
                self._wait(lock)
        elif lock.acquire(blocking, timeout):
            self._acquire(self.dep_map, trylock=True)
        else:
            return False
        if self._stat is not None:
            self._stat.acquired(self.dep_map)
        return True

    def _wait(self, lock: _Inner) -> bool:
        """Waits for a lock that the validator has been told of, and says meanwhile that the thread only waits."""
        ctx = self._current()
        ctx.wanted = self.dep_map
        try:
            return lock.acquire()
        finally:
            ctx.wanted = None

    def _give(self, lock: _Inner) -> None:
        try:
            self._release(self.dep_map)
            if self._stat is not None:
                self._stat.released(self.dep_map)
        finally:
            lock.release()


class Lock(_Wrapped):
    """A `threading.Lock` that tells the validator.

    The thread that takes it must give it back; another one that does is reported.
    """

    __slots__ = ("_lock",)

    def __init__(self, monitor: ThreadMonitor, dep_map: LockMap) -> None:
        super().__init__(monitor, dep_map)
        self._lock = threading.Lock()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Takes the lock; a wait that may end without it counts as a trylock. Gives whether it was taken."""
        return self._take(self._lock, blocking, timeout)

    def release(self) -> None:
        """Gives the lock back; raises RuntimeError when it is not taken."""
        self._give(self._lock)

    def locked(self) -> bool:
        """True while some thread has the lock."""
        return self._lock.locked()

    def __enter__(self) -> bool:
        if self._stat is None:
            self._acquire(self.dep_map)
            # Tried first, so that a lock that is free costs nothing more than it did.
            return self._lock.acquire(blocking=False) or self._wait(self._lock)
        return self._take(self._lock, True, -1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stat is None:
            try:
                self._release(self.dep_map)
            finally:
                self._lock.release()
        else:
            self._give(self._lock)


class RLock(_Wrapped):
    """A `threading.RLock` that tells the validator, of its outermost acquire and release only."""

    __slots__ = ("_depth", "_lock", "_owner")

    def __init__(self, monitor: ThreadMonitor, dep_map: LockMap) -> None:
        super().__init__(monitor, dep_map)
        self._lock = threading.Lock()
        self._owner = 0
        self._depth = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Takes the lock, once more if this thread has it. Gives whether it was taken."""
        me = threading.get_ident()
        if self._owner != me:
            if not self._take(self._lock, blocking, timeout):
                return False
            self._owner = me
        self._depth += 1
        return True

    def release(self) -> None:
        """Undoes one acquire; raises RuntimeError when this thread does not have the lock."""
        if self._owner != threading.get_ident():
            raise RuntimeError("cannot release un-acquired lock")
        self._depth -= 1
        if not self._depth:
            self._owner = 0
            self._give(self._lock)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
