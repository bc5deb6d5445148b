"""Continuations: how a program can go on after the first part of a witness, while one task is held back.

A claim that begins with "if this had come before that" is about every way to go on in which it does. So those ways
are made: first the one that stays closest to the witness, then two that let one task run on, a few at random, and in
the end all of them, depth first, as far as the budget goes. `Endings` says how many there were, how they ended, and
whether that was all.

Nothing is reduced here: two orders of operations that do not depend on each other are two ways. It would be cheaper to
take one of them, but then a claim would be as true as every declaration of an operation is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import count
from math import prod
from random import Random
from typing import Any

from sugarbush.concurrency.core import (
    BadSchedule,
    ConcurrencyError,
    Execution,
    Failure,
    Kind,
    Operation,
    Task,
)
from sugarbush.concurrency.runtimes import Settings, Simulated
from sugarbush.concurrency.strategies import Pruned
from sugarbush.concurrency.witness.moments import Done
from sugarbush.concurrency.witness.story import OrderWatch, Retold, Story

_SLACK = 4
"""A way to go on may be so many times as long as the witness, and a little longer."""
_LITTLE = 1000
_RANDOM = 4
"""So many ways at random come first in any case."""
_TOO_MANY = 10_000
"""Where there may be more ways than this, they are not made one after the other."""
_NEVER = Operation("never")
"""No task does this, so what waits for it is held for ever."""
_STAYS = (0.0, 0.5, 0.9)
"""How often, at random, the current task goes on: by turns never on purpose, every other time, nearly always."""


@dataclass(slots=True)
class Endings:
    """How so many different ways to go on have ended.

    `again` of those `tried` failed as the witness did, that is in the same kind of failure, and `otherwise` in another
    one. With `complete` there are no others.
    """

    tried: int = 0
    again: int = 0
    otherwise: int = 0
    complete: bool = False
    closest: bool = False
    """Whether the way that stays closest to the witness did not fail."""
    seen: set[tuple[int, ...]] = field(default_factory=set)

    @property
    def clean(self) -> int:
        """How many did not fail."""
        return self.tried - self.again - self.otherwise


class _How(Enum):
    """How one way to go on is chosen."""

    DEPTH_FIRST = 0
    """The next one of all; the first of them stays closest to the witness."""
    FIRST = 1
    """Once the order is turned round the task that was held runs until it blocks, whenever it can."""
    SECOND = 2
    """Once the order is turned round the other task runs until it blocks, whenever it can."""
    RANDOM = 3


class Budget:
    """What may still be done: so many executions, and so many operations."""

    def __init__(self, executions: int, operations: int) -> None:
        self.executions = executions
        self.operations = operations
        self._made = 0
        self._operations_made = 0

    @property
    def spent(self) -> bool:
        """Whether nothing more may be done."""
        return self.executions <= 0 or self.operations <= 0

    def take(self, operations: int) -> None:
        """Count an execution."""
        self.executions -= 1
        self.operations -= operations
        self._made += 1
        self._operations_made += operations

    def share(self, among: int) -> int:
        """How many executions each of `among` claims may have, if they go on to be as long as those so far."""
        by_length = self.operations * self._made // max(1, self._operations_made)
        return max(0, min(self.executions, by_length)) // among


class Retelling:
    """A witness that is told again, as far as is wanted, and goes on differently from there."""

    def __init__(
        self,
        program: Callable[[], Any],
        settings: Settings,
        told: Retold,
        story: Story,
        execution: Execution,
        budget: Budget,
    ) -> None:
        assert execution.failure is not None
        self.failure: Failure = execution.failure
        self.budget = budget
        self.decisions = told.decisions
        self.data_made = told.data_made
        self.ranks = {(one.task.id, one.number): place for place, one in enumerate(story.ops)}
        self.values: dict[int, list[int]] = {}
        for _, task, value in told.data_made:
            self.values.setdefault(task, []).append(value)
        self._program = program
        self._settings = settings
        limit = _SLACK * execution.steps + _LITTLE
        self._limit = settings.max_steps
        # A stall is a failure by its length, so only its ways may be as long as the settings allow.
        if self.failure.kind is not Kind.STALL:
            self._limit = min(limit, settings.max_steps)

    def ways(
        self, firsts: Sequence[Done] = (), seconds: Sequence[Done] = (), *, same_data: bool = False
    ) -> Ways:
        """The ways to go on in which `seconds` come before `firsts`; without any, all executions there are.

        With `same_data` each task makes the data choices that it made in the witness, as far as they are possible.
        """
        return Ways(self, OrderWatch(firsts, seconds), same_data=same_data)

    def ahead(self, first: Done) -> list[Done]:
        """All that happens in the way to go on that is closest to the witness, with `first` held for ever."""
        story = Story((first,), (replace(first, op=_NEVER),))
        Ways(self, story).look(1)
        return story.ops

    def runtime(self, strategy: _Way, story: OrderWatch) -> Simulated:
        """What makes executions under `strategy`, which `story` listens to."""
        return self._settings.runtime(strategy, recorder=story, max_steps=self._limit)

    def run(self, runtime: Simulated, strategy: _Way) -> Execution | None:
        """One execution; None if it came to nothing: the order was not turned round, or it was too long."""
        try:
            execution = runtime.run(self._program)
        except Pruned:
            return None
        except ConcurrencyError:
            strategy.doubtful = True
            return None
        finally:
            self.budget.take(runtime.steps)
        # A limit that was set here is no finding, and where turns were made fair the choices were not made here.
        failure = execution.failure
        cut = failure is not None and failure.kind is Kind.STALL and self._limit < self._settings.max_steps
        if cut or execution.fair:
            strategy.doubtful = True
        return None if cut else execution


class Ways:
    """The ways to go on, made one after the other: `look` makes some, and tells what is known by then."""

    def __init__(self, retelling: Retelling, watch: OrderWatch, *, same_data: bool = False) -> None:
        self._retelling = retelling
        self._watch = watch
        self.tally = Endings()
        self.outside = 0
        """How often the order could not be turned round."""
        self._way = _Way(retelling, watch, same_data)
        self._runtime = retelling.runtime(self._way, watch)
        self._plan = self._hows()

    def _hows(self) -> Iterator[tuple[_How, int]]:
        yield _How.DEPTH_FIRST, 0
        if self._watch.seconds:
            yield _How.FIRST, 0
            yield _How.SECOND, 0
        for number in range(_RANDOM):
            if self._way.left:
                yield _How.RANDOM, number
        # One way has so many neighbours that its product of choices tells roughly how many there are. Where they
        # cannot all be made, the depth-first ones would differ at their ends only, so those at random show more.
        if self._way.width > _TOO_MANY:
            yield from ((_How.RANDOM, number) for number in count(_RANDOM))
        while self._way.left:
            yield _How.DEPTH_FIRST, 0

    def look(self, most: int, *, until_again: bool = False) -> Endings:
        """Make at most so many more executions; with `until_again` only until one fails as the witness did."""
        while most > 0 and not self._retelling.budget.spent and not (until_again and self.tally.again):
            how = next(self._plan, None)
            if how is None:
                break
            if self.tally.complete:
                break
            most -= 1
            self._make(*how)
        return self.tally

    def _make(self, how: _How, number: int) -> None:
        way, tally = self._way, self.tally
        closest = how is _How.DEPTH_FIRST and not way.started
        way.how, way.number = how, number
        execution = self._retelling.run(self._runtime, way)
        failure = None if execution is None else execution.failure
        if how is _How.DEPTH_FIRST:
            way.go_back()
        if execution is not None and self._counts(failure) and way.path not in tally.seen:
            tally.seen.add(way.path)
            tally.tried += 1
            if failure is not None:
                same = failure.kind is self._retelling.failure.kind
                tally.again += same
                tally.otherwise += not same
            tally.closest = tally.closest or (closest and failure is None)
        elif execution is None or not self._counts(failure):
            self.outside += 1
        tally.complete = not way.left and not way.doubtful

    def _counts(self, failure: Failure | None) -> bool:
        """Whether the execution is one of those that a claim is about.

        One that fails while the task is still held counts, too: what was to come first may be what failed, and if not,
        it is safe to say less.
        """
        return self._watch.turned or not self._watch.seconds or failure is not None

    @property
    def impossible(self) -> bool:
        """All ways were made, and in none of them did the second operation come before the first."""
        return self.tally.complete and self.tally.tried == 0


class _Way:
    """The strategy: the witness up to `first`, whose task is held there until the order is turned round."""

    name = "way"
    numbers = None
    lease = 1
    thorough, bound, cut = True, None, 0

    def __init__(self, retelling: Retelling, watch: OrderWatch, same_data: bool) -> None:
        self._retelling = retelling
        self._same_data = same_data
        self._watch = watch
        self._upto = min((first.decision for first in watch.firsts), default=0)
        """So many decisions are those of the witness."""
        self._data_before: list[int] = []
        """What was chosen before the first decision that is free, in order."""
        if watch.firsts:
            self._data_before = [value for at, _, value in retelling.data_made if at <= self._upto]
        self._trail: list[list[int]] = []
        self.left = True
        self.started = False
        self.width = 1
        """How many ways there are, roughly; known once the first was made."""
        self.doubtful = False
        """Whether an execution was cut off, so that there may be ways that were not seen."""
        self.how = _How.DEPTH_FIRST
        self.number = 0

    @property
    def path(self) -> tuple[int, ...]:
        """What was chosen where there was a choice: two executions of one path are one."""
        return tuple(self._taken)

    def begin(self, execution: int) -> None:  # noqa: ARG002
        """A new execution: nothing is chosen yet; the numbers at random are those of this way's number."""
        self._taken: list[int] = []
        self._at = 0
        self._given = 0
        self._used: dict[int, int] = {}
        self._random = Random(self.number)
        self._stays = _STAYS[self.number % len(_STAYS)]

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:  # noqa: ARG002
        """As in the witness, up to the first moment; then any task that is not held."""
        watch = self._watch
        if watch.decided < self._upto:
            wanted = self._retelling.decisions[watch.decided]
            chosen = next((task for task in runnable if task.id == wanted), None)
            if chosen is None:
                raise BadSchedule("the program is not deterministic: the witness cannot be told again")
        else:
            tasks = [task for task in runnable if not watch.holds(task)]
            if not tasks:
                raise Pruned("only a task that is held could go on")
            chosen = self._next(tasks, current)
        watch.decide(chosen)
        return chosen

    def _next(self, tasks: Sequence[Task], current: Task | None) -> Task:
        if len(tasks) == 1:
            return tasks[0]
        at = 0
        ordered = sorted(tasks, key=self._place)
        if self.how is _How.DEPTH_FIRST:
            at = self._branch(len(ordered))
        elif self.how is _How.RANDOM:
            if current in ordered and self._random.random() < self._stays:
                at = ordered.index(current)
            else:
                at = int(self._random.random() * len(ordered))
        elif self._watch.turned:
            favoured = self._watch.firsts if self.how is _How.FIRST else self._watch.seconds
            ids = [task.id for task in ordered]
            if current in ordered and any(
                current is not None and one.task.id == current.id for one in favoured
            ):
                at = ordered.index(current)
            elif (wanted := next((one.task.id for one in favoured if one.task.id in ids), None)) is not None:
                at = ids.index(wanted)
            elif current in ordered:
                at = ordered.index(current)
        self._taken.append(ordered[at].id)
        return ordered[at]

    def _branch(self, n: int) -> int:
        if self._at == len(self._trail):
            self._trail.append([0, n])
        at, ways = self._trail[self._at]
        if ways != n:
            raise BadSchedule("the program is not deterministic: the same choices lead elsewhere")
        self._at += 1
        return at

    def _place(self, task: Task) -> tuple[int, int]:
        """Where the next operation of `task` stands in the witness; the unknown ones stand last."""
        number = max(0, self._watch.announcements[task.id] - 1)
        ranks = self._retelling.ranks
        return ranks.get((task.id, number), len(ranks)), task.id

    def data(self, n: int, label: str) -> int:  # noqa: ARG002
        """The value that the task chose in the witness first, then all other ones."""
        watch = self._watch
        if self._given < len(self._data_before) and watch.decided <= self._upto:
            self._given += 1
            value = self._data_before[self._given - 1]
            self._note()
            return value
        told = self._retelling.values.get(watch.last, [])
        used = self._used.get(watch.last, 0)
        usual = told[used] if used < len(told) and told[used] < n else 0
        if self._same_data:
            at = 0
        elif self.how is _How.DEPTH_FIRST:
            at = self._branch(n)
        elif self.how is _How.RANDOM and self._random.random() < 0.5:
            at = int(self._random.random() * n)
        else:
            at = 0
        value = [usual, *[other for other in range(n) if other != usual]][at]
        self._note()
        self._taken.append(-1 - value)
        return value

    def _note(self) -> None:
        task = self._watch.last
        self._used[task] = self._used.get(task, 0) + 1

    def go_back(self) -> None:
        """Go back to the last decision that has another way."""
        trail = self._trail
        del trail[self._at :]
        if not self.started:
            self.width = prod(n for _, n in trail)
        self.started = True
        while trail and trail[-1][0] + 1 == trail[-1][1]:
            trail.pop()
        self.left = bool(trail)
        if trail:
            trail[-1][0] += 1

    def end(self, steps: int, forced: int) -> None:
        """Nothing is to be done: `Ways` has it `go_back` after the executions that go through all ways."""
