"""Depth first: every sequence of choices once, up to a bound on preemptions.

Stateless search as in Godefroid, "Model Checking for Programming Languages using VeriSoft", POPL 1997, bounded as in
Musuvathi and Qadeer, "Iterative Context Bounding for Systematic Testing of Multithreaded Programs", PLDI 2007,
section 2: a switch away from a task that could have gone on is a preemption and costs 1; a switch at which the
current task ends or has to wait is free. What is not preempted runs until it blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from concurrency.failure import BadSchedule, ConcurrencyError
from concurrency.task import Task


@dataclass(slots=True)
class _Point:
    """A place with several ways on; the ones before `at` have been explored, `at` is being explored.

    `ways` are numbers of tasks, or the values of a data choice. The first way is the one that costs nothing;
    with `costly` the others are preemptions.
    """

    ways: tuple[int, ...]
    costly: bool
    at: int = 0


class DepthFirst:
    """Makes each sequence of choices with at most `bound` preemptions once; None: every sequence.

    `left` says whether there is another one. `cut` counts the switch points, in all executions so far and each
    counted once, at which the bound forbade to go on with another task: with 0 the search was complete.
    """

    name = "dfs"
    numbers = None
    lease = 1

    def __init__(self, bound: int | None = None) -> None:
        if bound is not None and bound < 0:
            raise ConcurrencyError(f"the preemption bound is at least 0, not {bound}")
        self.bound = bound
        self.cut = 0
        self.left = True
        self._points: list[_Point] = []
        self._at = 0
        self._preemptions = 0

    def begin(self, execution: int) -> None:  # noqa: ARG002
        """Start from the first choice."""
        self._at = self._preemptions = 0

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:  # noqa: ARG002
        """The next way at this point: the current task first, then the others by number."""
        tasks = {task.id: task for task in runnable}
        ways = tuple(tasks)
        costly = current is not None
        if current is not None:
            ways = (current.id, *[number for number in tasks if number != current.id])
            if self._preemptions == self.bound:
                self.cut += self._at == len(self._points)
                ways = ways[:1]
        at, way = self._way(ways, costly)
        self._preemptions += costly and at > 0
        return tasks[way]

    def data(self, n: int, label: str) -> int:  # noqa: ARG002
        """The next value at this point, from 0."""
        return self._way(tuple(range(n)), False)[1]

    def _way(self, ways: tuple[int, ...], costly: bool) -> tuple[int, int]:
        """Which way is taken, and what stands there."""
        if self._at == len(self._points):
            self._points.append(_Point(ways, costly))
        point = self._points[self._at]
        self._at += 1
        if (point.ways, point.costly) != (ways, costly):
            raise BadSchedule(
                f"the program is not deterministic: after the same {self._at - 1} choices it had the ways "
                f"{point.ways} once and {ways} now"
            )
        return point.at, ways[point.at]

    def end(self, steps: int, forced: int) -> None:  # noqa: ARG002
        """Go back to the last point that has another way."""
        points = self._points
        if self._at != len(points):
            raise BadSchedule(
                f"the program is not deterministic: after the same {self._at} choices it ended, but went on before"
            )
        while points and points[-1].at + 1 == len(points[-1].ways):
            points.pop()
        if points:
            points[-1].at += 1
        self.left = bool(points)
