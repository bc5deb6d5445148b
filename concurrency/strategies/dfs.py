"""Depth first: every sequence of choices once, up to a bound on preemptions or on delays.

Stateless search as in Godefroid, "Model Checking for Programming Languages using VeriSoft", POPL 1997. What is not
interrupted runs until it ends or has to wait; both bounds count from there:

- *Preemptions*: Musuvathi and Qadeer, "Iterative Context Bounding for Systematic Testing of Multithreaded Programs",
  PLDI 2007, section 2. A switch away from a task that could have gone on costs 1 (`can_be_preempted`), any other
  switch is free.
- *Delays*: Emmi, Qadeer and Rakamaric, "Delay-Bounded Scheduling", POPL 2011, section 2. A fixed scheduler goes round
  the tasks by number; each task that is passed over, though it could run, costs 1, also where the one before has ended
  or waits. So there are fewer schedules within a bound, and their number does not grow with that of the tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sugarbush.concurrency.core import BadSchedule, ConcurrencyError, Task
from sugarbush.concurrency.strategies.base import Part, can_be_preempted


@dataclass(slots=True)
class _Point:
    """A place with several ways on; the ones before `at` have been explored, `at` is being explored.

    `ways` are numbers of tasks, or the values of a data choice. The first way is the one that costs nothing;
    with `costly` the others cost.
    """

    ways: tuple[int, ...]
    costly: bool
    at: int = 0


class DepthFirst:
    """Makes each sequence of choices with at most `bound` preemptions once; None: every sequence.

    `left` says whether there is another one. `cut` counts the switch points, in all executions so far and each
    counted once, at which the bound forbade to go on with another task: with 0 the search was complete. `spent` is
    what the last execution cost.
    """

    name = "dfs"
    unit = "preemption"
    numbers = None
    lease = 1
    root: Part = ()

    def __init__(self, bound: int | None = None) -> None:
        if bound is not None and bound < 0:
            raise ConcurrencyError(f"the {self.unit} bound is at least 0, not {bound}")
        self.bound = bound
        self.cut = 0
        self.spent = 0
        self.enter(self.root)

    def enter(self, part: Part) -> None:
        """Search `part` only: which way was taken at the first so many points, as numbers of ways."""
        self._part = part
        self._points: list[_Point] = []
        self._at = 0
        self.left = True

    def begin(self, execution: int) -> None:  # noqa: ARG002
        """Start from the first choice."""
        self._at = self.spent = 0

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:  # noqa: ARG002
        """The task of the way that is tried at this point: the current task first, then the others by number."""
        tasks = {task.id: task for task in runnable}
        ways = self._order(tuple(tasks), None if current is None else current.id)
        costly = self._is_costly(current)
        if costly and self.bound is not None:
            within = self._within(ways, self.bound - self.spent)
            # Each point is counted once, where it is come to first: not where it is repeated, nor where it is one
            # of the points that a part begins with, which the process that made the part has counted.
            is_new = len(self._part) <= self._at == len(self._points)
            self.cut += is_new and len(within) < len(ways)
            ways = within
        at = self._way(ways, costly)
        if costly:
            self.spent += self._cost(at)
        return tasks[ways[at]]

    def _order(self, tasks: tuple[int, ...], current: int | None) -> tuple[int, ...]:
        """The tasks in the order in which they are tried."""
        if current is None:
            return tasks
        return (current, *[number for number in tasks if number != current])

    def _is_costly(self, current: Task | None) -> bool:
        """Whether another way than the first one costs."""
        return can_be_preempted(current)

    def _cost(self, at: int) -> int:
        """What way number `at` of a costly point costs."""
        return int(at > 0)

    def _within(self, ways: tuple[int, ...], left: int) -> tuple[int, ...]:
        """The ways that cost no more than `left`."""
        return ways if left else ways[:1]

    def data(self, n: int, label: str) -> int:  # noqa: ARG002
        """The next value at this point, from 0."""
        return self._way(tuple(range(n)), False)

    def _way(self, ways: tuple[int, ...], costly: bool) -> int:
        """The number of the way that is taken at this point, which is new or was come to before."""
        number = self._at
        if number == len(self._points):
            self._points.append(_Point(ways, costly, self._part[number] if number < len(self._part) else 0))
        point = self._points[number]
        self._at += 1
        if (point.ways, point.costly) != (ways, costly) or point.at >= len(ways):
            raise BadSchedule(
                f"the program is not deterministic: after the same {number} choices it had the ways "
                f"{point.ways} once and {ways} now"
            )
        return point.at

    def end(self, steps: int, forced: int) -> None:  # noqa: ARG002
        """Go back to the last point that has another way."""
        points, fixed = self._points, len(self._part)
        if self._at != max(len(points), fixed):
            raise BadSchedule(
                f"the program is not deterministic: after the same {self._at} choices it ended, but went on before"
            )
        # Not behind the points of the part: what is left there is in other parts.
        while len(points) > fixed and points[-1].at + 1 == len(points[-1].ways):
            points.pop()
        self.left = len(points) > fixed
        if self.left:
            points[-1].at += 1

    def rest(self) -> list[Part]:
        """The parts that make up what is left of this one: below each point of the path, each way not taken yet."""
        if not self.left:
            return []
        # `end` has moved the last point on to a way that is not made yet, so that one counts; of the others the way
        # of now is being searched.
        points = self._points
        taken = tuple(point.at for point in points)
        last = len(points) - 1
        parts = [
            (*taken[:number], way)
            for number in range(last, len(self._part) - 1, -1)
            for way in range(taken[number] + (number < last), len(points[number].ways))
        ]
        # Nothing of the part was made yet.
        return parts or [self._part]

    def after(self, part: Part, cut: int) -> Part | None:  # noqa: ARG002
        """None: the bound stays, so the root is all there is."""
        return None


class DelayBounded(DepthFirst):
    """Makes each sequence of choices with at most `bound` delays once; None: every sequence."""

    name = "delay"
    unit = "delay"

    def begin(self, execution: int) -> None:
        """Start from the first choice."""
        super().begin(execution)
        self._last = 0

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:
        """The current task first, then the others round by number from it, or from the task chosen last."""
        chosen = super().choose(runnable, current, step, forced)
        self._last = chosen.id
        return chosen

    def _order(self, tasks: tuple[int, ...], current: int | None) -> tuple[int, ...]:
        # Round by number, from the task that ran: to pass over the first so many of these is as many delays, so that
        # way number n costs n (`_cost`).
        start = self._last + 1 if current is None else current
        return (*[one for one in tasks if one >= start], *[one for one in tasks if one < start])

    def _is_costly(self, current: Task | None) -> bool:  # noqa: ARG002
        return True

    def _cost(self, at: int) -> int:
        return at

    def _within(self, ways: tuple[int, ...], left: int) -> tuple[int, ...]:
        return ways[: left + 1]
