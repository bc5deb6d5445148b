"""PCT: probabilistic concurrency testing.

Burckhardt, Kothari, Musuvathi, Nagarakatte, "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs",
ASPLOS 2010, section 2. Each task has a random priority; the highest that can run runs. At d-1 random points the task
that would go on falls below all others. A bug of depth d among n tasks and k switch points is found with probability
at least 1 / (n * k**(d-1)) in each execution.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from random import Random
from typing import Any

from sugarbush.concurrency.core import MANY, Task, task_number
from sugarbush.concurrency.strategies.base import seeded

_FIRST_GUESS = 128
"""Switch points of the first execution, before any was counted. What PCT promises holds from the next round on."""
_FOR_EVER = 1 << 60
_LOWEST = float("-inf")


DEFAULT_DEPTH = 4
"""The silent form of the brk bug needs four orderings (medians in docs/seed.md)."""


class PCT:
    """PCT of depth `depth` (the number of ordering constraints a bug may need, at least 1).

    k, the number of switch points, is `knows`: the largest seen in earlier rounds of executions (0: none yet). Points
    at which only one task could run do not count: whatever would be lowered there is the next to go on at the next
    switch point, too. n counts every task, the one that spawns the others as well.
    """

    name = "pct"
    numbers = None

    def __init__(self, seed: int, depth: int = DEFAULT_DEPTH) -> None:
        self._seed = seed
        self._depth = depth
        self._random = Random()
        self.knows = 0
        self._longest = 0
        self._priority: dict[Task, float] = {}
        self._met = 0
        """All tasks below this number have a priority."""
        self._changes: list[tuple[int, float]] = []
        self.lease = 1

    def begin(self, execution: int) -> None:
        """Draw the change points; the earliest stands last."""
        draw = self._random.random
        seeded(self._random, self._seed, execution)
        self._priority.clear()
        self._met = 0
        length = self.knows or _FIRST_GUESS
        # Drawn priorities lie from 0 to 1, so each of these levels is below all of them. Points come at random, so
        # that which of two lowered tasks is the lower one is random, too.
        below = [-1.0 - level for level in range(self._depth - 1)]
        self._changes = sorted([(1 + int(draw() * length), level) for level in below], reverse=True)

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:  # noqa: ARG002
        """The runnable task of the highest priority; at a change point that one is lowered first."""
        now = step - forced
        priority = self._priority
        # Tasks are numbered as they come, so with many of them only those behind the last one met are looked at.
        if len(runnable) < MANY:
            # As below and `_highest`, in one go.
            chosen, highest = runnable[0], _LOWEST
            for task in runnable:
                level = priority.get(task)
                if level is None:
                    level = priority[task] = self._random.random()
                    self._met += task.id == self._met
                if level > highest:
                    chosen, highest = task, level
        else:
            for task in runnable[bisect_left(runnable, self._met, key=task_number) :]:
                if task not in priority:
                    priority[task] = self._random.random()
                    self._met += task.id == self._met
            chosen = self._highest(runnable)
        # The task that would go on falls, and not the one that ran last: that one may have to wait by now, and then
        # the point would be lost and the promise with it.
        changes = self._changes
        while changes and changes[-1][0] <= now:
            priority[chosen] = changes.pop()[1]
            chosen = self._highest(runnable)
        self.lease = changes[-1][0] - now if changes else _FOR_EVER
        return chosen

    def _highest(self, runnable: Sequence[Task]) -> Task:
        """The task of the highest priority; as max() with a key, which costs several times as much for a few tasks."""
        priority = self._priority
        if len(runnable) >= MANY:
            return max(runnable, key=priority.__getitem__)
        best, highest = runnable[0], _LOWEST
        for task in runnable:
            level = priority[task]
            if level > highest:
                best, highest = task, level
        return best

    def data(self, n: int, label: str) -> int:  # noqa: ARG002
        """Any value."""
        return int(self._random.random() * n)

    def end(self, steps: int, forced: int) -> None:
        """Note the longest execution."""
        self._longest = max(self._longest, steps - forced)

    @property
    def teaches(self) -> Any:
        """A lesson is a number of switch points."""
        return int

    def lessons(self) -> list[int]:
        """How many switch points the longest execution since the last call had."""
        longest, self._longest = self._longest, 0
        return [longest]

    def learn(self, lessons: list[int]) -> None:
        """Take over the largest number of switch points of a whole round."""
        self.knows = max([self.knows, *lessons])
