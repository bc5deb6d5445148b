"""Reports of RCU used against its rules, in the words of RCU_LOCKDEP_WARN() (include/linux/rcupdate.h, v6.6)."""

from __future__ import annotations

from sugarbush.concurrency.core import Failure, Kind, caller, checked, current_task, fail, position


def suspicious(message: str) -> None:
    """Fail with this message and the place of the calling task, unless the check `rcu` is off."""
    if checked("rcu"):
        lines = [f"{caller()} {message}!", *position(current_task())]
        fail(Failure(Kind.RCU, "WARNING: suspicious RCU usage", "\n".join(lines), check="rcu"))


def no_reader(operation: str) -> None:
    """Report a task that is about to wait for readers while it is inside of one itself, which never ends then."""
    task = current_task()
    if task.rcu_nesting or task.rcu_bh or task.rcu_sched:
        suspicious(f"Illegal {operation}() in RCU read-side critical section")


def unbalanced(nesting: int, unlock: str, lock: str) -> None:
    """Report an unlock without a lock."""
    if nesting == 0:
        lines = [f"{unlock}() without {lock}()", f"at {caller()}", *position(current_task())]
        fail(Failure(Kind.RCU, "WARNING: bad unlock balance detected!", "\n".join(lines)))
