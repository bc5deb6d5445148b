"""RCU-lockdep: readers as held maps, and what is forbidden in and outside of them (rcu/update.c)."""

from __future__ import annotations

import sys

from sugarbush.lockdep.engine.irqs import IrqEvents
from sugarbush.lockdep.model import LockMap, TaskContext, resolve, short_path
from sugarbush.lockdep.reports import RcuReport, ReportKind, common

HEADLINE = "WARNING: suspicious RCU usage"
SRCU_MESSAGE = "Illegal synchronize_srcu() in same-type SRCU (or in RCU) read-side critical section"


class Rcu(IrqEvents):
    """RCU readers of the current task. All readers nest; those of plain RCU make no dependencies."""

    def rcu_read_lock(self) -> None:
        """Enters a reader."""
        ctx = self._current()
        if not ctx.rcu_watching:
            self.rcu_suspicious("rcu_read_lock() used illegally while idle")
        # Held, for the questions below, and unchecked (`lock_acquire(map, 0, 0, 2, 0, ...)`): a reader never waits,
        # and what waits for readers is checked by its own rules, so there is no order to learn.
        self.acquire(self.maps.rcu, read=2, check=False)
        ctx.rcu_depth += 1

    def rcu_read_unlock(self) -> None:
        """Leaves a reader; reports one that was never entered."""
        ctx = self._current()
        if not ctx.rcu_watching:
            self.rcu_suspicious("rcu_read_unlock() used illegally while idle")
        self.release(self.maps.rcu)
        ctx.rcu_depth = max(ctx.rcu_depth - 1, 0)

    def rcu_read_lock_bh(self) -> None:
        """Enters a bh reader, whose bottom halves are off."""
        self.local_bh_disable()
        self.acquire(self.maps.rcu_bh, read=2, check=False)

    def rcu_read_unlock_bh(self) -> None:
        """Leaves a bh reader; reports one that was never entered."""
        self.release(self.maps.rcu_bh)
        self.local_bh_enable()

    def rcu_read_lock_sched(self) -> None:
        """Enters a sched reader, whose preemption is off."""
        self._current().preempt_count += 1
        self.acquire(self.maps.rcu_sched, read=2, check=False)

    def rcu_read_unlock_sched(self) -> None:
        """Leaves a sched reader; reports one that was never entered."""
        ctx = self._current()
        self.release(self.maps.rcu_sched)
        ctx.preempt_count = max(ctx.preempt_count - 1, 0)

    def rcu_idle_enter(self) -> None:
        """The task is the idle loop from now on: RCU does not watch it, and readers protect nothing."""
        self._current().rcu_watching = False

    def rcu_idle_exit(self) -> None:
        """RCU watches the task again."""
        self._current().rcu_watching = True

    def rcu_read_lock_held(self) -> bool:
        """True inside a reader that RCU sees, and while the validator is off: unsure means yes."""
        ctx = self._current()
        return ctx.off > 0 or (ctx.rcu_watching and self._holds(self.maps.rcu))

    def rcu_read_lock_bh_held(self) -> bool:
        """As `rcu_read_lock_held`, for bh readers; also true where no bottom half can come in."""
        ctx = self._current()
        if ctx.off:
            return True
        closed = ctx.bh_disabled > 0 or ctx.irq_context != 0 or not ctx.hardirqs_enabled
        return ctx.rcu_watching and (closed or self._holds(self.maps.rcu_bh))

    def rcu_read_lock_sched_held(self) -> bool:
        """As `rcu_read_lock_held`, for sched readers; also true wherever preemption is off."""
        ctx = self._current()
        if ctx.off:
            return True
        return ctx.rcu_watching and (self._atomic(ctx) or self._holds(self.maps.rcu_sched))

    def srcu_read_lock_held(self, lock_map: LockMap) -> bool:
        """As `rcu_read_lock_held`, for the readers of an SRCU domain."""
        return self._current().off > 0 or self._holds(lock_map)

    def rcu_read_lock_any_held(self) -> bool:
        """True inside a reader of any flavour, and wherever preemption is off."""
        ctx = self._current()
        if ctx.off:
            return True
        if not ctx.rcu_watching:
            return False
        return self._atomic(ctx) or self.rcu_reader_depth() > 0

    def _atomic(self, ctx: TaskContext) -> bool:
        return bool(ctx.preempt_count or ctx.bh_disabled or not ctx.hardirqs_enabled or ctx.irq_context)

    def srcu_read_lock(self, lock_map: LockMap) -> None:
        """Enters a reader of an SRCU domain; such readers may sleep, and they make dependencies."""
        self.acquire(lock_map, read=2)

    def srcu_read_unlock(self, lock_map: LockMap) -> None:
        """Leaves a reader of an SRCU domain."""
        self.release(lock_map)

    def synchronize_srcu(self, lock_map: LockMap) -> None:
        """The task is about to wait for the readers of a domain, inside of none and of no RCU reader."""
        ctx = self._current()
        if not ctx.off and (self._holds(lock_map) or self.rcu_reader_depth()):
            self.rcu_suspicious(SRCU_MESSAGE)
        # Validated as if taken and not held afterwards (lock_sync()): what it waits for are readers, who may be
        # asleep on a lock that this task holds.
        self.acquire(lock_map, sync=True)

    def rcu_dereference_check(self, condition: bool = False) -> None:
        """An RCU pointer is read: in a reader, or where `condition` proves other protection."""
        if not condition and not self.rcu_read_lock_held():
            self.rcu_suspicious("suspicious rcu_dereference_check() usage")

    def rcu_dereference_protected(self, condition: bool) -> None:
        """A pointer is read by the update side, which `condition` proves to hold its lock."""
        if not condition and not self._current().off:
            self.rcu_suspicious("suspicious rcu_dereference_protected() usage")

    def synchronize_rcu(self) -> None:
        """The task is about to wait for readers: it must not be one of them."""
        if not self._current().off and self.rcu_reader_depth():
            self.rcu_suspicious("Illegal synchronize_rcu() in RCU read-side critical section")

    def rcu_context_switch(self) -> None:
        """The task is about to sleep on its own account: no reader allows that."""
        for lock_map, flavour in (
            (self.maps.rcu, "RCU"),
            (self.maps.rcu_bh, "RCU-bh"),
            (self.maps.rcu_sched, "RCU-sched"),
        ):
            if self._holds(lock_map):
                self.rcu_suspicious(f"Illegal context switch in {flavour} read-side critical section")

    def rcu_reader_depth(self) -> int:
        """How many readers of any flavour the task is inside."""
        readers = (self.maps.rcu, self.maps.rcu_bh, self.maps.rcu_sched)
        return sum(entry[0] in readers for entry in self._current().held)

    def rcu_suspicious(self, message: str) -> None:
        """Reports RCU used against its rules, once for each place (kernel: `lockdep_rcu_suspicious`)."""
        ctx = self._current()
        site = resolve(self._tracer.site(sys._getframe(1)))
        cause = f"{message}|{short_path(site.file)}:{site.line}"
        fields = common(ctx, ReportKind.RCU, HEADLINE, cause, self._tracer.capture())
        report = RcuReport(**fields, message=message, site=site, watching=ctx.rcu_watching)
        self._reporter.add(ctx, report)
        self._reporter.deliver(ctx)

    def _holds(self, lock_map: LockMap) -> bool:
        return any(entry[0] is lock_map for entry in self._current().held)
