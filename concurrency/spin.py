"""Busy waiting: a loop that looks again and again says so with `cpu_relax`, and then it cannot hide that it hangs.

A task that spins goes on once another task has done something that may have changed what it looks at. So looking in
vain costs no schedules, and a loop that nobody can end is a livelock at once. Kernel: cpu_relax(), v6.6.
"""

from __future__ import annotations

from concurrency.failure import WouldBlock
from concurrency.operation import Access, Dep, Operation
from concurrency.runtime import active
from concurrency.task import Task

IDLE_SPINS = 20
"""So often each task that spins looks again although nothing can have changed: a loop may give up by itself."""
DEFAULT_SPINS = 1000

_READS = (Access.READ, Access.READ_ONCE, Access.ACQUIRE)
_TRIES = (Dep.TRY, Dep.TRY_READ)


def _may_look_again(task: Task, _task: Task) -> bool:
    return not task.has_looked


CPU_RELAX = Operation("cpu_relax", ready=_may_look_again)


def only_looks(op: Operation, result: object = None) -> bool:
    """`op`, which gave `result`, has changed nothing that another task could see."""
    return op is CPU_RELAX or op.access in _READS or (op.dep in _TRIES and not result)


def cpu_relax() -> None:
    """Say that the task spins: it has looked, and looks again once another task has done something.

    Raises `WouldBlock` when no program runs: then nobody can end the loop.
    """
    runtime = active.runtime
    if runtime is None:
        raise WouldBlock("cpu_relax() would spin for ever: no other task runs")
    runtime.relax()
