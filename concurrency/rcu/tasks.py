"""Tasks RCU: a grace period waits until every task has slept of its own accord, or runs in user mode.

Kernel: kernel/rcu/tasks.h, v6.6: what frees a trampoline that tasks may have been preempted in. A task sleeps when it
waits for anything but a spinlock. Where it could have slept (it took a mutex that was free), it may have.
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
    """Tasks RCU in one execution: every task that runs is a reader."""

    __slots__ = ()
    every_task_reads = True

    def __init__(self) -> None:
        super().__init__("rcu_tasks")
        self.stalls = StallWatch(self, "rcu_tasks")

    def open_readers(self) -> Iterable[Task]:
        """See `GracePeriods.open_readers`."""
        rt = active.runtime
        if rt is None:
            return
        for task in rt.tasks:
            if not (task.ended or task.user_mode or rt.asleep(task)):
                if not self.holdouts:
                    rt.watch(self)
                yield task

    def wait_for(self, reader: Task, number: int) -> None:
        """See `GracePeriods.wait_for`."""
        rt = active.runtime
        if rt is not None and not self.holdouts:
            rt.watch(self)
        super().wait_for(reader, number)

    def task_of(self, reader: Task) -> Task:
        """See `GracePeriods.task_of`."""
        return reader

    def describe(self, reader: Task) -> str:
        """See `GracePeriods.describe`."""
        return f"{reader.name}: has not slept since"

    def awaited(self, task: Task) -> Mapping[Task, str]:
        """See `waiting.awaited`. Who sleeps holds nothing up, although it is struck off a moment later."""
        # The runtime looks for a circle when a task begins to wait, and tells those who watch after that. Without this
        # whoever waits for a grace period would be found to wait for itself.
        rt = active.runtime
        return {
            other: how
            for other, how in super().awaited(task).items()
            if rt is None or other.op is None or other.op.spins or not rt.waits(other)
        }

    def looked(self, task: Task, op: Operation) -> bool:
        """`task` does something or waits for it: see whether it sleeps."""
        sleeps = op.ready is not None and not op.spins
        if task not in self.holdouts or not (sleeps or task.ended or task.user_mode or op is QUIESCENT):
            return False
        del self.holdouts[task]
        rt = active.runtime
        if rt is not None and not self.holdouts:
            rt.unwatch(self)
        return True


def _nothing(_rcu: TasksDomain, _task: Task, _arg: object) -> None:
    """The task is seen to pass here."""


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
    """The calling task says that it is in no trampoline here."""
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
