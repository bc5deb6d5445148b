"""Memory barriers, as operations of their own. They do something only under weak memory (docs/memory.md).

Kernel: Documentation/memory-barriers.txt and tools/memory-model/Documentation/explanation.txt, v6.6.
"""

from __future__ import annotations

from sugarbush.concurrency.core.kinds import Fence
from sugarbush.concurrency.core.operation import Operation
from sugarbush.concurrency.core.runtime import active, current_task, domain


class Propagation:
    """The object that all full barriers of one execution are done to: each knows what those before it knew."""

    # One object for all tasks, so a reduced search tries both orders of two full barriers: which of them came first
    # decides what each makes known. Read and write barriers concern their own task only, so theirs is the task.

    name = "memory"


SMP_RMB = Operation("smp_rmb", before=Fence.RMB, local=True, idle=True)
SMP_WMB = Operation("smp_wmb", before=Fence.WMB, local=True, idle=True)
SMP_MB = Operation("smp_mb", before=Fence.MB, local=True, idle=True)


def smp_mb() -> None:
    """A full barrier: what the task has seen and done has reached every task before it goes on."""
    rt = active.runtime
    if rt is not None:
        rt.step(SMP_MB, domain(Propagation))


def smp_rmb() -> None:
    """Reads before it are done before reads after it."""
    rt = active.runtime
    if rt is not None:
        rt.step(SMP_RMB, current_task())


def smp_wmb() -> None:
    """Writes of this task before it reach every other task before its writes after it."""
    rt = active.runtime
    if rt is not None:
        rt.step(SMP_WMB, current_task())


def smp_mb__before_atomic() -> None:
    """Orders what is before it against the atomic operation that follows; here a full barrier, whatever follows."""
    smp_mb()


def smp_mb__after_atomic() -> None:
    """Orders the atomic operation before it against what follows; here a full barrier, whatever came before."""
    smp_mb()


def smp_mb__after_spinlock() -> None:
    """Makes the lock operation before it a full barrier."""
    smp_mb()


def smp_mb__after_unlock_lock() -> None:
    """Makes an unlock, and a lock of whatever lock after it, a full barrier."""
    smp_mb()


def smp_mb__after_srcu_read_unlock() -> None:
    """Makes the srcu_read_unlock() before it a full barrier."""
    smp_mb()
