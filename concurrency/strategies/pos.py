"""POS: partial order sampling.

Yuan, Yang, Gu, "Partial Order Aware Concurrency Sampling", CAV 2018, section 3. Each announced operation has a random
priority and the highest goes on; whenever one goes on, those that depend on it draw a new one. So the order of two
dependent operations does not depend on those before, and the many orders of others do not dilute it.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from sugarbush.concurrency.checks import Dependence
from sugarbush.concurrency.core import Observer, Operation, Task
from sugarbush.concurrency.strategies.base import seeded


class _Pending(Observer):
    """What each task has announced, with a priority that is drawn when it does."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.announced_by: dict[int, tuple[Operation, object]] = {}
        self.priority: dict[int, float] = {}

    def reset(self) -> None:
        """A new execution starts."""
        self.announced_by.clear()
        self.priority.clear()

    def spawned(self, parent: Task | None, task: Task) -> None:  # noqa: ARG002
        """A task that has not begun has a priority, too: its start is chosen as an operation is."""
        self.priority[task.id] = self._random.random()

    def announced(self, task: Task, op: Operation, obj: object) -> None:
        """Draw the priority of the operation that the task has announced."""
        self.announced_by[task.id] = (op, obj)
        self.priority[task.id] = self._random.random()


class POS:
    """Partial order sampling; execution `i` depends on (`seed`, `i`) only."""

    name = "pos"
    numbers = None
    lease = 1

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._random = Random()
        self._pending = _Pending(self._random)
        # By the plain relation, also under weak memory or with faults: a wrong answer costs a number here, and no
        # schedule.
        self._dependent = Dependence().dependent
        self.listener: Observer = self._pending

    def begin(self, execution: int) -> None:
        """Start the random stream of this execution."""
        seeded(self._random, self._seed, execution)
        self._pending.reset()

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:  # noqa: ARG002
        """The task whose operation has the highest priority; what depends on it is drawn again."""
        priority = self._pending.priority
        chosen = max(runnable, key=lambda task: priority[task.id])
        announced = self._pending.announced_by
        due = announced.get(chosen.id)
        if due is not None:
            op, obj = due
            for task in runnable:
                other = announced.get(task.id)
                if task is not chosen and other is not None and self._dependent(op, obj, *other):
                    priority[task.id] = self._random.random()
        return chosen

    def data(self, n: int, label: str) -> int:  # noqa: ARG002
        """Any value."""
        return int(self._random.random() * n)

    def end(self, steps: int, forced: int) -> None:
        """Nothing is carried over."""
