"""The shared work queue "events" and its one kernel thread. Kernel: kernel/workqueue.c, v2.6.27.

Whoever waits for the queue to be done (`flush_workqueue`) waits for all work that was queued before, whoever queued
it, and so for every lock that this work takes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sugarbush.concurrency import Completion, might_sleep
from sugarbush.concurrency.lowlevel import Operation, perform

if TYPE_CHECKING:
    from sugarbush.concurrency.core import Place


class Workqueue:
    """Work in the order in which it was queued; `stopped` once no more will come."""

    __slots__ = ("stopped", "work")

    def __init__(self) -> None:
        self.work: deque[Callable[[], None]] = deque()
        self.stopped = False


def _queue(queue: Workqueue, _task: Any, work: Callable[[], None]) -> None:
    queue.work.append(work)


def _stop(queue: Workqueue, _task: Any, _arg: Any) -> None:
    queue.stopped = True


def _due(queue: Workqueue, _task: Any) -> bool:
    return bool(queue.work) or queue.stopped


def _next(queue: Workqueue, _task: Any, _arg: Any) -> Callable[[], None] | None:
    return queue.work.popleft() if queue.work else None


def _all_of(queue: Workqueue, _task: Any, _arg: Any) -> list[Place]:
    return [(queue, None, True)]


_ORDER = ("work",)
QUEUE = Operation("queue_work", effect=_queue, wakes=True, releases=_ORDER, touches=_all_of)
STOP = Operation("kthread_stop", effect=_stop, wakes=True, releases=_ORDER, touches=_all_of)
NEXT = Operation("worker_thread", ready=_due, effect=_next, acquires=_ORDER, touches=_all_of)


def queue_work(queue: Workqueue, work: Callable[[], None]) -> None:
    """Let the kernel thread call `work`, some time."""
    perform(QUEUE, queue, work)


def flush_workqueue(queue: Workqueue) -> None:
    """Wait until all work that was queued before is done."""
    done = Completion("barrier")
    # Behind all that is there: one thread does it in order, so when this is done the rest is.
    queue_work(queue, done.complete)
    done.wait()


def worker_thread(queue: Workqueue) -> None:
    """The kernel thread: do what is queued, one after the other, until the queue is destroyed."""
    while (work := _take(queue)) is not None:
        # With no lock held, and whatever locks the work takes: those are what a flush of the queue waits for.
        work()


def destroy_workqueue(queue: Workqueue) -> None:
    """No more work comes; the thread ends when it has done what there is."""
    perform(STOP, queue)


def _take(queue: Workqueue) -> Callable[[], None] | None:
    might_sleep()
    work: Callable[[], None] | None = perform(NEXT, queue)
    return work
