"""Preemption of the calling task: off, on, and offered.

Kernel: preempt_disable() of include/linux/preempt.h, cond_resched() of kernel/sched/core.c, v6.6.

Another task may go on all the same, since each task is a CPU of its own. What preemption off does here is that the
task may not sleep, and that grace periods of RCU wait for it.
"""

from __future__ import annotations

from sugarbush.concurrency.core import (
    Access,
    Failure,
    Hold,
    Kind,
    Operation,
    Task,
    caller,
    current_task,
    fail,
    might_sleep,
    perform,
    position,
)


def _off(task: Task, _task: Task, _arg: object) -> None:
    task.preempt_count += 1


def _on(task: Task, _task: Task, _arg: object) -> None:
    if not task.preempt_count:
        fail(
            Failure(
                Kind.LOCKDEP,
                "WARNING: preempt_enable() without preempt_disable()",
                "\n".join(
                    [
                        f"preempt_count: {task.preempt_count}, pid: {task.id}, name: {task.name}",
                        f"at {caller()}",
                        *position(task),
                    ]
                ),
            )
        )
    task.preempt_count -= 1


_SECTION = "preempt_disable()"
# Hold.KEEPS: what a task turns off and on for itself is its own state, and no other task can tell.
PREEMPT_DISABLE = Operation(
    "preempt_disable", effect=_off, local=True, region=True, hold=Hold.KEEPS, begins=_SECTION
)
PREEMPT_ENABLE = Operation(
    "preempt_enable", effect=_on, local=True, region=True, hold=Hold.KEEPS, ends=_SECTION
)
COND_RESCHED = Operation("cond_resched", Access.READ_ONCE, field="need_resched", local=True)


def preempt_disable() -> None:
    """The calling task may not sleep from here on; nests."""
    perform(PREEMPT_DISABLE, current_task())


def preempt_enable() -> None:
    """Undoes one preempt_disable(); a report if there is none."""
    perform(PREEMPT_ENABLE, current_task())


def cond_resched() -> None:
    """Offer the CPU: another task may go on here, and that is no preemption. Needs a task that may sleep.

    Kernel: without CONFIG_PREEMPTION, where long loops inside the kernel are left only here. Here another task may
    go on at any operation, but elsewhere that counts as a preemption, which bounded searches and witnesses keep
    few.
    """
    might_sleep()
    task = current_task()
    # Read by whoever counts preemptions, while the task is left at the operation below (`strategies.base`).
    task.yielding = True
    perform(COND_RESCHED, task)
    task.yielding = False
