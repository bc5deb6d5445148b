"""Stalls: a grace period that waits for very long, with the readers that it waits for.

Kernel: Documentation/RCU/stallwarn.rst, v6.6. Time is counted in operations of the whole execution: there is no
other time in a simulated execution that passes while tasks run. The price is that a stall is not a property of a
trace: an equivalent execution may have other operations between the begin and the end of the grace period. So a
reduced search with an execution as long as the time-out never says `passed` (`may_ring`, `Simulated._timed`).
"""

from __future__ import annotations

from typing import Any, Protocol

from sugarbush.concurrency.core import Failure, Kind, Task, active, current_task, where

DEFAULT_TIMEOUT = 100_000
"""In operations; `rcu_cpu_stall_timeout` sets another one."""


class StallingPeriods(Protocol):
    """What this module asks of `rcu.domain.GracePeriods`, which imports it."""

    begun: int
    holdouts: dict[Any, int]

    @property
    def callbacks_left(self) -> int:
        """How many callbacks have been queued and have not run."""

    def over(self, number: int) -> bool:
        """Whether the grace period of this number has ended."""

    def task_of(self, reader: Any) -> Task:
        """The task that is inside of this reader."""

    def describe(self, reader: Any) -> str:
        """The reader, in words."""


class StallWatch:
    """Looks after one grace period of a flavour at a time, by an alarm of the runtime.

    `timeout` is in operations. A grace period that begins while another one is looked after has to wait for its
    turn, so if it stalls, that is reported after twice the time-out at the latest.
    """

    # One at a time is enough: a grace period that has begun since waits for the same reader as well.

    __slots__ = ("_flavour", "_number", "_rcu", "timeout")

    def __init__(self, rcu: StallingPeriods, flavour: str) -> None:
        self.timeout = DEFAULT_TIMEOUT
        self._flavour = flavour
        self._rcu = rcu
        self._number = 0
        """The grace period that is looked after now; 0 for none."""

    def may_ring(self, steps: int) -> bool:
        """Whether in an execution of so many operations a grace period could have stalled, in some order of them."""
        rt = active.runtime
        watched = rt is None or "rcu-stall" not in rt.without
        return watched and self._rcu.begun > 0 and steps >= self.timeout

    def begun(self) -> None:
        """A grace period has begun that must wait for readers: look after it, unless another one is looked after."""
        rt = active.runtime
        if rt is not None and not self._number and "rcu-stall" not in rt.without:
            self._number = self._rcu.begun
            rt.alarm(self.timeout, self._ring)

    def _ring(self) -> None:
        """The time of the grace period is up: a stall, unless it is over. Then it is the last one's turn."""
        # Number n waits for all readers that numbers below n wait for, so the last one stands for all that began
        # since.
        number, self._number = self._number, 0
        if not self._rcu.over(number):
            raise self._stalled(number)
        if self._rcu.holdouts:
            self.begun()

    def _stalled(self, number: int) -> Failure:
        """The report: the readers that the grace period waits for, each with its place."""
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
