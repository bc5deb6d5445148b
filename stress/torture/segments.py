"""Readers made of overlapping stretches: rcu, bh, sched, and preemption, bottom halves or interrupts off.

Kernel: rcutorture_one_extend() in kernel/rcu/rcutorture.c, v6.6. Whatever one stretch is followed by begins before the
other ends, so all of them together are one reader.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sugarbush.concurrency import (
    local_bh_disable,
    local_bh_enable,
    local_irq_disable,
    local_irq_enable,
    preempt_disable,
    preempt_enable,
    rcu_read_lock,
    rcu_read_lock_bh,
    rcu_read_lock_sched,
    rcu_read_unlock,
    rcu_read_unlock_bh,
    rcu_read_unlock_sched,
)

_Stretch = tuple[Callable[[], Any], Callable[[], Any]]
STRETCHES: tuple[_Stretch, ...] = (
    (rcu_read_lock, rcu_read_unlock),
    (rcu_read_lock_bh, rcu_read_unlock_bh),
    (rcu_read_lock_sched, rcu_read_unlock_sched),
    (preempt_disable, preempt_enable),
    (local_bh_disable, local_bh_enable),
    (local_irq_disable, local_irq_enable),
)
_RCU, _IRQS, _BOTTOM_HALVES = 0, 5, (1, 4)
"""Bottom halves cannot be turned on with interrupts off, so nothing leads from the one to the other."""


class Segments:
    """The stretches that one reader is inside, one at a time but for the moment in which they overlap."""

    def __init__(self, first: int = 0) -> None:
        self._now = first
        STRETCHES[first][0]()

    def extend(self, following: int) -> None:
        """Go over to another stretch."""
        if following == _IRQS and self._now in _BOTTOM_HALVES:
            self.extend(_RCU)
        if following != self._now:
            # The next one begins first: with a gap between the two this would be two readers.
            STRETCHES[following][0]()
            STRETCHES[self._now][1]()
            self._now = following

    def end(self) -> None:
        """The reader is over."""
        STRETCHES[self._now][1]()
