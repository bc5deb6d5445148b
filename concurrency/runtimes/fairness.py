"""Fair turns: round robin, whatever the strategy would choose.

A program that does not end may be wrong, or the strategy may have starved a task: a walk with priorities lets one
task spin for ever. What does not end under fair turns either is not the strategy's doing, and only then is it reported
as a failure. Which operation the turns begin with follows from the program and the schedule alone, so they replay.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from itertools import pairwise

from sugarbush.concurrency.core import Operation, Task, task_number

QUANTUM = 100
"""A turn, in operations, when tasks are scheduled fairly."""


class Fairness:
    """The part of `Simulated` that gives turns."""

    steps: int
    step: Callable[[Operation, object], None]
    _choose: Callable[[Task | None, int], Task]
    _reach_limit: Callable[[int], None]
    _step: Callable[[Operation, object], None]
    _step_leased: Callable[[Operation, object], None]
    _step_uniform: Callable[[Operation, object], None]
    _runnable: list[Task]
    _who: list[Task]
    _when: list[int]
    _heard: bool
    _decide_at: int
    _quiet_until: int
    _limit: int

    def _begin_unfair(self) -> None:
        """A new execution: the strategy chooses."""
        self._inner = self._step
        self._watching = False
        self._fair_since = -1
        self._fair_from = 0
        self._turn = -1
        self._turn_ends = 0

    def _step_by(self, step: Callable[[Operation, object], None]) -> None:
        """From now on operations are announced by `step`."""
        self.step = step

    def _be_fair(self) -> None:
        """From now on all tasks get their turns."""
        self._fair_since = self.steps
        self._fair_from = len(self._when)
        self._choose = self._choose_fairly
        self._decide_at = self._quiet_until = 0
        # `_step_uniform` draws who goes on from the strategy's numbers, without asking `_choose`.
        if self._inner == self._step_uniform:
            self._inner = self._step_leased
            if not self._watching:
                self._step_by(self._step_leased)

    def _choose_fairly(self, current: Task | None, n: int) -> Task:
        """The next task by number, for `QUANTUM` operations."""
        if n >= self._limit:
            self._reach_limit(n)
        chosen = current
        if chosen is None or n >= self._turn_ends:
            runnable = self._runnable
            # The next one by number behind the last turn, also if the task of that turn has ended; behind the last
            # one the first.
            at = bisect_right(runnable, self._turn, key=task_number)
            chosen = runnable[at] if at < len(runnable) else runnable[0]
            self._turn = chosen.id
            self._turn_ends = n + QUANTUM
        self._decide_at = until = min(self._turn_ends, self._limit)
        if not self._heard:
            self._quiet_until = until
        return chosen

    def _counts(self) -> dict[Task, int]:
        """How many operations each task has made since the turns are fair."""
        counts: dict[Task, int] = {}
        start = max(self._fair_from - 1, 0)
        whens = [*self._when[start:], self.steps]
        for task, (since, until) in zip(self._who[start:], pairwise(whens), strict=True):
            counts[task] = counts.get(task, 0) + until - max(since, self._fair_since)
        return counts
