"""What a strategy is: the one place where choices are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from concurrency.task import Task


class Strategy(Protocol):
    """Makes the choices of one execution after another.

    `lease` is read after each `choose`: for how many announced operations the answer stands as long as no other
    task becomes runnable (at least 1). A long lease is what makes a strategy cheap.
    """

    name: str
    lease: int

    def begin(self, execution: int) -> None:
        """Execution number `execution` (from 0) starts."""

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:
        """Who goes on? `runnable` has at least two tasks, by number.

        `current` is the task that has just announced an operation; None if it cannot go on. `step` counts the
        operations announced so far, `forced` those among them at which only one task could run.
        """

    def data(self, n: int, label: str) -> int:
        """A choice in range(n) that is not a task."""

    def end(self, steps: int, forced: int) -> None:
        """The execution has ended after `steps` operations, `forced` of them without a choice."""
