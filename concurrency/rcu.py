"""RCU: readers that never wait, and grace periods that end when the readers from before have ended.

Kernel: Documentation/RCU/Design/Requirements/Requirements.rst, v6.6. A grace period ends here as early as the rules
allow: as soon as every outermost reader that began before it has ended. What the kernel would delay, the strategy
may delay too, so whatever a late grace period would show is shown as well.

Callbacks run, in the order of their calls, in a daemon task named ``rcu``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from concurrency.context import might_sleep
from concurrency.failure import Failure, Kind
from concurrency.operation import Operation
from concurrency.runtime import active, current_task, domain, fail, perform
from concurrency.site import caller
from concurrency.task import Task


class RcuDomain:
    """The readers and callbacks of one execution. Grace periods are numbered by the readers begun before them."""

    name = "rcu"

    def __init__(self) -> None:
        self.begun = 0
        self.readers: dict[Task, int] = {}
        """The outermost readers that are open, with their numbers."""
        self.callbacks: deque[tuple[int, Callable[[Any], object], Any]] = deque()
        self.waiting: dict[Task, int] = {}
        self.queued = 0
        self.ran = 0

    @property
    def holders(self) -> tuple[Task, ...]:
        """The tasks inside a reader."""
        return tuple(self.readers)

    def elapsed(self, before: int) -> bool:
        """All readers with a number below `before` have ended."""
        return all(number >= before for number in self.readers.values())


def _lock(rcu: RcuDomain, task: Task, _arg: object) -> None:
    task.rcu_nesting += 1
    if task.rcu_nesting == 1:
        rcu.readers[task] = rcu.begun
        rcu.begun += 1


def _unlock(rcu: RcuDomain, task: Task, _arg: object) -> None:
    if task.rcu_nesting == 0:
        fail(
            Failure(
                Kind.RCU, "WARNING: bad unlock balance detected!", "rcu_read_unlock() without rcu_read_lock()"
            )
        )
    task.rcu_nesting -= 1
    if task.rcu_nesting == 0:
        del rcu.readers[task]


def _begin_wait(rcu: RcuDomain, task: Task, _arg: object) -> None:
    rcu.waiting[task] = rcu.begun


def _grace_period_over(rcu: RcuDomain, task: Task) -> bool:
    return rcu.elapsed(rcu.waiting[task])


def _end_wait(rcu: RcuDomain, task: Task, _arg: object) -> None:
    del rcu.waiting[task]


def _queue(rcu: RcuDomain, _task: Task, arg: tuple[Callable[[Any], object], Any]) -> bool:
    """Whether this is the first callback of the execution, so that the caller has to start the thread."""
    rcu.callbacks.append((rcu.begun, *arg))
    rcu.queued += 1
    return rcu.queued == 1


def _callback_ready(rcu: RcuDomain, _task: Task) -> bool:
    return bool(rcu.callbacks) and rcu.elapsed(rcu.callbacks[0][0])


def _take_callback(rcu: RcuDomain, _task: Task, _arg: object) -> tuple[Callable[[Any], object], Any]:
    _, fn, arg = rcu.callbacks.popleft()
    return fn, arg


def _callback_done(rcu: RcuDomain, _task: Task, _arg: object) -> None:
    rcu.ran += 1


def _begin_barrier(rcu: RcuDomain, task: Task, _arg: object) -> None:
    rcu.waiting[task] = rcu.queued


def _barrier_over(rcu: RcuDomain, task: Task) -> bool:
    return rcu.ran >= rcu.waiting[task]


_READERS = ("readers",)
RCU_READ_LOCK = Operation("rcu_read_lock", effect=_lock)
RCU_READ_UNLOCK = Operation("rcu_read_unlock", effect=_unlock, wakes=True, releases=_READERS)
SYNCHRONIZE_RCU = Operation("synchronize_rcu", effect=_begin_wait)
SYNCHRONIZE_RCU_WAIT = Operation(
    "synchronize_rcu_wait", ready=_grace_period_over, effect=_end_wait, wakes=True, acquires=_READERS
)
CALL_RCU = Operation("call_rcu", effect=_queue, wakes=True, releases=("callbacks",))
RCU_CALLBACK = Operation(
    "rcu_callback",
    ready=_callback_ready,
    effect=_take_callback,
    wakes=True,
    acquires=("callbacks", "readers"),
)
RCU_CALLBACK_DONE = Operation("rcu_callback_done", effect=_callback_done, wakes=True, releases=("done",))
RCU_BARRIER = Operation("rcu_barrier", effect=_begin_barrier)
RCU_BARRIER_WAIT = Operation("rcu_barrier_wait", ready=_barrier_over, effect=_end_wait, acquires=("done",))


def rcu_read_lock() -> None:
    """Begin a reader; nests."""
    perform(RCU_READ_LOCK, domain(RcuDomain))


def rcu_read_unlock() -> None:
    """End the innermost reader of the calling task."""
    rcu = domain(RcuDomain)
    perform(RCU_READ_UNLOCK, rcu)
    if active.runtime is None:
        _drain(rcu)


@contextmanager
def rcu_reader() -> Iterator[None]:
    """An RCU read-side critical section, as a `with` block."""
    rcu_read_lock()
    try:
        yield
    finally:
        rcu_read_unlock()


def rcu_read_lock_held() -> bool:
    """The calling task is inside a reader."""
    return current_task().rcu_nesting > 0


def synchronize_rcu() -> None:
    """Wait until every reader that has begun before this call has ended."""
    _may_wait("synchronize_rcu")
    rcu = domain(RcuDomain)
    perform(SYNCHRONIZE_RCU, rcu)
    perform(SYNCHRONIZE_RCU_WAIT, rcu)


def call_rcu(fn: Callable[[Any], object], arg: Any) -> None:
    """Have `fn(arg)` called after a grace period, in another task; `fn` must not sleep."""
    rcu = domain(RcuDomain)
    first = perform(CALL_RCU, rcu, (fn, arg))
    rt = active.runtime
    if rt is None:
        _drain(rcu)
    elif first:
        rt.spawn(_run_callbacks, (rcu,), "rcu", True)


def rcu_barrier() -> None:
    """Wait until all callbacks queued before this call have run; not itself a grace period."""
    _may_wait("rcu_barrier")
    rcu = domain(RcuDomain)
    perform(RCU_BARRIER, rcu)
    perform(RCU_BARRIER_WAIT, rcu)


def _may_wait(operation: str) -> None:
    if rcu_read_lock_held():
        fail(
            Failure(
                Kind.RCU,
                "WARNING: suspicious RCU usage",
                f"{caller()} Illegal {operation}() in RCU read-side critical section!",
            )
        )
    might_sleep()


def _run_callbacks(rcu: RcuDomain) -> None:
    task = current_task()
    while True:
        fn, arg = perform(RCU_CALLBACK, rcu)
        task.preempt_count += 1
        fn(arg)
        task.preempt_count -= 1
        perform(RCU_CALLBACK_DONE, rcu)


def _drain(rcu: RcuDomain) -> None:
    """Outside an execution: run what may run."""
    while rcu.callbacks and not rcu.readers:
        _, fn, arg = rcu.callbacks.popleft()
        fn(arg)
        rcu.ran += 1
