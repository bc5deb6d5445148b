"""Preemption of the calling task: off and on. Kernel: preempt_disable() of include/linux/preempt.h, v6.6.

Another task may go on all the same, since each task is a CPU of its own; what is off is sleeping, and grace periods
of RCU wait.
"""

from __future__ import annotations

from concurrency.failure import Failure, Kind
from concurrency.operation import Operation
from concurrency.runtime import current_task, fail, perform
from concurrency.task import Task


def _off(task: Task, _task: Task, _arg: object) -> None:
    task.preempt_count += 1


def _on(task: Task, _task: Task, _arg: object) -> None:
    if not task.preempt_count:
        fail(
            Failure(
                Kind.LOCKDEP,
                "WARNING: preempt_enable() without preempt_disable()",
                f"preempt_count: {task.preempt_count}, pid: {task.id}, name: {task.name}",
            )
        )
    task.preempt_count -= 1


PREEMPT_DISABLE = Operation("preempt_disable", effect=_off, local=True, region=True)
PREEMPT_ENABLE = Operation("preempt_enable", effect=_on, local=True, region=True)


def preempt_disable() -> None:
    """The calling task may not sleep from here on; nests."""
    perform(PREEMPT_DISABLE, current_task())


def preempt_enable() -> None:
    """Undoes one preempt_disable(); a report if there is none."""
    perform(PREEMPT_ENABLE, current_task())
