"""The validator on real threads: drop-in locks, made by hand. `lockdep.python` watches a whole program instead.

    monitor = ThreadMonitor()
    accounts = monitor.Lock("accounts")
    with accounts: ...
    for report in monitor.lockdep.reports: print(report.render())

A lock made without a key shares one with all locks made at the same line, as the kernel's initialisers do it.
Two locks of one class are nested under an annotation only: a `subclass`, a `nest_lock`, a `rank`, or an
`order` of one's own.

    parent, child = monitor.Lock("node"), monitor.Lock("node", subclass=1)     # one line, two classes
    first, second = (monitor.Lock("account", rank=number) for number in (1, 2))
    with first, second: ...                                                    # ascending: right
    with pool: a.acquire(nest_lock=pool); b.acquire(nest_lock=pool)            # the pool's lock serialises them
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from sys import _getframe
from typing import Any

from sugarbush.lockdep.model import LockClassKey, LockMap, Order, Tracer, WaitType
from sugarbush.lockdep.python.context import PythonMap
from sugarbush.lockdep.python.locks import BaseLock, RealLock, RealRLock, Watched
from sugarbush.lockdep.python.plain import PlainLockdep
from sugarbush.lockdep.python.program import write
from sugarbush.lockdep.python.relocks import BaseRLock
from sugarbush.lockdep.python.sites import SiteKey, Sites
from sugarbush.lockdep.python.watcher import LockWatcher
from sugarbush.lockdep.python.wording import tell
from sugarbush.lockdep.reports import Report
from sugarbush.lockdep.show import LockStat


class Lock(BaseLock):
    """A `threading.Lock` that tells a monitor."""

    __slots__ = ()

    def __init__(self, monitor: ThreadMonitor, dep_map: PythonMap) -> None:
        self._set_up(monitor, RealLock(), dep_map)

    def acquire(
        self,
        blocking: bool = True,
        timeout: float = -1,
        # Not by keyword only: CPython does not make such calls short.
        subclass: int | None = None,
        nest_lock: Watched | None = None,
    ) -> bool:
        """Take the lock as a `threading.Lock`.

        `subclass` and `nest_lock` say how a lock may be taken under another one of its class.
        """
        # `BaseLock.acquire` again, with two arguments more: they would cost those who have none a twentieth of it all.
        try:
            ctx = self._tls.ctx
        except AttributeError:
            ctx = self._home.new_context()
        frame = _getframe(1)
        lock_map = self._map
        up = lock_map.up
        if (
            up.below is ctx.here
            and frame.f_lasti == up.lasti
            and frame.f_code is up.code
            and (left := up.left)
            and blocking is True
            and timeout == -1
            and subclass is None
            and nest_lock is None
            and not ctx.slow
        ):
            up.left = left - 1
            if lock_map.last is not ctx.unit:
                lock_map.saw(ctx.unit, (up.code, up.lasti))
            ctx.here = up
            try:
                if lock_map.owner is None:
                    self._lock.acquire()
                else:
                    self._wait(ctx)
            except BaseException:
                self._undo(ctx)
                raise
            lock_map.owner = ctx
            return True
        return self._again(ctx, frame, blocking, timeout, subclass, nest_lock)


class RLock(BaseRLock):
    """A `threading.RLock` that tells a monitor, of its outermost acquire and release only."""

    __slots__ = ()

    def __init__(self, monitor: ThreadMonitor, dep_map: PythonMap) -> None:
        self._set_up(monitor, RealRLock(), dep_map)

    def acquire(
        self,
        blocking: bool = True,
        timeout: float = -1,
        subclass: int | None = None,
        nest_lock: Watched | None = None,
    ) -> bool:
        """Take the lock as a `threading.RLock`; the annotations are those of `Lock.acquire`."""
        try:
            ctx = self._tls.ctx
        except AttributeError:
            ctx = self._home.new_context()
        frame = _getframe(1)
        lock_map = self._map
        up = lock_map.up
        if (
            up.below is ctx.here
            and frame.f_lasti == up.lasti
            and frame.f_code is up.code
            and (left := up.left)
            and blocking is True
            and timeout == -1
            and subclass is None
            and nest_lock is None
            and not ctx.slow
        ):
            up.left = left - 1
            if lock_map.last is not ctx.unit:
                lock_map.saw(ctx.unit, (up.code, up.lasti))
            ctx.here = up
            try:
                if lock_map.owner is None:
                    self._lock.acquire()
                else:
                    self._wait(ctx)
                self._depth = 1
            except BaseException:
                self._undo(ctx)
                raise
            lock_map.owner = ctx
            return True
        if self._lock._is_owned():
            taken = self._acquire(blocking, timeout)
            self._depth += 1
            return taken
        if self._again(ctx, frame, blocking, timeout, subclass, nest_lock):
            self._depth = 1
            return True
        return False


class ThreadMonitor(LockWatcher):
    """Watches the locks that it makes, for all threads of the process.

    `on_report` gets each failure in the thread that caused it; without it reports are written to standard
    error at once, since a program that hangs takes with it what it has not written. With `stat`, contention
    and hold times are counted.
    """

    lockdep: PlainLockdep

    def __init__(
        self,
        *,
        internal: Collection[str] = ("sugarbush.lockdep", "threading"),
        on_report: Callable[[Report], None] | None = None,
        stat: bool = False,
    ) -> None:
        self.lock_stat = LockStat(self.current, time.perf_counter_ns, internal=internal) if stat else None
        super().__init__(self.lock_stat)
        self.lockdep = PlainLockdep(self.current, internal=internal, on_report=on_report or self._write)
        self._sites = Sites(Tracer(internal))
        self.lockdep.forgets = self.forget_places
        # Threads are numbered as they first touch a lock, the one that makes the monitor first.
        self.current()

    def Lock(
        self,
        name: str | None = None,
        *,
        key: LockClassKey | None = None,
        subclass: int = 0,
        rank: Any = None,
        order: Order | None = None,
    ) -> Lock:
        """A mutual exclusion lock like `threading.Lock`. Locks of one class with ranks nest in ascending order."""
        return Lock(self, self._map("Lock", name, key, subclass, rank, order))

    def RLock(
        self,
        name: str | None = None,
        *,
        key: LockClassKey | None = None,
        subclass: int = 0,
        rank: Any = None,
        order: Order | None = None,
    ) -> RLock:
        """A lock like `threading.RLock`: its owner may take it again."""
        return RLock(self, self._map("RLock", name, key, subclass, rank, order))

    def thread_exit(self) -> None:
        """Reports locks that the running thread still holds; to be called as its last step."""
        self.lockdep.task_exit(self.current())

    def made(self, name: str) -> str:
        """Where the locks of a class are made; "" where that is not known."""
        for known in self.lockdep.state().classes:
            if known.title == name and isinstance(known.key, SiteKey):
                return known.key.place
        return ""

    def _write(self, report: Report) -> None:
        write(tell(report, self.made))

    def _map(
        self,
        kind: str,
        name: str | None,
        key: LockClassKey | None,
        subclass: int,
        rank: Any,
        order: Order | None,
    ) -> PythonMap:
        if key is None:
            key = self._sites.key(_getframe(2), kind, name)
        if rank is not None and order is None:
            order = _by_rank
        lock_map = PythonMap(key, name, reentrant=kind == "RLock", subclass=subclass, order=order)
        lock_map.wait_inner = lock_map.wait_outer = WaitType.SLEEP
        lock_map.rank = rank
        return lock_map


def _by_rank(held: LockMap, wanted: LockMap) -> int:
    first, second = getattr(held, "rank", None), getattr(wanted, "rank", None)
    if first is None or second is None:
        return 0
    return -1 if first < second else 1 if second < first else 0
