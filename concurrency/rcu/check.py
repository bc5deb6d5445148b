"""What a task must not leave behind when it ends: an open reader, a queued head on its stack."""

from __future__ import annotations

from concurrency.failure import Failure, Kind
from concurrency.observer import Observer
from concurrency.rcu.callbacks import freed_while_queued, stack_heads
from concurrency.task import Task
from concurrency.waiting import holds, sections


class RcuCheck(Observer):
    """Kernel: make_task_dead() in kernel/exit.c, and debug objects, v6.6."""

    def ended(self, task: Task) -> None:
        """See `Observer.ended`."""
        for flavour, nesting in (("", task.rcu_nesting), ("-bh", task.rcu_bh), ("-sched", task.rcu_sched)):
            if nesting:
                raise Failure(
                    Kind.RCU,
                    f"WARNING: {task.name} ended inside an RCU{flavour} read-side critical section",
                    "\n".join([f"RCU{flavour} nest depth: {nesting}, expected: 0", *_left(task)]),
                    check="rcu",
                )
        for head in stack_heads(task):
            freed_while_queued(head)


def _left(task: Task) -> list[str]:
    """What a task that has ended is still inside of, and where that began. A place of its own it has no more."""
    return [f"{task.name} {line}" for line in (*sections(task), *(f"holds {lock}" for lock in holds(task)))]
