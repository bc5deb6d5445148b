"""Busy waiting: a loop that looks again and again says so with `cpu_relax`. Kernel: cpu_relax(), v6.6.

A *look* is what a task does from one `cpu_relax` to the next. If a look changes nothing, and leaves the task's own
state as it was (`frames`), then the next look will be the same, so the task waits until another one has changed
something. Looking in vain then costs no schedules, and a loop that no task can end is reported as a livelock at
once. A loop that counts its looks, or may give up for another reason, goes on looking, at most `Settings.looks`
times in a row.

The alternative was to let every spinning task wait for the others, whatever its loop does. It was dropped because
it is wrong: a loop that gives up after three looks never gave up, and a search passed programs that fail by that.
"""

from __future__ import annotations

from sugarbush.concurrency.core.failure import WouldBlock
from sugarbush.concurrency.core.kinds import Access
from sugarbush.concurrency.core.operation import Operation
from sugarbush.concurrency.core.runtime import active
from sugarbush.concurrency.core.task import Task

DEFAULT_LOOKS = 20
"""`Settings.looks`: how many times in a row a task looks again while others change nothing, if its loop may give
up."""
DEFAULT_SPINS = 1000
"""`Settings.spins`: how many times in vain a task spins before tasks are scheduled fairly, and then before it is said
to spin for ever (`runtimes.liveness`)."""
SURE = 2
"""How many times a task whose looks are all the same looks again before it is said to spin for ever. More than none,
since what others changed without an operation is seen only by looking again."""


def _may_look_again(task: Task, _task: Task) -> bool:
    return not task.has_looked


# The object of both is the task itself. `spins`: a task that spins keeps its CPU, so for Tasks RCU it does not sleep.
CPU_RELAX = Operation("cpu_relax", ready=_may_look_again, spins=True, idle=True)
CPU_RELAX_ON = Operation("cpu_relax", Access.READ_ONCE, field="spins", local=True)
"""The same for a task that goes on looking, whatever the others do. It touches nothing that another task touches, so a
search does not try to move it."""


def cpu_relax() -> None:
    """Say that the task spins: it has looked, and looks again once another task has done something.

    Raises `WouldBlock` when no program runs: then nobody can end the loop.
    """
    runtime = active.runtime
    if runtime is None:
        raise WouldBlock("cpu_relax() would spin for ever: no other task runs")
    runtime.relax()
