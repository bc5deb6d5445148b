"""Tasks RCU: a grace period waits until every task has slept of its own accord, or runs in user mode.

Kernel: kernel/rcu/tasks.h, v6.6, which frees trampolines: code that a task may have been preempted in, but never
sleeps in. A task sleeps when it waits for anything but a spinlock.Where it could have slept but did not have to (it
took a mutex that was free), it counts as having slept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sugarbush.concurrency.core import (
    Moment,
    Operation,
    Task,
    active,
    current_task,
    domain,
    might_sleep,
    perform,
)
from sugarbush.concurrency.rcu.callbacks import callback_operations, queue_callback, wait_for_callbacks
from sugarbush.concurrency.rcu.domain import GracePeriods
from sugarbush.concurrency.rcu.queue import Function
from sugarbush.concurrency.rcu.report import no_reader, suspicious
from sugarbush.concurrency.rcu.stall import StallWatch
from sugarbush.concurrency.rcu.sync import wait_for_readers, wait_operations


class TasksDomain(GracePeriods[Task]):
    """Tasks RCU in one execution: each task that runs is a reader, and the task itself stands for it."""

    __slots__ = ()
    every_task_reads = True

    def __init__(self) -> None:
        super().__init__("rcu_tasks")
        self.stalls = StallWatch(self, "rcu_tasks")

    def open_readers(self) -> Iterable[Task]:
        """All tasks that have not ended, do not sleep and are not in user mode."""
        rt = active.runtime
        if rt is None:
            return
        # Before the first one is entered among the holdouts: from then on the runtime tells what they do.
        for task in rt.tasks:
            if not (task.ended or task.user_mode or rt.asleep(task)):
                if not self.holdouts:
                    rt.watch(self)
                yield task

    def wait_for(self, reader: Task, number: int) -> None:
        """As for all flavours; the runtime tells what tasks do from now on."""
        rt = active.runtime
        if rt is not None and not self.holdouts:
            rt.watch(self)
        super().wait_for(reader, number)

    def task_of(self, reader: Task) -> Task:
        """The reader is the task."""
        return reader

    def describe(self, reader: Task) -> str:
        """The task, and why it is waited for."""
        return f"{reader.name}: has not slept since"

    def awaited(self, task: Task) -> Mapping[Task, str]:
        """As for all flavours, but without tasks that sleep: a grace period does not wait for those."""
        # They may still stand among the holdouts. When a task begins to wait the runtime looks for a circle first, and
        # calls `looked` after that; without this a task in synchronize_rcu_tasks() would be found to wait for itself.
        rt = active.runtime
        return {
            other: how
            for other, how in super().awaited(task).items()
            if rt is None or other.op is None or other.op.spins or not rt.waits(other)
        }

    def looked(self, task: Task, op: Operation) -> bool:
        """`task` has performed `op`, or waits in it: if it sleeps or has slept by that, it is waited for no more.

        True if a grace period may have ended by that.
        """
        # An operation that may have to wait counts although it did not have to: see the head of the module.
        sleeps = op.ready is not None and not op.spins
        if task not in self.holdouts or not (sleeps or task.ended or task.user_mode or op is QUIESCENT):
            return False
        del self.holdouts[task]
        rt = active.runtime
        if rt is not None and not self.holdouts:
            rt.unwatch(self)
        return True


def _nothing(_rcu: TasksDomain, _task: Task, _arg: object) -> None:
    """QUIESCENT has no effect of its own: what counts is that `looked` is called for it."""


def _enter(task: Task, _by: Task, _arg: object) -> None:
    task.user_mode = True


def _exit(task: Task, _by: Task, _arg: object) -> None:
    task.user_mode = False


QUIESCENT = Operation("cond_resched_tasks_rcu_qs", effect=_nothing, rcu=Moment.QUIESCENT)
USER_ENTER = Operation("user_enter", effect=_enter, rcu=Moment.QUIESCENT)
USER_EXIT = Operation("user_exit", effect=_exit, rcu=Moment.QUIESCENT)
TASKS_WAITS = wait_operations("rcu_tasks", grace=False, exact=False)
TASKS_CALLBACKS = callback_operations("call_rcu_tasks", "rcu_barrier_tasks", grace=False, local=False)


def synchronize_rcu_tasks() -> None:
    """Wait until every task has slept of its own accord since, has ended, or is in user mode."""
    no_reader("synchronize_rcu_tasks")
    might_sleep()
    wait_for_readers(domain(TasksDomain), TASKS_WAITS)


def call_rcu_tasks(fn: Function, arg: Any) -> None:
    """Have `fn(arg)` called after a grace period of Tasks RCU, in another task; `fn` must not sleep."""
    queue_callback(domain(TasksDomain), TASKS_CALLBACKS, fn, arg)


def rcu_barrier_tasks() -> None:
    """Wait until all callbacks of Tasks RCU that were queued before have run."""
    no_reader("rcu_barrier_tasks")
    might_sleep()
    wait_for_callbacks(domain(TasksDomain), TASKS_CALLBACKS)


def cond_resched_tasks_rcu_qs() -> None:
    """The calling task says that it is in no trampoline here; it then counts as having slept."""
    perform(QUIESCENT, domain(TasksDomain))


@contextmanager
def user_mode() -> Iterator[None]:
    """The block is the task's own program: Tasks RCU does not wait for it, and it may not begin a reader."""
    task = current_task()
    if task.rcu_nesting:
        suspicious("Illegal idle entry in RCU read-side critical section")
    perform(USER_ENTER, task)
    try:
        yield
    finally:
        perform(USER_EXIT, task)
