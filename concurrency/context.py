"""What a task may do where it stands: sleeping, and allocating.

Sleeping is forbidden under a spinlock, inside an RCU reader, and with interrupts or bottom halves off; kernel:
might_sleep() in kernel/sched/core.c, v6.6.
"""

from __future__ import annotations

from concurrency.failure import Failure, Kind
from concurrency.runtime import checked, current_task, fail
from concurrency.site import caller


def might_sleep() -> None:
    """Fail if the calling task may not sleep here, whether or not it would have to wait."""
    task = current_task()
    if (task.preempt_count or task.rcu_nesting or task.irqs_off) and checked("atomic-sleep"):
        fail(
            Failure(
                Kind.LOCKDEP,
                f"BUG: sleeping function called from invalid context at {caller()}",
                f"in_atomic(): {task.preempt_count}, irqs_disabled(): {int(task.irqs_off)}, "
                f"RCU nest depth: {task.rcu_nesting}, expected: 0, pid: {task.id}, name: {task.name}",
                check="atomic-sleep",
            )
        )
