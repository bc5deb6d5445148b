"""Which locks interrupts of Python take: the collector's finalisers are hardware interrupts, signal handlers
softirqs.

What a finaliser takes counts once it is known that others can have it: a lock that dies with its object is
that object's own.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from sugarbush.lockdep.model import (
    ENABLED_BIT,
    HARDIRQ,
    USED,
    Acquire,
    LockClass,
    LockMap,
    TaskContext,
    Trace,
    has_usage,
    no_irq_path,
    opposite,
    search_backwards,
    search_forwards,
    used_in,
)
from sugarbush.lockdep.prove import IrqProver
from sugarbush.lockdep.python.context import PythonMap, ThreadContext

if TYPE_CHECKING:
    from sugarbush.lockdep.reports import Reporter


class Candidate(NamedTuple):
    """A lock that a finaliser took: it counts once it is known not to be the dying object's own."""

    lock: weakref.ref[LockMap]
    lock_class: LockClass
    ctx: ThreadContext
    trace: Trace


class PythonIrqProver(IrqProver):
    """The collector's finalisers are hardware interrupts, signal handlers are softirqs; RLocks may be taken again."""

    __slots__ = ("candidates", "private")

    def __init__(self, reporter: Reporter, operations: Callable[[LockClass], int]) -> None:
        super().__init__(reporter, operations)
        self.candidates: list[Candidate] = []
        self.private: Callable[[LockMap], bool] = lambda _: True

    def mark_acquire(self, acquire: Acquire) -> None:
        ctx = acquire.ctx
        assert isinstance(ctx, ThreadContext)
        if not ctx.finalising:
            super().mark_acquire(acquire)
            return
        # A lock of the dying object itself is held by nobody when its finaliser runs, since whoever held it would
        # keep the object alive: it makes no conflict. Whether a lock is one of those is known for sure only once the
        # object is gone.
        if not acquire.trylock and acquire.checked:
            bit = used_in(HARDIRQ, False)
            if not acquire.lock_class.usage >> bit & 1:
                one = Candidate(weakref.ref(acquire.lock_map), acquire.lock_class, ctx, acquire.trace)
                assert isinstance(acquire.lock_map, PythonMap)
                if acquire.lock_map.owner is ctx or not self.private(acquire.lock_map):
                    self.confirm(one, acquire.lock_map)
                else:
                    self.candidates.append(one)
        acquire.lock_class.usage |= 1 << USED
        acquire.lock_class.traces.setdefault(USED, acquire.trace)
        acquire.lock_class.makers.setdefault(USED, ctx.maker)

    def settle(self, ctx: ThreadContext | None) -> None:
        """Looks again at what finalisers of a thread (None: of all) took: a lock that outlived one is no part of it."""
        if not self.candidates:
            return
        now = [one for one in self.candidates if ctx is None or one.ctx is ctx]
        self.candidates = [one for one in self.candidates if not (ctx is None or one.ctx is ctx)]
        for one in now:
            lock_map = one.lock()
            if lock_map is not None:
                self.confirm(one, lock_map)

    def confirm(self, one: Candidate, lock_map: LockMap) -> None:
        """Others can have the lock when the collector runs the finaliser."""
        bit = used_in(HARDIRQ, False)
        if not one.lock_class.usage >> bit & 1:
            self._mark_class(one.ctx, lock_map, one.lock_class, 0, bit, one.trace)

    def _mark_class(
        self, ctx: TaskContext, lock_map: LockMap, lock_class: LockClass, read: int, bit: int, trace: Trace
    ) -> None:
        if not getattr(lock_map, "reentrant", False) or bit >= USED:
            super()._mark_class(ctx, lock_map, lock_class, read, bit, trace)
            return
        # The thread that is interrupted may take its own RLock again; what others hold it may have to wait for.
        self._seen |= 1 << bit
        lock_class.usage |= 1 << bit
        lock_class.traces[bit] = trace
        lock_class.makers[bit] = ctx.maker
        ends = has_usage(opposite(1 << bit))
        forwards = not bit & ENABLED_BIT
        search = search_forwards if forwards else search_backwards
        weak = read > 0
        found = search(
            lock_class, weak, lambda at, weak: at is not lock_class and ends(at, weak), no_irq_path
        )
        if found is not None:
            self._report_inversion(ctx, lock_map, lock_class, weak, bit, found, trace)
