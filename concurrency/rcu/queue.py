"""The callbacks of one flavour that have not run, and the heads by which they are queued.

They are apart from the numbers in `GracePeriods`, on which operations wait: a copy that a reduced search makes of
those shares this object, so an effect that is made on a copy must not change it (`callbacks._queue`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from sugarbush.concurrency.core import Task

Function = Callable[[Any], object]


class RcuHead:
    """The memory by which a callback is queued: one head can be queued once at a time.

    Kernel: struct rcu_head with CONFIG_DEBUG_OBJECTS_RCU_HEAD. `call_rcu` works without a head; if it is given one,
    that is checked.
    """

    __slots__ = ("name", "stack")

    def __init__(self, name: str = "rcu_head") -> None:
        self.name = name
        self.stack: Task | None = None
        """The task on whose stack it lies (`init_rcu_head_on_stack`); None if it lies elsewhere."""

    def __repr__(self) -> str:
        return f"<RcuHead {self.name}>"


class Queued(NamedTuple):
    """A callback that has not run. `key` must not be queued twice, `where` says what has queued it."""

    fn: Function
    arg: Any
    key: object = None
    where: str = ""


class CallbackQueues:
    """What tasks have queued: one queue for each, as each CPU has its own."""

    __slots__ = ("keys", "queues")

    def __init__(self) -> None:
        self.queues: dict[Task, deque[tuple[int, Queued]]] = {}
        """The callbacks, each with its grace period."""
        self.keys: dict[int, Queued] = {}
        """The callbacks that are queued now, by the ids of their keys; each holds its key, so an id stays its own."""

    def add(self, task: Task, grace_period: int, callback: Queued) -> None:
        """Queue a callback of `task`, for after this grace period."""
        self.queues.setdefault(task, deque()).append((grace_period, callback))
        if callback.key is not None:
            self.keys[id(callback.key)] = callback

    def take(self, task: Task) -> tuple[Queued, int | None]:
        """Take out the first callback of `task`; gives also the grace period that the next one waits for, or None."""
        queue = self.queues[task]
        _, first = queue.popleft()
        if first.key is not None:
            del self.keys[id(first.key)]
        return first, queue[0][0] if queue else None
