"""Interrupt state of the current task: handlers that come and go, hardirqs and bottom halves on and off."""

from __future__ import annotations

import sys

from sugarbush.lockdep.engine.core import Core
from sugarbush.lockdep.model import (
    HARDIRQ,
    HARDIRQS_ON,
    NOT_THREADED,
    SOFTIRQ,
    SOFTIRQS_ON,
    IrqEvent,
    LockdepError,
    TaskContext,
)
from sugarbush.lockdep.reports import ReportKind, TaskExitReport, common


class IrqEvents(Core):
    """What a model of interrupts tells the validator; the names are the kernel's without `lockdep_`."""

    def hardirqs_on(self) -> None:
        """Hardware interrupts go on: what is held is now held with them on. No effect when they are on."""
        ctx = self._current()
        if ctx.hardirqs_enabled:
            return
        ctx.hardirq_on = self._event(ctx)
        ctx.state |= HARDIRQS_ON
        # With hardirqs off no softirq comes in, whatever its own bit says; so both are on from here.
        self._mark_held(ctx, HARDIRQ)
        if ctx.softirqs_enabled:
            self._mark_held(ctx, SOFTIRQ)
        self._reporter.deliver(ctx)

    def hardirqs_off(self) -> None:
        """Hardware interrupts go off. No effect when they are off."""
        ctx = self._current()
        if ctx.hardirqs_enabled:
            ctx.hardirq_off = self._event(ctx)
            ctx.state &= ~HARDIRQS_ON

    def local_bh_disable(self) -> None:
        """Bottom halves go off; nests."""
        ctx = self._current()
        ctx.bh_disabled += 1
        if ctx.softirqs_enabled:
            ctx.softirq_off = self._event(ctx)
            ctx.state &= ~SOFTIRQS_ON

    def local_bh_enable(self) -> None:
        """Undoes one local_bh_disable(); raises `LockdepError` when there is none."""
        ctx = self._current()
        if not ctx.bh_disabled:
            raise LockdepError("local_bh_enable() without local_bh_disable()")
        ctx.bh_disabled -= 1
        if not ctx.bh_disabled and not ctx.softirq_depth:
            ctx.softirq_on = self._event(ctx)
            ctx.state |= SOFTIRQS_ON
            if ctx.hardirqs_enabled:
                self._mark_held(ctx, SOFTIRQ)
            self._reporter.deliver(ctx)

    def hardirq_enter(self, threaded: bool = True) -> None:
        """A hardware interrupt comes in; `threaded` says that PREEMPT_RT would make its handler a thread."""
        ctx = self._current()
        self._interrupt(ctx)
        ctx.hardirq_depth += 1
        ctx.state &= ~HARDIRQS_ON
        if not threaded:
            ctx.state |= NOT_THREADED
        self._stand(ctx)

    def hardirq_exit(self) -> None:
        """The handler ends, and what it interrupted goes on."""
        ctx = self._current()
        if not ctx.hardirq_depth:
            raise LockdepError("hardirq_exit() outside of a hardirq handler")
        ctx.hardirq_depth -= 1
        self._resume(ctx)

    def softirq_enter(self) -> None:
        """A softirq handler starts: bottom halves are off, hardirqs stay as they are."""
        ctx = self._current()
        self._interrupt(ctx)
        ctx.softirq_depth += 1
        ctx.state &= ~SOFTIRQS_ON
        self._stand(ctx)

    def softirq_exit(self) -> None:
        """The softirq handler ends."""
        ctx = self._current()
        if not ctx.softirq_depth:
            raise LockdepError("softirq_exit() outside of a softirq handler")
        ctx.softirq_depth -= 1
        self._resume(ctx)

    def nmi_enter(self) -> None:
        """A non-maskable interrupt comes in."""
        ctx = self._current()
        self._interrupt(ctx)
        ctx.nmi_depth += 1
        ctx.state &= ~HARDIRQS_ON
        self._stand(ctx)

    def nmi_exit(self) -> None:
        """The non-maskable interrupt ends."""
        ctx = self._current()
        if not ctx.nmi_depth:
            raise LockdepError("nmi_exit() outside of an NMI handler")
        ctx.nmi_depth -= 1
        self._resume(ctx)

    def _interrupt(self, ctx: TaskContext) -> None:
        self._adopt(ctx)
        ctx.frames.append((len(ctx.held), ctx.state))

    def _resume(self, ctx: TaskContext) -> None:
        """Back to what was interrupted; locks that the handler leaves behind are reported and dropped."""
        # The irq bits come back as they were, and are not switched back one by one: the handler may have left them
        # otherwise, and the CPU restores them from the interrupted flags.
        depth, ctx.state = ctx.frames.pop()
        if len(ctx.held) > depth and not ctx.off:
            headline = f"WARNING: {ctx.comm}/{ctx.pid} still has locks held!"
            cause = ",".join(entry[1].lock_class.title for entry in ctx.held[depth:])
            fields = common(ctx, ReportKind.TASK_EXIT, headline, cause, self._tracer.capture())
            self._reporter.add(ctx, TaskExitReport(**fields))
            del ctx.held[depth:]
        self._stand(ctx)
        self._reporter.deliver(ctx)

    def _event(self, ctx: TaskContext) -> IrqEvent:
        ctx.irq_events += 1
        return IrqEvent(ctx.irq_events, self._tracer.site(sys._getframe(2)))

    def _mark_held(self, ctx: TaskContext, state: int) -> None:
        if not ctx.held:
            return
        with self._lock:
            trace = self._tracer.capture()
            for entry in ctx.held:
                self._irqs.mark_held(ctx, entry, state, trace)
