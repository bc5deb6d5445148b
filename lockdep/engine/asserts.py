"""Asserts about what the task holds (kernel: `lockdep_assert_held` and its family).

A failed assert is a warning: it is kept once among the reports, and delivered each time.
"""

from __future__ import annotations

import sys
from types import FrameType

from sugarbush.lockdep.engine.core import Core
from sugarbush.lockdep.model import LockMap, matches, resolve
from sugarbush.lockdep.reports import ReportKind, WarnReport, common


class Asserts(Core):
    """Questions and asserts about held locks. While the validator is off for a task, asserts pass."""

    def is_held(self, lock_map: LockMap, read: int = -1) -> bool:
        """True when the task holds the lock: in any way, exclusively (`read` 0) or shared (`read` 1)."""
        for entry in self._current().held:
            if matches(entry, lock_map):
                return read < 0 or (entry[1].read > 0) == (read > 0)
        return False

    def assert_held(self, lock_map: LockMap) -> None:
        """The task must hold the lock in any way (kernel: `lockdep_assert_held`)."""
        if not self.is_held(lock_map):
            self._failed("lockdep_assert_held", lock_map)

    def assert_not_held(self, lock_map: LockMap) -> None:
        """The task must not hold the lock (kernel: `lockdep_assert_not_held`)."""
        if self.is_held(lock_map):
            self._failed("lockdep_assert_not_held", lock_map)

    def assert_held_write(self, lock_map: LockMap) -> None:
        """The task must hold the lock exclusively (kernel: `lockdep_assert_held_write`)."""
        if not self.is_held(lock_map, 0):
            self._failed("lockdep_assert_held_write", lock_map)

    def assert_held_read(self, lock_map: LockMap) -> None:
        """The task must hold the lock shared (kernel: `lockdep_assert_held_read`)."""
        if not self.is_held(lock_map, 1):
            self._failed("lockdep_assert_held_read", lock_map)

    def assert_none_held(self) -> None:
        """The task must hold no lock at all (kernel: `lockdep_assert_none_held_once`)."""
        if self._current().held:
            self._failed("lockdep_assert_none_held_once")

    def assert_irqs_enabled(self) -> None:
        """Hardware interrupts must be on (kernel: `lockdep_assert_irqs_enabled`)."""
        if not self._current().hardirqs_enabled:
            self._failed("lockdep_assert_irqs_enabled")

    def assert_irqs_disabled(self) -> None:
        """Hardware interrupts must be off (kernel: `lockdep_assert_irqs_disabled`)."""
        if self._current().hardirqs_enabled:
            self._failed("lockdep_assert_irqs_disabled")

    def assert_in_irq(self) -> None:
        """The task must be in a hardirq handler (kernel: `lockdep_assert_in_irq`)."""
        if not self._current().hardirq_depth:
            self._failed("lockdep_assert_in_irq")

    def assert_no_hardirq(self) -> None:
        """The task must be outside of hardirq with hardirqs on (kernel: `lockdep_assert_no_hardirq`)."""
        ctx = self._current()
        if ctx.hardirq_depth or not ctx.hardirqs_enabled:
            self._failed("lockdep_assert_no_hardirq")

    def assert_in_softirq(self) -> None:
        """The task must be in a softirq handler, in no hardirq one (kernel: `lockdep_assert_in_softirq`)."""
        ctx = self._current()
        if not ctx.softirq_depth or ctx.hardirq_depth:
            self._failed("lockdep_assert_in_softirq")

    def assert_preemption_enabled(self) -> None:
        """Preemption and hardirqs must be on (kernel: `lockdep_assert_preemption_enabled`)."""
        ctx = self._current()
        if ctx.preempt_count or not ctx.hardirqs_enabled:
            self._failed("lockdep_assert_preemption_enabled")

    def assert_preemption_disabled(self) -> None:
        """Preemption must be off, or hardirqs (kernel: `lockdep_assert_preemption_disabled`)."""
        ctx = self._current()
        if not ctx.preempt_count and ctx.hardirqs_enabled:
            self._failed("lockdep_assert_preemption_disabled")

    def warn(self, condition: str) -> None:
        """Reports a condition that failed where the current task stands (kernel: `WARN_ON`)."""
        self._failed_condition(condition, sys._getframe(1))

    def _failed(self, what: str, lock_map: LockMap | None = None) -> None:
        self._failed_condition(f"{what}({'' if lock_map is None else lock_map.name})", sys._getframe(2))

    def _failed_condition(self, condition: str, frame: FrameType) -> None:
        # While the validator is off it does not know what is held, and an assert that may be wrong must pass
        # (`lockdep_is_held` gives LOCK_STATE_UNKNOWN then, which no assert takes for a failure).
        ctx = self._current()
        if ctx.off:
            return
        site = resolve(self._tracer.site(frame))
        headline = f"WARNING: at {site}: {condition}"
        fields = common(ctx, ReportKind.ASSERT, headline, headline, self._tracer.capture())
        self._reporter.add_warning(ctx, WarnReport(**fields))
        self._reporter.deliver(ctx)
