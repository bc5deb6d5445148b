"""lock_stat: how often locks are contended, how long tasks wait for them and hold them.

The lock's implementation calls `acquire` before it tries, `contended` when it has to wait, `acquired` when it
has the lock, `release` before it gives it back (kernel: the four hooks of lockstat.rst). The clock is the
caller's, in nanoseconds, so that simulated time works as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from sys import _getframe
from typing import Any

from sugarbush.lockdep.model import LockMap, RawFrame, TaskContext, Tracer, resolve

POINTS = 4
"""Contention points that are listed for a class; all are counted."""


class _Times:
    """Least, most and sum of some times, in nanoseconds."""

    __slots__ = ("count", "least", "most", "total")

    def __init__(self) -> None:
        self.count = self.least = self.most = self.total = 0

    def add(self, time: int) -> None:
        self.least = min(self.least, time) if self.count else time
        self.most = max(self.most, time)
        self.total += time
        self.count += 1

    def fields(self, name: str) -> dict[str, float]:
        average = self.total / self.count if self.count else 0.0
        values = {"min": self.least, "max": self.most, "total": self.total, "avg": average}
        return {f"{name}-{field}": value / 1000 for field, value in values.items()}


class _Row:
    """The counters of one class, for reads or for writes."""

    __slots__ = ("bounces", "contended_bounces", "contending", "contention", "hold", "last_task", "wait")

    def __init__(self) -> None:
        self.wait, self.hold = _Times(), _Times()
        self.bounces = self.contended_bounces = 0
        self.last_task: TaskContext | None = None
        self.contention: Counter[str] = Counter()
        self.contending: Counter[str] = Counter()


class LockStat:
    """Lock statistics by name and mode of the lock.

    A bounce is an acquire by another task than the last one: tasks stand where the kernel has CPUs.
    """

    def __init__(
        self,
        current: Callable[[], TaskContext],
        clock: Callable[[], int],
        *,
        internal: Collection[str] = ("sugarbush.lockdep", "sugarbush.concurrency"),
    ) -> None:
        self._current = current
        self._clock = clock
        self._tracer = Tracer(internal)
        self._rows: dict[tuple[str, bool], _Row] = {}
        self._waiting: dict[TaskContext, int] = {}
        self._holding: dict[tuple[TaskContext, LockMap], list[tuple[int, _Row]]] = {}
        self._holder_site: dict[LockMap, RawFrame] = {}

    def contended(self, lock_map: LockMap, read: int = 0) -> None:
        """The current task finds the lock taken and starts to wait (kernel: `lock_contended`)."""
        ctx = self._current()
        row = self._row(lock_map, read)
        self._waiting[ctx] = self._clock()
        row.contention[str(resolve(self._tracer.site(_getframe(1))))] += 1
        holder = self._holder_site.get(lock_map)
        if holder is not None:
            row.contending[str(resolve(holder))] += 1
        row.contended_bounces += row.last_task is not ctx

    def acquired(self, lock_map: LockMap, read: int = 0) -> None:
        """The current task has the lock (kernel: `lock_acquired`)."""
        ctx = self._current()
        row = self._row(lock_map, read)
        now = self._clock()
        if ctx in self._waiting:
            row.wait.add(now - self._waiting.pop(ctx))
        if row.last_task is not ctx:
            row.bounces += row.last_task is not None
            row.last_task = ctx
        top = ctx.held[-1] if ctx.held else None
        if top is not None and top[0] is lock_map:
            self._holder_site[lock_map] = top[2], top[3]
        else:
            self._holder_site[lock_map] = self._tracer.site(_getframe(1))
        held = self._holding.get((ctx, lock_map))
        if held is None:
            held = self._holding[ctx, lock_map] = []
        held.append((now, row))

    def released(self, lock_map: LockMap) -> None:
        """The current task gives the lock back (kernel: the `lock_release` hook)."""
        place = self._current(), lock_map
        held = self._holding.get(place)
        if not held:
            return
        since, row = held.pop()
        if not held:
            del self._holding[place]
        self._holder_site.pop(lock_map, None)
        row.hold.add(self._clock() - since)

    def clear(self) -> None:
        """Starts counting anew, as writing 0 to /proc/lock_stat does."""
        self._rows.clear()

    def rows(self) -> tuple[dict[str, Any], ...]:
        """The table for `snapshot.take`: times in microseconds, the most contended first."""
        return tuple(
            {
                "name": self._title(name, read),
                "con-bounces": row.contended_bounces,
                "contentions": row.wait.count,
                **row.wait.fields("waittime"),
                "acq-bounces": row.bounces,
                "acquisitions": row.hold.count,
                **row.hold.fields("holdtime"),
                "contention points": dict(row.contention.most_common(POINTS)),
                "contending points": dict(row.contending.most_common(POINTS)),
            }
            for (name, read), row in sorted(self._rows.items(), key=lambda item: -item[1].wait.count)
        )

    def _title(self, name: str, read: bool) -> str:
        if (name, True) not in self._rows:
            return name
        return f"{name}-{'R' if read else 'W'}"

    def _row(self, lock_map: LockMap, read: int) -> _Row:
        key = lock_map.name, read > 0
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = _Row()
        return row
