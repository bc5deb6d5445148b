"""SURW: selectively uniform random walk.

Zhao, Wolff, Mathur, Roychoudhury, "Selectively Uniform Concurrency Testing", ASPLOS 2025, sections 3 and 4. In each
execution the operations on one place count as interesting, and all orders of the interesting ones are equally likely:
the next of them belongs to a task that is drawn by how many it still has to do. Other operations go on by random
priority. How many a task will do is known from the last execution of the round before, so the first one is by priority
alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random
from typing import Any

from sugarbush.concurrency.core import Access, Observer, Operation, Task, label
from sugarbush.concurrency.strategies.base import seeded

PlaceName = tuple[str, str | None]
_READS = (Access.READ, Access.READ_ONCE, Access.ACQUIRE)


def _place(op: Operation, obj: object) -> PlaceName:
    return (label(obj), op.field)


@dataclass(slots=True)
class Counts:
    """What one execution did where: how often each task, which tasks started which, and what was changed."""

    by: dict[PlaceName, dict[int, int]] = field(default_factory=dict)
    parents: dict[int, int] = field(default_factory=dict)
    changed: set[PlaceName] = field(default_factory=set)

    def shared(self) -> list[PlaceName]:
        """The places at which the order of two tasks may matter, in a fixed order."""
        return [place for place, by in self.by.items() if len(by) > 1 and place in self.changed]


class _Profile(Observer):
    """What the execution does where, what each task is about to do, and how much of it is expected to be left."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.counts = Counts()
        self.target: PlaceName | None = None
        self.left: dict[int, int] = {}
        self.intended: int | None = None
        self.priority: dict[int, float] = {}
        self._is_due: dict[int, bool] = {}
        self._subtree: dict[int, int] = {}

    def aim(self, target: PlaceName | None, known: Counts) -> None:
        """A new execution starts, in which the operations at `target` are interesting, as many as are `known`.

        What a task that is not spawned yet will do counts for the one that spawns it.
        """
        self.target = target
        counts = {} if target is None else known.by.get(target, {})
        self._subtree = dict.fromkeys([0, *known.parents], 0)
        for task, count in counts.items():
            ancestor: int | None = task
            while ancestor is not None:
                self._subtree[ancestor] += count
                ancestor = known.parents.get(ancestor)
        self.left = {}
        self.counts = Counts()
        self.priority, self._is_due = {}, {}
        self.intended = None

    def is_due(self, task: Task) -> bool:
        """Whether the operation that the task has announced is interesting."""
        return self._is_due.get(task.id, False)

    def spawned(self, parent: Task | None, task: Task) -> None:
        """A new task takes over, of what its parent was expected to do, what was counted for it and its children."""
        number = task.id
        self.left[number] = self._subtree.get(number, 0)
        if parent is not None:
            self.counts.parents[number] = parent.id
            expected = self.left[parent.id]
            self.left[parent.id] = max(0, expected - self.left[number])
            # Whose turn it is was drawn for the parent with all that its children will do: their share of it is
            # theirs.
            if self.intended == parent.id and self._random.random() * expected < self.left[number]:
                self.intended = number
        self.priority[number] = self._random.random()

    def announced(self, task: Task, op: Operation, obj: object) -> None:
        """Draw the priority of the operation, and note whether it is interesting."""
        self.priority[task.id] = self._random.random()
        self._is_due[task.id] = False
        if isinstance(obj, Task):
            return
        place = _place(op, obj)
        by = self.counts.by.setdefault(place, {})
        by[task.id] = by.get(task.id, 0) + 1
        if op.access not in _READS:
            self.counts.changed.add(place)
        self._is_due[task.id] = place == self.target

    def accessed(self, task: Task, op: Operation, obj: object) -> None:  # noqa: ARG002
        """An interesting operation was done: one less is left, and the next one is drawn anew."""
        if self._is_due.get(task.id):
            self._is_due[task.id] = False
            self.left[task.id] = max(0, self.left[task.id] - 1)
            self.intended = None

    def performed(self, task: Task, op: Operation, obj: object, arg: object, result: object) -> None:  # noqa: ARG002
        """An operation with an effect counts as an access does."""
        self.accessed(task, op, obj)

    def ended(self, task: Task) -> None:
        """The task does no more: nothing is left, whatever was expected."""
        self.left[task.id] = 0
        if self.intended == task.id:
            self.intended = None


class SURW:
    """Selectively uniform random walk; an execution depends on the rounds before, and all on `seed`."""

    name = "surw"
    numbers = None
    lease = 1

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._random = Random()
        self._profile = _Profile(self._random)
        self.listener: Observer = self._profile
        self.knows = Counts()
        self._lesson: list[Counts] = []

    def begin(self, execution: int) -> None:
        """Choose the place whose operations are interesting."""
        seeded(self._random, self._seed, execution)
        places = self.knows.shared()
        target = places[int(self._random.random() * len(places))] if places else None
        self._profile.aim(target, self.knows)

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:  # noqa: ARG002
        """By priority, but an interesting operation only if it is its task's turn."""
        profile = self._profile
        if profile.target is not None and profile.intended is None:
            profile.intended = self._draw(list(profile.left))
        free = [task for task in runnable if not profile.is_due(task) or task.id == profile.intended]
        if not free:
            # All that can go on stand before interesting operations, and the task whose turn it is has to wait.
            profile.intended = self._draw([task.id for task in runnable])
            free = [task for task in runnable if task.id == profile.intended]
        return max(free, key=lambda task: profile.priority[task.id])

    def _draw(self, tasks: list[int]) -> int:
        """A task, by how many interesting operations it has left."""
        sums = list(accumulate(self._profile.left[task] for task in tasks))
        # All have done as much as was expected, so nothing is known of the rest.
        if not sums[-1]:
            return tasks[int(self._random.random() * len(tasks))]
        point = self._random.random() * sums[-1]
        return next(task for task, upto in zip(tasks, sums, strict=True) if point < upto)

    def data(self, n: int, label: str) -> int:  # noqa: ARG002
        """Any value."""
        return int(self._random.random() * n)

    def end(self, steps: int, forced: int) -> None:  # noqa: ARG002
        """What was counted is used by the next round."""
        self._lesson = [self._profile.counts]

    @property
    def teaches(self) -> Any:
        """A lesson is what one execution did where."""
        return Counts

    def lessons(self) -> list[Counts]:
        """What the last execution did where."""
        lesson, self._lesson = self._lesson, []
        return lesson

    def learn(self, lessons: list[Counts]) -> None:
        """Take over the last execution of a whole round."""
        if lessons:
            self.knows = lessons[-1]
