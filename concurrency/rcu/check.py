"""What a task must not leave behind when it ends: an open reader.

All that this looks at is changed by the task alone. What other tasks change must be looked at by an operation
before the end (`Task.farewells`): the end itself belongs to the task's last operation, and that may have been done
to anything.
"""

from __future__ import annotations

from sugarbush.concurrency.core import Failure, Kind, Observer, Task, holds, sections


class RcuCheck(Observer):
    """Reports tasks that end inside of a reader. Kernel: make_task_dead() in kernel/exit.c, v6.6."""

    def ended(self, task: Task) -> None:
        """Report the task if it is still inside of a reader of RCU, of whichever form."""
        if not (task.rcu_nesting or task.rcu_bh or task.rcu_sched):
            return
        for flavour, nesting in (("", task.rcu_nesting), ("-bh", task.rcu_bh), ("-sched", task.rcu_sched)):
            if nesting:
                raise Failure(
                    Kind.RCU,
                    f"WARNING: {task.name} ended inside an RCU{flavour} read-side critical section",
                    "\n".join([f"RCU{flavour} nest depth: {nesting}, expected: 0", *_left(task)]),
                    check="rcu",
                )


def _left(task: Task) -> list[str]:
    """Lines about what a task that has ended is still inside of, and where that began. It is at no place any more."""
    return [f"{task.name} {line}" for line in (*sections(task), *(f"holds {lock}" for lock in holds(task)))]
