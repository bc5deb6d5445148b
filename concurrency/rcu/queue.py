"""The callbacks of one flavour that have not run, and the heads by which they are queued."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from concurrency.task import Task

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
    """A callback: which grace period it waits for, and the how manyth it is. `key` is what must not be queued twice."""

    grace_period: int
    number: int
    fn: Function
    arg: Any
    key: object


class CallbackQueues:
    """One queue for each task that has called, as each CPU has its own, and a task that serves it."""

    __slots__ = ("keys", "queued", "queues", "running", "served", "waiting")

    def __init__(self) -> None:
        self.queues: dict[Task, deque[Queued]] = {}
        """What each task has queued; a queue that was filled once stays."""
        self.served: dict[Task, Task] = {}
        """For each task that runs callbacks, whose they are."""
        self.queued = 0
        self.running: dict[Task, int] = {}
        """The numbers of the callbacks that run now, by who queued them."""
        self.waiting: dict[Task, int] = {}
        """Who is in rcu_barrier(), and for the callbacks up to which number."""
        self.keys: dict[int, tuple[object, str]] = {}
        """What is queued now, by its id, and who queued it where."""

    def add(self, task: Task, grace_period: int, fn: Function, arg: Any, key: object, where: str) -> bool:
        """`task` queues a callback; gives whether it is its first."""
        self.queued += 1
        first = task not in self.queues
        self.queues.setdefault(task, deque()).append(Queued(grace_period, self.queued, fn, arg, key))
        if key is not None:
            self.keys[id(key)] = (key, where)
        return first

    def take(self, task: Task) -> Queued:
        """The first callback of `task` runs from now on."""
        first = self.queues[task].popleft()
        if first.key is not None:
            del self.keys[id(first.key)]
        self.running[task] = first.number
        return first

    def all_ran(self, number: int) -> bool:
        """Every callback up to `number` has run."""
        waits = [queue[0].number for queue in self.queues.values() if queue]
        return all(left > number for left in (*waits, *self.running.values()))

    @property
    def left(self) -> int:
        """How many have not run."""
        return sum(map(len, self.queues.values())) + len(self.running)
