"""Replay: the choices of a recorded schedule, exactly."""

from __future__ import annotations

from collections.abc import Sequence

from sugarbush.concurrency.core import BadSchedule, Datum, Schedule, Segment, Task


class Replay:
    """Makes the choices of `schedule`; raises `BadSchedule` where the program does not fit it.

    The switch to a segment happens when as many operations have been announced as the segments before it hold.
    """

    name = "replay"
    numbers = None

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._segments = [choice for choice in schedule.choices if isinstance(choice, Segment)]
        self._starts = [0]
        for segment in self._segments:
            self._starts.append(self._starts[-1] + segment.length)
        self._at = 0
        self._data: list[int] = []
        self.lease = 1

    def begin(self, execution: int) -> None:  # noqa: ARG002
        """Start from the first choice of the schedule."""
        self._at = 0
        self._data = [
            choice.value for choice in reversed(self._schedule.choices) if isinstance(choice, Datum)
        ]

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:  # noqa: ARG002
        """The task whose segment is going on once `step` operations have been announced."""
        starts = self._starts
        if step > starts[-1] or not self._segments:
            raise BadSchedule(f"the schedule ends after {starts[-1]} operations, but the program goes on")
        # Asked in the order of the operations, so it only goes forward.
        at = self._at
        last = len(self._segments) - 1
        while at < last and starts[at + 1] <= step:
            at += 1
        self._at = at
        number = self._segments[at].task
        for task in runnable:
            if task.id == number:
                # One more in the last segment: what comes after its last operation is an error, which `choose` raises.
                self.lease = starts[at + 1] - step + (at == last)
                return task
        raise BadSchedule(f"the schedule wants task {number} at operation {step}, but it cannot run there")

    def data(self, n: int, label: str) -> int:
        """The next recorded value."""
        if not self._data:
            raise BadSchedule(f"the schedule has no value for {label!r}")
        value = self._data.pop()
        if value >= n:
            raise BadSchedule(f"the schedule chooses {value} for {label!r}, but there are only {n} ways")
        return value

    def end(self, steps: int, forced: int) -> None:
        """Nothing is carried over."""


class Following(Replay):
    """A schedule as far as it fits; where it does not, or has ended, the current task goes on as long as it can."""

    name = "following"

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:
        """The task of the schedule, if there is one and it can run."""
        try:
            return super().choose(runnable, current, step, forced)
        except BadSchedule:
            self.lease = 1
            return runnable[0] if current is None else current

    def data(self, n: int, label: str) -> int:
        """The next recorded value, if there is one and it is possible; else 0."""
        try:
            return super().data(n, label)
        except BadSchedule:
            return 0
