"""RCU readers: rcu_read_lock() and its bh and sched forms.

Kernel: include/linux/rcupdate.h, v6.6, with CONFIG_PREEMPT_RCU: only the bh and sched forms keep preemption off.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sugarbush.concurrency.core import (
    Footprint,
    Hold,
    Moment,
    Operation,
    Task,
    active,
    current_task,
    domain,
    perform,
)
from sugarbush.concurrency.cpu import local_bh_disable, local_bh_enable, preempt_disable, preempt_enable
from sugarbush.concurrency.rcu.callbacks import drain
from sugarbush.concurrency.rcu.domain import RcuDomain, is_atomic
from sugarbush.concurrency.rcu.report import suspicious, unbalanced

# Of nested rcu_read_lock() only the outermost pair begins and ends a reader. The inner ones are operations of their
# own that depend on nothing (Footprint.NOTHING), so that a search makes no schedules for them.


def _lock(rcu: RcuDomain, task: Task, _arg: object) -> None:
    task.rcu_nesting += 1
    rcu.enter(task)


def _unlock(rcu: RcuDomain, task: Task, _arg: object) -> None:
    unbalanced(task.rcu_nesting, "rcu_read_unlock", "rcu_read_lock")
    task.rcu_nesting -= 1
    rcu.leave(task)


def _lock_nested(_rcu: RcuDomain, task: Task, _arg: object) -> None:
    task.rcu_nesting += 1


def _unlock_nested(_rcu: RcuDomain, task: Task, _arg: object) -> None:
    task.rcu_nesting -= 1


_SECTION = "rcu_read_lock()"
RCU_READ_LOCK = Operation(
    "rcu_read_lock",
    effect=_lock,
    footprint=Footprint.READER_BEGINS,
    rcu=Moment.READER,
    hold=Hold.TAKES,
    begins=_SECTION,
)
RCU_READ_UNLOCK = Operation(
    "rcu_read_unlock",
    effect=_unlock,
    footprint=Footprint.READER_ENDS,
    wakes=True,
    rcu=Moment.READER,
    hold=Hold.GIVES,
    ends=_SECTION,
)
RCU_READ_LOCK_NESTED = Operation(
    "rcu_read_lock", effect=_lock_nested, footprint=Footprint.NOTHING, hold=Hold.TAKES, begins=_SECTION
)
RCU_READ_UNLOCK_NESTED = Operation(
    "rcu_read_unlock", effect=_unlock_nested, footprint=Footprint.NOTHING, hold=Hold.GIVES, ends=_SECTION
)


def rcu_read_lock() -> None:
    """Begin a reader; nests."""
    task = current_task()
    # How deep it is inside, and its user mode, only the task itself changes: so it may ask without an operation.
    if task.user_mode:
        suspicious("rcu_read_lock() used illegally while idle")
    perform(RCU_READ_LOCK_NESTED if task.rcu_nesting else RCU_READ_LOCK, domain(RcuDomain))


def rcu_read_unlock() -> None:
    """End the innermost reader of the calling task."""
    rcu = domain(RcuDomain)
    perform(RCU_READ_UNLOCK_NESTED if current_task().rcu_nesting > 1 else RCU_READ_UNLOCK, rcu)
    if active.runtime is None:
        drain(rcu)


def rcu_read_lock_bh() -> None:
    """Begin a reader with bottom halves off; nests."""
    current_task().rcu_bh += 1
    local_bh_disable()


def rcu_read_unlock_bh() -> None:
    """End the innermost bh reader of the calling task."""
    task = current_task()
    unbalanced(task.rcu_bh, "rcu_read_unlock_bh", "rcu_read_lock_bh")
    task.rcu_bh -= 1
    local_bh_enable()


def rcu_read_lock_sched() -> None:
    """Begin a reader with preemption off; nests."""
    current_task().rcu_sched += 1
    preempt_disable()


def rcu_read_unlock_sched() -> None:
    """End the innermost sched reader of the calling task."""
    task = current_task()
    unbalanced(task.rcu_sched, "rcu_read_unlock_sched", "rcu_read_lock_sched")
    task.rcu_sched -= 1
    preempt_enable()


@contextmanager
def rcu_reader() -> Iterator[None]:
    """An RCU read-side critical section, as a `with` block."""
    rcu_read_lock()
    try:
        yield
    finally:
        rcu_read_unlock()


def rcu_read_lock_held() -> bool:
    """Whether the calling task is inside rcu_read_lock()."""
    return current_task().rcu_nesting > 0


def rcu_read_lock_bh_held() -> bool:
    """Whether the calling task is inside rcu_read_lock_bh(), or has bottom halves or interrupts off."""
    task = current_task()
    return task.bh_off > 0 or task.in_softirq or task.irqs_off


def rcu_read_lock_sched_held() -> bool:
    """Whether the calling task is inside rcu_read_lock_sched(), or has preemption off for another reason."""
    return is_atomic(current_task())


def rcu_read_lock_any_held() -> bool:
    """Whether a grace period would wait for the calling task."""
    return rcu_read_lock_held() or rcu_read_lock_sched_held()
