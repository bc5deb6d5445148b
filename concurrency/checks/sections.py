"""Where each task began what it is inside of: readers of RCU, preemption, bottom halves and interrupts switched off.

Locks have the lock validator to remember that. Listens only where everything is recorded, since a place costs as much
as a whole operation.
"""

from __future__ import annotations

from typing import Any

from sugarbush.concurrency.core import Observer, Operation, Task, place
from sugarbush.concurrency.cpu import (
    HARDIRQ_ENTER,
    HARDIRQ_EXIT,
    LOCAL_BH_DISABLE,
    LOCAL_BH_ENABLE,
    LOCAL_IRQ_DISABLE,
    LOCAL_IRQ_ENABLE,
    PREEMPT_DISABLE,
    PREEMPT_ENABLE,
    SOFTIRQ_ENTER,
    SOFTIRQ_EXIT,
)
from sugarbush.concurrency.rcu import (
    RCU_READ_LOCK,
    RCU_READ_LOCK_NESTED,
    RCU_READ_UNLOCK,
    RCU_READ_UNLOCK_NESTED,
)

_BEGINS = {
    RCU_READ_LOCK: "rcu_read_lock()",
    RCU_READ_LOCK_NESTED: "rcu_read_lock()",
    LOCAL_BH_DISABLE: "local_bh_disable()",
    LOCAL_IRQ_DISABLE: "local_irq_disable()",
    PREEMPT_DISABLE: "preempt_disable()",
    HARDIRQ_ENTER: "a hardirq handler",
    SOFTIRQ_ENTER: "a softirq handler",
}
_ENDS = {
    RCU_READ_UNLOCK: "rcu_read_lock()",
    RCU_READ_UNLOCK_NESTED: "rcu_read_lock()",
    LOCAL_BH_ENABLE: "local_bh_disable()",
    LOCAL_IRQ_ENABLE: "local_irq_disable()",
    PREEMPT_ENABLE: "preempt_disable()",
    HARDIRQ_EXIT: "a hardirq handler",
    SOFTIRQ_EXIT: "a softirq handler",
}


class Sections(Observer):
    """Keeps `Task.inside`."""

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:  # noqa: ARG002
        """See `Observer.performed`."""
        begins = _BEGINS.get(op)
        if begins is not None:
            # Interrupts do not nest: to switch them off again begins nothing.
            if op is not LOCAL_IRQ_DISABLE or result:
                task.inside += ((begins, place()),)
            return
        ends = _ENDS.get(op)
        if ends is not None:
            # From the top: sections of different kinds may cross, and those of one kind end innermost first. None is
            # there if a handler has ended with interrupts off, which switches them on.
            for at in range(len(task.inside) - 1, -1, -1):
                if task.inside[at][0] == ends:
                    task.inside = task.inside[:at] + task.inside[at + 1 :]
                    break
