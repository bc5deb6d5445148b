"""The callbacks of one flavour that have not run, and the heads by which they are queued."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from sugarbush.concurrency.core import Task

Function = Callable[[Any], object]


class RcuHead:
    """What a callback is queued by: it can wait for one grace period at a time.

    Kernel: struct rcu_head with CONFIG_DEBUG_OBJECTS_RCU_HEAD. `call_rcu` works without a head; one that it is given
    is checked.
    """

    __slots__ = ("name", "stack")

    def __init__(self, name: str = "rcu_head") -> None:
        self.name = name
        self.stack: Task | None = None
        """The task on whose stack it is."""

    def __repr__(self) -> str:
        return f"<RcuHead {self.name}>"


class Queued(NamedTuple):
    """A callback. `key` is what must not be queued twice, `where` who queued it."""

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
        """What is queued now, by the id of its key."""

    def add(self, task: Task, grace_period: int, callback: Queued) -> None:
        """`task` queues a callback."""
        self.queues.setdefault(task, deque()).append((grace_period, callback))
        if callback.key is not None:
            self.keys[id(callback.key)] = callback

    def take(self, task: Task) -> tuple[Queued, int | None]:
        """The first callback of `task`, and the grace period that the next one waits for, if there is one."""
        queue = self.queues[task]
        _, first = queue.popleft()
        if first.key is not None:
            del self.keys[id(first.key)]
        return first, queue[0][0] if queue else None
