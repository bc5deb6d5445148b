"""Random walk: at each switch point every runnable task is equally likely."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from concurrency.task import Task


class RandomWalk:
    """Chooses uniformly at each switch point; execution `i` depends on (`seed`, `i`) only."""

    name = "random"

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._random = Random()
        self._draw = self._random.random
        self.lease = 1

    def begin(self, execution: int) -> None:
        """Start the random stream of this execution."""
        self._random.seed(self._seed * 1_000_000_007 + execution)

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:  # noqa: ARG002
        """Any runnable task."""
        return runnable[int(self._draw() * len(runnable))]

    def data(self, n: int, label: str) -> int:  # noqa: ARG002
        """Any value."""
        return int(self._draw() * n)

    def end(self, steps: int, forced: int) -> None:
        """Nothing is carried over."""
