"""SRCU: domains of their own, whose readers may sleep.

Kernel: kernel/rcu/srcutree.c, v6.6. An index names one reader, so that a wrong one is always seen; in the kernel it
is 0 or 1. The lock validator sees readers, and grace periods as a wait for them.

>>> from sugarbush import explore
>>> def program():
...     one, other = SrcuStruct("one"), SrcuStruct("other")
...     index = srcu_read_lock(one)
...     srcu_read_unlock(other, index)
>>> explore(program, executions=1).failures[0].failure.headline
'WARNING: bad unlock balance detected!'
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from sugarbush.concurrency.core import (
    Dep,
    Failure,
    Fence,
    Footprint,
    Kind,
    Moment,
    Operation,
    Task,
    active,
    caller,
    checked,
    current_task,
    domain,
    fail,
    might_sleep,
    of_oneself,
    perform,
    position,
)
from sugarbush.concurrency.locks import lock_class_key
from sugarbush.concurrency.rcu.callbacks import callback_operations, drain, queue_callback, wait_for_callbacks
from sugarbush.concurrency.rcu.domain import GracePeriods, begin_wait
from sugarbush.concurrency.rcu.queue import Function
from sugarbush.concurrency.rcu.report import suspicious
from sugarbush.concurrency.rcu.sync import poll, take_cookie, wait_for_readers, wait_operations
from sugarbush.lockdep import LockMap

_MANY = 1_000_000
"""More than there are tasks in an execution, domains of one task, or readers that one task begins: an index is made of
these three numbers. More of one of them would make two readers share an index."""


class _Domains:
    """Numbers the domains of one execution: by the task that makes one, and how many that task has made before."""

    def __init__(self) -> None:
        self.counts: dict[Task, int] = {}

    def number(self, task: Task) -> int:
        """The number of a domain that `task` makes now."""
        # Not one count for all tasks: to make a domain is no operation, so its number must not depend on what other
        # tasks have made by then.
        count = self.counts[task] = self.counts.get(task, 0) + 1
        return task.id * _MANY + count


class SrcuStruct(GracePeriods[int]):
    """A domain of readers and grace periods. Domains of one name share their lock class."""

    __slots__ = ("counts", "dep_map", "number", "open")

    def __init__(self, name: str = "srcu") -> None:
        super().__init__(name)
        self.dep_map = LockMap(lock_class_key(name), name)
        self.open: dict[int, Task] = {}
        """The readers, by index."""
        self.number = domain(_Domains).number(current_task())
        # Not one count for all tasks: the begins of two readers commute, so the index that one of them gets must
        # not depend on whether the other one came first.
        self.counts: dict[Task, int] = {}
        """How many readers each task has begun."""

    def open_readers(self) -> Iterable[int]:
        """The indices of the open readers of this domain."""
        return self.open

    def task_of(self, reader: int) -> Task:
        """The task that has begun the reader of this index."""
        return self.open[reader]

    def describe(self, reader: int) -> str:
        """The task, the domain and the index of a reader."""
        return f"{self.open[reader].name}: SRCU reader of {self.name}, index {reader}"

    def times_held(self, task: Task) -> int:
        """How many readers of this domain `task` has open."""
        return len(self.held_by(task))

    @of_oneself
    def held_by(self, task: Task) -> list[int]:
        """The indices of the readers that `task` has open."""
        return [index for index, reader in self.open.items() if reader is task]


def _lock(ssp: SrcuStruct, task: Task, _arg: object) -> int:
    count = ssp.counts.get(task, 0)
    ssp.counts[task] = count + 1
    # Made of how many readers the task has begun here, its number, and that of the domain.
    index = (count * _MANY + task.id) * _MANY**2 + ssp.number
    ssp.open[index] = task
    return index


def _unlock(ssp: SrcuStruct, task: Task, index: int | None) -> None:
    # None where a search makes the effect on a copy: then the newest reader of the task is meant.
    if index is None:
        index = ssp.held_by(task)[-1]
    if ssp.open.get(index) is not task:
        mine = ", ".join(map(str, ssp.held_by(task))) or "none"
        fail(
            Failure(
                Kind.RCU,
                "WARNING: bad unlock balance detected!",
                "\n".join(
                    [
                        f"srcu_read_unlock({ssp.name}, {index}): {task.name} has no reader of this domain with that "
                        f"index; it has {mine}",
                        f"at {caller()}",
                        *position(task),
                    ]
                ),
            )
        )
    del ssp.open[index]
    ssp.holdouts.pop(index, None)


def _up(ssp: SrcuStruct, task: Task, index: int | None) -> None:
    if index is None:
        # A search that makes the effect on a copy has no argument; the oldest reader then stands for the one that
        # is meant.
        index = next(iter(ssp.open), 0)
    if index not in ssp.open:
        open_ = ", ".join(map(str, ssp.open)) or "none"
        fail(
            Failure(
                Kind.RCU,
                "WARNING: bad unlock balance detected!",
                "\n".join(
                    [
                        f"srcu_up_read({ssp.name}, {index}) by {task.name}: this domain has no reader of that "
                        f"index; it has {open_}",
                        f"at {caller()}",
                        *position(task),
                    ]
                ),
            )
        )
    del ssp.open[index]
    ssp.holdouts.pop(index, None)


SRCU_READ_LOCK = Operation(
    "srcu_read_lock",
    effect=_lock,
    footprint=Footprint.READER_BEGINS,
    wakes=False,
    dep=Dep.ACQUIRE_RECURSIVE,
    rcu=Moment.BEGINS,
)
SRCU_READ_UNLOCK = Operation(
    "srcu_read_unlock",
    effect=_unlock,
    footprint=Footprint.READER_ENDS,
    wakes=True,
    dep=Dep.RELEASE,
    rcu=Moment.ENDS,
)
# No `dep`: the lock validator has no notion of a lock that one task takes and another one gives back. So it hears of
# neither, as in the kernel (include/linux/srcu.h, v6.6: no srcu_lock_acquire() there).
SRCU_DOWN_READ = Operation("srcu_down_read", effect=_lock, wakes=False, rcu=Moment.BEGINS, local=True)
SRCU_UP_READ = Operation("srcu_up_read", effect=_up, wakes=True, rcu=Moment.ENDS, local=True)
SRCU_WAITS = wait_operations("srcu", grace=False)._replace(
    begin=Operation(
        "synchronize_srcu",
        effect=begin_wait,
        footprint=Footprint.GRACE_BEGINS,
        dep=Dep.SYNC,
        rcu=Moment.WAIT,
        before=Fence.MB,
    )
)
SRCU_CALLBACKS = callback_operations("call_srcu", "srcu_barrier", grace=False)


def srcu_read_lock(ssp: SrcuStruct) -> int:
    """Begin a reader; gives the index for its `srcu_read_unlock`."""
    return int(perform(SRCU_READ_LOCK, ssp))


def srcu_read_unlock(ssp: SrcuStruct, index: int) -> None:
    """End the reader of this index; a report unless the calling task began it in this domain."""
    perform(SRCU_READ_UNLOCK, ssp, index)
    if active.runtime is None:
        drain(ssp)


def srcu_down_read(ssp: SrcuStruct) -> int:
    """Begin a reader that any task may end, by `srcu_up_read` with the index that this gives."""
    return int(perform(SRCU_DOWN_READ, ssp))


def srcu_up_read(ssp: SrcuStruct, index: int) -> None:
    """End a reader that `srcu_down_read` has begun, in whatever task; a report if there is none of this index."""
    perform(SRCU_UP_READ, ssp, index)
    if active.runtime is None:
        drain(ssp)


@contextmanager
def srcu_reader(ssp: SrcuStruct) -> Iterator[None]:
    """An SRCU read-side critical section, as a `with` block."""
    index = srcu_read_lock(ssp)
    try:
        yield
    finally:
        srcu_read_unlock(ssp, index)


def srcu_read_lock_held(ssp: SrcuStruct) -> bool:
    """The calling task is inside a reader of this domain."""
    return bool(ssp.held_by(current_task()))


def synchronize_srcu(ssp: SrcuStruct) -> None:
    """Wait until every reader of this domain that has begun before has ended."""
    _may_wait(ssp, "synchronize_srcu")
    wait_for_readers(ssp, SRCU_WAITS)


def synchronize_srcu_expedited(ssp: SrcuStruct) -> None:
    """As `synchronize_srcu`."""
    _may_wait(ssp, "synchronize_srcu_expedited")
    wait_for_readers(ssp, SRCU_WAITS)


def call_srcu(ssp: SrcuStruct, fn: Function, arg: Any) -> None:
    """Have `fn(arg)` called after a grace period of this domain, in another task; `fn` must not sleep."""
    queue_callback(ssp, SRCU_CALLBACKS, fn, arg)


def srcu_barrier(ssp: SrcuStruct) -> None:
    """Wait until all callbacks of this domain that were queued before have run."""
    _may_wait(ssp, "srcu_barrier")
    wait_for_callbacks(ssp, SRCU_CALLBACKS)


def get_state_synchronize_srcu(ssp: SrcuStruct) -> int:
    """A cookie for `poll_state_synchronize_srcu`; begins no grace period."""
    return take_cookie(SRCU_WAITS.get_state, ssp)


def start_poll_synchronize_srcu(ssp: SrcuStruct) -> int:
    """Begin a grace period of this domain, and give a cookie for it."""
    return take_cookie(SRCU_WAITS.start, ssp)


def poll_state_synchronize_srcu(ssp: SrcuStruct, cookie: int) -> bool:
    """Whether a grace period that began after `cookie` was taken is over; false for ever if no task begins one."""
    return poll(ssp, SRCU_WAITS, cookie)


def cleanup_srcu_struct(ssp: SrcuStruct) -> None:
    """Say that the domain goes; a report if it has a reader, or a callback that has not run."""
    perform(CLEANUP_SRCU_STRUCT, ssp)


def _clean_up(ssp: SrcuStruct, _task: Task, _arg: object) -> None:
    left = [f"{task.name} is a reader" for task in ssp.open.values()]
    if ssp.callbacks_left:
        left.append(f"{ssp.callbacks_left} callbacks have not run")
    if left and checked("rcu"):
        fail(
            Failure(
                Kind.RCU,
                f"WARNING: cleanup_srcu_struct(): active srcu_struct {ssp.name}",
                "\n".join([*left, f"at {caller()}", *position(current_task())]),
                check="rcu",
            )
        )


# No reading access, although it only looks: so it depends on readers and callbacks, and a search tries it before
# and after each of them.
CLEANUP_SRCU_STRUCT = Operation("cleanup_srcu_struct", effect=_clean_up, local=True)


def _may_wait(ssp: SrcuStruct, operation: str) -> None:
    """Report a wait for the readers of this domain inside of one of them, or where the task may not sleep."""
    task = current_task()
    if ssp.held_by(task) or task.rcu_nesting:
        suspicious(f"Illegal {operation}() in same-type SRCU (or in RCU) read-side critical section")
    might_sleep()
