"""Stalls: a grace period that waits for very long, with the readers that it waits for.

Kernel: Documentation/RCU/stallwarn.rst, v6.6. Time is counted in operations of the whole execution, since nothing
else tells a reader that does not end from one that is not let go on.
"""

from __future__ import annotations

from typing import Any, Protocol

from sugarbush.concurrency.core import Failure, Kind, Task, active, current_task, where

DEFAULT_TIMEOUT = 100_000


class GracePeriods(Protocol):
    """What is asked of the grace periods of one flavour, `concurrency.rcu.domain.GracePeriods`."""

    begun: int
    holdouts: dict[Any, int]

    @property
    def callbacks_left(self) -> int:
        """How many callbacks have not run."""

    def over(self, number: int) -> bool:
        """Whether the grace period of this number has ended."""

    def task_of(self, reader: Any) -> Task:
        """Whose reader it is."""

    def describe(self, reader: Any) -> str:
        """The reader, in words."""


class StallWatch:
    """Looks after one grace period of a flavour at a time.

    `timeout` is in operations. A grace period that takes so long is seen, if another one was being looked after when
    it began, after twice as many at the latest.
    """

    __slots__ = ("_flavour", "_number", "_rcu", "timeout")

    def __init__(self, rcu: GracePeriods, flavour: str) -> None:
        self.timeout = DEFAULT_TIMEOUT
        self._flavour = flavour
        self._rcu = rcu
        self._number = 0
        """The grace period that is looked after; 0 for none."""

    def may_ring(self, steps: int) -> bool:
        """In an execution of so many operations a grace period can have stalled, in some order of them."""
        rt = active.runtime
        watched = rt is None or "rcu-stall" not in rt.without
        return watched and self._rcu.begun > 0 and steps >= self.timeout

    def begun(self) -> None:
        """A grace period has begun that must wait."""
        rt = active.runtime
        if rt is not None and not self._number and "rcu-stall" not in rt.without:
            self._number = self._rcu.begun
            rt.alarm(self.timeout, self._ring)

    def _ring(self) -> None:
        """The grace period has had its time. If it is over, it is the turn of the last one that began since."""
        number, self._number = self._number, 0
        if not self._rcu.over(number):
            raise self._stalled(number)
        if self._rcu.holdouts:
            self.begun()

    def _stalled(self, number: int) -> Failure:
        rcu = self._rcu
        late = [(rcu.task_of(reader), reader) for reader, first in rcu.holdouts.items() if first <= number]
        names = " ".join(dict.fromkeys(task.name for task, _ in late))
        by = current_task()
        lines = [f"\t{rcu.describe(reader)}, at {where(task)}" for task, reader in late]
        lines.append(
            f"\t(detected by {by.name}, t={self.timeout} operations, g={number}, q={rcu.callbacks_left})"
        )
        return Failure(
            Kind.STALL,
            f"INFO: {self._flavour} detected stalls on CPUs/tasks: {{ {names} }}",
            "\n".join(lines),
            check="rcu-stall",
        )
