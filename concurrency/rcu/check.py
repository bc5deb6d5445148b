"""What a task must not leave behind when it ends: an open reader, a queued head on its stack."""

from __future__ import annotations

from concurrency.failure import Failure, Kind
from concurrency.observer import Observer
from concurrency.rcu.callbacks import freed_while_queued, stack_heads
from concurrency.task import Task


class RcuCheck(Observer):
    """Kernel: make_task_dead() in kernel/exit.c, and debug objects, v6.6."""

    def ended(self, task: Task) -> None:
        """See `Observer.ended`."""
        for flavour, nesting in (("", task.rcu_nesting), ("-bh", task.rcu_bh), ("-sched", task.rcu_sched)):
            if nesting:
                raise Failure(
                    Kind.RCU,
                    f"WARNING: {task.name} ended inside an RCU{flavour} read-side critical section",
                    f"RCU{flavour} nest depth: {nesting}, expected: 0",
                    check="rcu",
                )
        for head in stack_heads(task):
            freed_while_queued(head)
