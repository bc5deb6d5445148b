"""Guided: follows a plan as far as it fits, and lets tasks run until they block where it does not.

A plan says who goes on and for how long. Unlike a schedule it stays meaningful when parts of it are removed or moved:
a stretch whose task cannot run is passed over, and only a stretch that is to be left early has a length. `Noted` sees
which switches of an execution are preemptions, and reads off its plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sugarbush.concurrency.core import Task
from sugarbush.concurrency.strategies.base import Strategy, can_be_preempted

_FOR_EVER = 1 << 60


@dataclass(frozen=True, slots=True)
class Stretch:
    """Task `task` goes on; after `length` operations it is left. None: not before it ends or has to wait."""

    task: int
    length: int | None


Plan = tuple[Stretch, ...]


class Trail(Protocol):
    """A runtime that says who went on so far."""

    @property
    def trail(self) -> tuple[list[Task], list[int]]:
        """The tasks, and after how many operations each went on."""


class Guided:
    """Makes the choices of `plan` in executions of `runtime`, which is set before the first one.

    Where the plan ends, the current task goes on until it cannot, then the runnable task of the lowest number. Data
    choices are those of `values`, as far as they are possible, then 0.
    """

    name = "guided"
    numbers = None
    runtime: Trail

    def __init__(self, plan: Plan = (), values: tuple[int, ...] = ()) -> None:
        self.plan = plan
        self.values = values
        self.lease = 1
        self._at = 0
        self._seen = 0
        self._until = _FOR_EVER
        self._values_used = 0

    def begin(self, execution: int) -> None:  # noqa: ARG002
        """Start from the first stretch."""
        self._at = self._seen = self._values_used = 0
        self._until = _FOR_EVER

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:  # noqa: ARG002
        """The current task within its stretch, else the task of the next stretch that fits."""
        self._catch_up()
        if current is not None and step < self._until:
            # The runtime does not ask within the stretch, and also goes on with another task without asking where
            # only that one can: `_catch_up` sees that at the next question.
            self.lease = self._until - step
            return current
        plan = self.plan
        # A stretch whose task cannot go on is passed over: so a plan stays one when parts of it are left out or
        # moved.
        while self._at < len(plan):
            stretch = plan[self._at]
            self._at += 1
            for task in runnable:
                if task.id == stretch.task:
                    self._seen += task is not current
                    self._stretch_from(step, stretch)
                    self.lease = self._until - step
                    return task
        self._until = self.lease = _FOR_EVER
        if current is not None:
            return current
        self._seen += 1
        return runnable[0]

    def _catch_up(self) -> None:
        """Pass over what the plan says of tasks that went on without a choice, since no other could."""
        who, when = self.runtime.trail
        for number in range(self._seen, len(who)):
            self._until = _FOR_EVER
            if self._at < len(self.plan) and self.plan[self._at].task == who[number].id:
                self._stretch_from(when[number], self.plan[self._at])
                self._at += 1
        self._seen = len(who)

    def _stretch_from(self, step: int, stretch: Stretch) -> None:
        self._until = _FOR_EVER if stretch.length is None else step + stretch.length

    def data(self, n: int, label: str) -> int:  # noqa: ARG002
        """The next value; 0 if there is none, or if it is too large."""
        at = self._values_used
        self._values_used += 1
        value = self.values[at] if at < len(self.values) else 0
        return value if value < n else 0

    def end(self, steps: int, forced: int) -> None:
        """Nothing is carried over."""


class Noted:
    """Another strategy, with the operations noted at which it leaves a task that could have gone on."""

    def __init__(self, inner: Strategy) -> None:
        self.inner = inner
        self.name = inner.name
        self.numbers = None
        self.lease = 1
        self.preemptions = 0
        """How many preemptions the last execution had."""
        self._left: set[int] = set()

    def begin(self, execution: int) -> None:
        """Begin in the other strategy; no switch is noted yet."""
        self.inner.begin(execution)
        self.preemptions = 0
        self._left = set()

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:
        """As the other strategy; note where it leaves a task that could have gone on."""
        chosen = self.inner.choose(runnable, current, step, forced)
        self.lease = self.inner.lease
        if current is not None and chosen is not current:
            self._left.add(step)
            self.preemptions += can_be_preempted(current)
        return chosen

    def data(self, n: int, label: str) -> int:
        """As the other strategy."""
        return self.inner.data(n, label)

    def end(self, steps: int, forced: int) -> None:
        """As the other strategy; what was noted stays until the next execution."""
        self.inner.end(steps, forced)

    def plan(self, who: Sequence[Task], when: Sequence[int]) -> Plan:
        """The plan that leads to the last execution again, whose trail this is."""
        # A stretch that its task could have gone on after is given a length: only these are left early.
        ends = [*when[1:], 0]
        return tuple(
            Stretch(task.id, end - start if end in self._left else None)
            for task, start, end in zip(who, when, ends, strict=True)
        )
