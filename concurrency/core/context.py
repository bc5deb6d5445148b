"""Whether a task may sleep where it stands. Kernel: might_sleep() in kernel/sched/core.c, v6.6.

Sleeping is forbidden under a spinlock, inside an RCU reader, and with interrupts or bottom halves off.
"""

from __future__ import annotations

from typing import Any

from sugarbush.concurrency.core.failure import Failure, Kind
from sugarbush.concurrency.core.kinds import Access
from sugarbush.concurrency.core.operation import Operation
from sugarbush.concurrency.core.runtime import checked, current_task, fail, perform
from sugarbush.concurrency.core.site import caller
from sugarbush.concurrency.core.task import Task
from sugarbush.concurrency.core.waiting import position


def _is_asleep(place: Any, task: Task, _arg: object) -> bool:
    return task in place.asleep


WILL_SLEEP = Operation("get_current_state", Access.READ_ONCE, effect=_is_asleep, local=True)
"""The task looks at its own state (TASK_RUNNING or not). A task that wakes it sets that state, so the look is an
operation, on the `Sleep` or the queue where the state stands."""


def might_sleep(*, state: bool = True) -> None:
    """Fail if the calling task may not sleep here, whether or not it would have to wait.

    With `state`, fail also if the task is about to sleep already (after `set_current_state` or `prepare_to_wait`):
    to wait here would set it running again, and end that sleep before it began.
    """
    task = current_task()
    # `dozing` is changed by the task alone, so looking at it is no operation. The operation below is made only where
    # the task may be about to sleep: every lock that may sleep comes here.
    if (
        state
        and task.dozing
        and checked("atomic-sleep")
        and perform(WILL_SLEEP, task.wait_queue or task.sleep)
    ):
        fail(
            Failure(
                Kind.LOCKDEP,
                f"WARNING: do not call blocking ops when !TASK_RUNNING, at {caller()}",
                "\n".join(
                    [
                        f"{task.name} is about to sleep"
                        + ("" if task.wait_queue is None else f" on the queue {task.wait_queue.name}"),
                        *position(task),
                    ]
                ),
                check="atomic-sleep",
            )
        )
    if (task.preempt_count or task.rcu_nesting or task.irqs_off) and checked("atomic-sleep"):
        fail(
            Failure(
                Kind.LOCKDEP,
                f"BUG: sleeping function called from invalid context at {caller()}",
                "\n".join(
                    [
                        f"in_atomic(): {task.preempt_count}, irqs_disabled(): {int(task.irqs_off)}, "
                        f"RCU nest depth: {task.rcu_nesting}, expected: 0, pid: {task.id}, name: {task.name}",
                        *position(task),
                    ]
                ),
                check="atomic-sleep",
            )
        )
