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
    """One queue for each task that has called: the callbacks of one CPU run in order."""

    __slots__ = ("keys", "queued", "queues", "running", "waiting")

    def __init__(self) -> None:
        self.queues: dict[Task, deque[Queued]] = {}
        self.queued = 0
        self.running = 0
        """The number of the callback that runs; 0 for none."""
        self.waiting: dict[Task, int] = {}
        """Who is in rcu_barrier(), and for the callbacks up to which number."""
        self.keys: dict[int, tuple[object, str]] = {}
        """What is queued now, by its id, and who queued it where."""

    def add(self, task: Task, grace_period: int, fn: Function, arg: Any, key: object, where: str) -> None:
        """`task` queues a callback."""
        self.queued += 1
        self.queues.setdefault(task, deque()).append(Queued(grace_period, self.queued, fn, arg, key))
        if key is not None:
            self.keys[id(key)] = (key, where)

    def take(self, task: Task) -> Queued:
        """The first callback of `task` runs from now on."""
        queue = self.queues[task]
        first = queue.popleft()
        if not queue:
            del self.queues[task]
        if first.key is not None:
            del self.keys[id(first.key)]
        self.running = first.number
        return first

    def all_ran(self, number: int) -> bool:
        """Every callback up to `number` has run."""
        if 0 < self.running <= number:
            return False
        return all(queue[0].number > number for queue in self.queues.values())

    @property
    def left(self) -> int:
        """How many have not begun to run."""
        return sum(map(len, self.queues.values()))
