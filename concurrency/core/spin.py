"""Busy waiting: a loop that looks again and again says so with `cpu_relax`, and then it cannot hide that it hangs.

A look is what a task does from one `cpu_relax` to the next. If it changes nothing, and leaves the task as it was, then
the next one will be the same, so the task goes on once another one has done something. So looking in vain costs no
schedules, and a loop that nobody can end is a livelock at once. A loop that counts its looks, or may give up for
another reason, goes on looking. Kernel: cpu_relax(), v6.6.
"""

from __future__ import annotations

from sugarbush.concurrency.core.failure import WouldBlock
from sugarbush.concurrency.core.kinds import Access
from sugarbush.concurrency.core.operation import Operation
from sugarbush.concurrency.core.runtime import active
from sugarbush.concurrency.core.task import Task

DEFAULT_LOOKS = 20
"""So often in a row a task looks again although nobody has done anything, if its loop may give up."""
DEFAULT_SPINS = 1000
SURE = 2
"""So often a task whose looks are all the same looks again before it is said to spin for ever: what others changed
without an operation is seen then."""


def _may_look_again(task: Task, _task: Task) -> bool:
    return not task.has_looked


# A task that spins keeps its CPU: that is no voluntary switch (`Operation.spins`), as RCU sees it.
CPU_RELAX = Operation("cpu_relax", ready=_may_look_again, spins=True, idle=True)
CPU_RELAX_ON = Operation("cpu_relax", Access.READ_ONCE, field="spins", local=True)
"""The same for a task that goes on looking, whatever the others do: it touches nothing."""


def cpu_relax() -> None:
    """Say that the task spins: it has looked, and looks again once another task has done something.

    Raises `WouldBlock` when no program runs: then nobody can end the loop.
    """
    runtime = active.runtime
    if runtime is None:
        raise WouldBlock("cpu_relax() would spin for ever: no other task runs")
    runtime.relax()
