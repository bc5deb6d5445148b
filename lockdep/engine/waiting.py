"""Waits for things that are no locks: work items, completions, SRCU readers; and locks that might be taken.

Each has a map that whoever is waited for holds while it works, and that whoever waits acquires and releases:
waiting for work under a lock that the work takes is then a cycle (kernel: workqueue.c, completion.h, srcu.h).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sugarbush.lockdep.engine.core import Core
from sugarbush.lockdep.model import LockClassKey, LockMap, LockType, resolve
from sugarbush.lockdep.reports import BadUnlockReport, ReportKind, WarnReport, common

CONTENTION_HEADLINE = "WARNING: bad contention detected!"


def wait_map(name: str) -> LockMap:
    """A map of its own for one thing that tasks wait for."""
    return LockMap(LockClassKey(name), lock_type=LockType.ANNOTATION)


class Waiting(Core):
    """Dependencies through waits."""

    def might_lock(self, lock_map: LockMap, *, read: int = 0, subclass: int = 0) -> None:
        """The lock may be taken here, even if this time it is not (kernel: `might_lock` and its family)."""
        self.acquire(lock_map, read=read, subclass=subclass)
        self.release(lock_map)

    def wait_for(self, lock_map: LockMap) -> None:
        """The task is about to wait until the holder of the map is done, as for a flush or a completion."""
        self.acquire(lock_map)
        self.release(lock_map)

    def wait_for_readers(self, lock_map: LockMap) -> None:
        """The task is about to wait for all readers of the map, as synchronize_srcu() does."""
        self.acquire(lock_map, sync=True)

    def lock_contended(self, lock_map: LockMap) -> None:
        """The task has to wait for a lock that it asked for; reports one that it did not ask for.

        Kernel: `lock_contended`, without the statistics, which are `LockStat`'s.
        """
        ctx = self._current()
        if ctx.off or self._find(ctx, lock_map) is not None:
            return
        trace = self._tracer.capture()
        site = resolve(trace.site)
        fields = common(ctx, ReportKind.BAD_CONTENTION, CONTENTION_HEADLINE, f"{lock_map.name}|{site}", trace)
        self._reporter.add(ctx, BadUnlockReport(**fields, name=lock_map.name, site=site, contention=True))
        self._reporter.deliver(ctx)

    @contextmanager
    def running_work(self, function: str, *maps: LockMap) -> Iterator[None]:
        """Holds the maps of a work item while it runs, and reports one that leaves anything behind.

        `function` names the work function. Kernel: `process_one_work`.
        """
        ctx = self._current()
        before = (ctx.preempt_count, len(ctx.held), ctx.rcu_depth)
        for lock_map in maps:
            self.acquire(lock_map)
        yield
        for lock_map in reversed(maps):
            self.release(lock_map)
        after = (ctx.preempt_count, len(ctx.held), ctx.rcu_depth)
        if after[0] or after[1:] != before[1:]:
            headline = f"BUG: workqueue leaked atomic, lock or RCU: {ctx.comm}[{ctx.pid}]"
            detail = (
                f"     preempt=0x{after[0]:08x} lock={before[1]}->{after[1]} RCU={before[2]}->{after[2]}"
                f" workfn={function}"
            )
            fields = common(ctx, ReportKind.WORKER_LEAK, headline, detail, self._tracer.capture())
            self._reporter.add(ctx, WarnReport(**fields, advice=(detail,)))
            self._reporter.deliver(ctx)
