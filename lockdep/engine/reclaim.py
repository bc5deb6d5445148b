"""Memory reclaim as a lock: what may be held across an allocation (mm/page_alloc.c, sched/mm.h).

An allocation that may enter the file system's reclaim takes the pseudo-lock ``fs_reclaim`` for a moment; so
does reclaim itself while it works. A lock held across the one and taken inside the other is then a cycle,
seen on the first run of both, without any memory pressure.
"""

from __future__ import annotations

from collections.abc import Sequence

from sugarbush.lockdep.engine.core import Core
from sugarbush.lockdep.model import (
    GFP_DIRECT_RECLAIM,
    GFP_FS,
    GFP_IO,
    GFP_NOLOCKDEP,
    Chain,
    LockdepError,
    LockMap,
    TaskContext,
    resolve,
    short_path,
)
from sugarbush.lockdep.reports import ReportKind, SleepReport, WarnReport, common


class Reclaim(Core):
    """GFP contexts of the current task, and the checks of what may allocate or sleep."""

    def fs_reclaim_acquire(self, gfp: int) -> None:
        """Enters reclaim on behalf of an allocation with these flags; nothing happens if they forbid it."""
        gfp = self._in_scope(gfp)
        if not self._needs_reclaim(gfp):
            return
        # With GFP_FS reclaim may enter the file system, whose locks the caller must not hold then. Notifiers run
        # without it, too, so theirs is taken by itself (fs_reclaim_acquire(), mm/page_alloc.c).
        if gfp & GFP_FS:
            self.acquire(self.maps.fs_reclaim)
        self.acquire(self.maps.mmu_notifier)
        self.release(self.maps.mmu_notifier)

    def fs_reclaim_release(self, gfp: int) -> None:
        """Leaves what fs_reclaim_acquire() with the same flags and scopes entered."""
        gfp = self._in_scope(gfp)
        if self._needs_reclaim(gfp) and gfp & GFP_FS:
            self.release(self.maps.fs_reclaim)

    def might_alloc(self, gfp: int) -> None:
        """An allocation with these flags may happen here, even if this time it is served without."""
        reclaim = self._in_scope(gfp)
        if self._needs_reclaim(reclaim):
            maps = self.maps
            stack = (maps.fs_reclaim, maps.mmu_notifier) if reclaim & GFP_FS else (maps.mmu_notifier,)
            # Entering and leaving at once shows nothing new where it was done before.
            if not self._seen(stack):
                self.fs_reclaim_acquire(gfp)
                self.fs_reclaim_release(gfp)
        if gfp & GFP_DIRECT_RECLAIM:
            self.might_sleep()

    def memalloc_nofs_save(self) -> int:
        """Until the matching restore, no allocation of the task enters the file system. Gives a cookie."""
        return self._save(GFP_FS)

    def memalloc_nofs_restore(self, cookie: int) -> None:
        """Ends a NOFS scope; raises `LockdepError` when it is not the innermost scope of the task."""
        self._restore(GFP_FS, cookie)

    def memalloc_noio_save(self) -> int:
        """From here to the matching restore, no allocation of the task starts IO. Gives a cookie."""
        return self._save(GFP_FS | GFP_IO)

    def memalloc_noio_restore(self, cookie: int) -> None:
        """Ends a NOIO scope; raises `LockdepError` when it is not the innermost scope of the task."""
        self._restore(GFP_FS | GFP_IO, cookie)

    def memalloc_noreclaim_save(self) -> int:
        """Until the matching restore, the task does not reclaim at all (PF_MEMALLOC). Gives a cookie."""
        return self._save(GFP_DIRECT_RECLAIM)

    def memalloc_noreclaim_restore(self, cookie: int) -> None:
        """Ends a noreclaim scope; raises `LockdepError` when it is not the innermost scope of the task."""
        self._restore(GFP_DIRECT_RECLAIM, cookie)

    def might_sleep(self) -> None:
        """The task may sleep here: with no spinning lock, interrupts on, outside of RCU readers."""
        ctx = self._current()
        if ctx.rcu_depth or not ctx.hardirqs_enabled or self._preempt_count(ctx):
            self._report_sleep(ctx)

    def schedule(self) -> None:
        """The task gives up its CPU: it must hold no spinning lock (kernel: `__schedule_bug`)."""
        ctx = self._current()
        count = self._preempt_count(ctx)
        if not count:
            return
        headline = f"BUG: scheduling while atomic: {ctx.comm}/{ctx.pid}/0x{count:08x}"
        trace = self._tracer.capture()
        cause = str(resolve(trace.site))
        fields = common(ctx, ReportKind.SCHEDULE_IN_ATOMIC, headline, cause, trace)
        self._reporter.add(ctx, WarnReport(**fields))
        self._reporter.deliver(ctx)

    def _seen(self, stack: Sequence[LockMap]) -> bool:
        """True when the task could take these maps, one inside the other, without anything to check."""
        ctx = self._current()
        chain: Chain | None = ctx.chain
        for lock_map in stack:
            if chain is not None:
                chain = chain.next.get(lock_map.token | ctx.state)
        return chain is not None

    def _in_scope(self, gfp: int) -> int:
        for forbidden in self._current().scopes:
            gfp &= ~forbidden
        return gfp

    @staticmethod
    def _needs_reclaim(gfp: int) -> bool:
        return bool(gfp & GFP_DIRECT_RECLAIM) and not gfp & GFP_NOLOCKDEP

    def _save(self, forbidden: int) -> int:
        ctx = self._current()
        ctx.scopes = (*ctx.scopes, forbidden)
        return len(ctx.scopes)

    def _restore(self, forbidden: int, cookie: int) -> None:
        ctx = self._current()
        if len(ctx.scopes) != cookie or ctx.scopes[-1] != forbidden:
            raise LockdepError("memalloc scopes must be restored in the reverse order of their saves")
        ctx.scopes = ctx.scopes[:-1]

    @staticmethod
    def _preempt_count(ctx: TaskContext) -> int:
        """What the kernel's preempt_count would be: spinning locks and disables, bottom halves, handlers."""
        return (
            ctx.chain.spinning
            + ctx.preempt_count
            + 0x200 * ctx.bh_disabled
            + 0x100 * ctx.softirq_depth
            + 0x10000 * ctx.hardirq_depth
            + 0x100000 * ctx.nmi_depth
        )

    def _report_sleep(self, ctx: TaskContext) -> None:
        preempt_count = self._preempt_count(ctx)
        trace = self._tracer.capture()
        site = resolve(trace.site)
        where = f"{short_path(site.file)}:{site.line}"
        headline = f"BUG: sleeping function called from invalid context at {where}"
        self._reporter.add(
            ctx,
            SleepReport(
                **common(ctx, ReportKind.SLEEP_IN_ATOMIC, headline, where, trace),
                in_atomic=preempt_count > 0,
                irqs_disabled=not ctx.hardirqs_enabled,
                preempt_count=preempt_count,
                rcu_depth=ctx.rcu_depth,
                expected_rcu_depth=0,
            ),
        )
        self._reporter.deliver(ctx)
