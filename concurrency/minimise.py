"""Minimising: the same failure with the fewest context switches, then the fewest steps, then the smallest data.

A witness is read as a plan (`concurrency.strategy.guided`), the plan is changed, and each changed plan is run: it
counts if the execution fails in the same way and is smaller. Source of the changes: Jalbert and Sen, "A Trace
Simplification Technique for Effective Debugging of Concurrent Programs", FSE 2010 (stretches of one task are moved
together, later ones earlier and earlier ones later, and removed); Zeller and Hildebrandt, "Simplifying and Isolating
Failure-Inducing Input", TSE 2002 (whole windows first, then halves).

The result is a local minimum: no single change that is known here makes it smaller. So minimising it again, with the
same settings, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from concurrency.execution import Execution
from concurrency.failure import BadSchedule, ConcurrencyError, Failure, Kind
from concurrency.replay import replay
from concurrency.result import Witness
from concurrency.schedule import Datum, Schedule, Segment
from concurrency.settings import Settings
from concurrency.strategy.guided import Guided, Noted, Plan, Stretch
from concurrency.strategy.replay import Replay
from concurrency.watchdog import watchdog

DEFAULT_TRIES = 3000
_SLACK = 4
"""A changed plan may run so many times as long as the smallest witness so far, and a little more."""
_LITTLE = 1000
_PLACES = 32
"""At how many places, evenly spread, a preemption is tried."""

Key = tuple[int, int, int, int, tuple[int, ...], tuple[tuple[int, int], ...]]


@dataclass(frozen=True, slots=True)
class _Found:
    """A failing execution: its size, by which two are compared, and the plan that leads to it."""

    key: Key
    plan: Plan
    values: tuple[int, ...]
    schedule: Schedule


@dataclass(frozen=True, slots=True)
class Minimised:
    """The smallest witness that was found, after `executions` tries.

    With `complete` no known change makes it smaller; otherwise the tries were used up.
    """

    witness: Witness
    executions: int
    complete: bool


def same_failure(one: Failure | None, other: Failure) -> bool:
    """The two are one finding: kind, check and headline agree; task and step may differ."""
    return (
        one is not None
        and one.kind is other.kind
        and one.check == other.check
        and one.headline == other.headline
    )


def minimise(
    program: Callable[[], Any], witness: Witness, settings: Settings | None = None, tries: int = DEFAULT_TRIES
) -> Witness:
    """The witness of the same failure with the fewest preemptions, switches, steps, and the smallest data choices.

    The settings must be those under which the witness was found. Deterministic; at most `tries` executions are made,
    each at most four times as long as the witness and a thousand operations more. Raises `BadSchedule` if the
    schedule does not fit the program.
    """
    return minimised(program, witness, settings, tries).witness


def minimised(
    program: Callable[[], Any], witness: Witness, settings: Settings | None = None, tries: int = DEFAULT_TRIES
) -> Minimised:
    """As `minimise`, with what it cost."""
    settings = settings or Settings()
    with watchdog(settings.patience):
        search = _Search(program, witness, settings, tries)
        search.run()
        smallest = replay(program, search.best.schedule, settings=settings, execution=witness.execution)
    if not same_failure(smallest.failure, witness.failure):
        raise BadSchedule(
            "the program is not deterministic: a smaller schedule failed once, then differently"
        )
    return Minimised(smallest, search.executions, search.left > 0)


class _Search:
    """Tries changed plans against the smallest one so far."""

    def __init__(self, program: Callable[[], Any], witness: Witness, settings: Settings, tries: int) -> None:
        self._program = program
        self._failure = witness.failure
        self._settings = settings
        self._tried: set[tuple[Plan, tuple[int, ...]]] = set()
        self._guide = Guided()
        self._noted = Noted(self._guide)
        limit = settings.max_steps
        if self._failure.kind is not Kind.STALL:
            limit = min(limit, _SLACK * witness.steps + _LITTLE)
        self._runtime = self._guide.runtime = settings.runtime(self._noted, max_steps=limit)
        self.left = tries
        self.executions = 0
        self.best = self._first(witness.schedule)

    def _first(self, schedule: Schedule) -> _Found:
        noted = Noted(Replay(schedule))
        execution = self._settings.runtime(noted).run(self._program)
        if not same_failure(execution.failure, self._failure):
            raise BadSchedule(
                "the schedule does not fit the program: it does not end in the failure of the witness"
            )
        return _found(execution, noted)

    def run(self) -> None:
        """Make changes until none helps, or the tries are used up."""
        self._attempt((), ())
        before = None
        while self.best.key != before and self.left > 0:
            before = self.best.key
            self._each_window(self._without)
            self._each_window(self._gathered)
            self._each(self._unpreempted)
            self._each(self._joined)
            self._each(self._moved)
            self._each(self._swapped)
            self._each(self._elsewhere)
            self._each(self._shorter)
            self._each_value()
            if self.best.key == before:
                self._each(self._anywhere)

    def _attempt(self, plan: Plan, values: tuple[int, ...]) -> bool:
        """Run a plan; whether it is the smallest one now."""
        if (plan, values) in self._tried or self.left <= 0:
            return False
        self._tried.add((plan, values))
        self._guide.plan, self._guide.values = plan, values
        self.left -= 1
        self.executions += 1
        try:
            execution = self._runtime.run(self._program)
        except ConcurrencyError:
            return False
        if not same_failure(execution.failure, self._failure):
            return False
        found = _found(execution, self._noted)
        if found.key >= self.best.key:
            return False
        self.best = found
        return True

    # -- which part of the plan is changed ------------------------------------------------------------------------

    def _each_window(self, changed: Callable[[Plan, int, int], Iterator[Plan]]) -> None:
        """Change windows of the plan: the largest first, then ever smaller ones."""
        size = len(self.best.plan) - 1
        while size >= 1:
            start = 1
            while start < len(self.best.plan):
                plan = self.best.plan
                for candidate in changed(plan, start, min(start + size, len(plan))):
                    if self._attempt(candidate, self.best.values):
                        break
                else:
                    start += max(1, size // 2)
            size = min(size, len(self.best.plan)) // 2

    def _each(self, changed: Callable[[Plan, int], Iterator[Plan]]) -> None:
        """Change the plan at each of its stretches."""
        at = 0
        while at < len(self.best.plan):
            for candidate in changed(self.best.plan, at):
                if self._attempt(candidate, self.best.values):
                    break
            else:
                at += 1

    def _each_value(self) -> None:
        """Make each data choice smaller, or leave it out so that the later ones move up."""
        at = 0
        while at < len(self.best.values):
            values = self.best.values
            before, value, after = values[:at], values[at], values[at + 1 :]
            changes = [(*before, *after)] if any(values[at:]) else []
            changes += [(*before, less, *after) for less in (0, value // 2, value - 1) if 0 <= less < value]
            if not any(self._attempt(self.best.plan, change) for change in changes):
                at += 1

    # -- changes ----------------------------------------------------------------------------------------------------

    @staticmethod
    def _without(plan: Plan, start: int, stop: int) -> Iterator[Plan]:
        """Leave the window out; what ran before it is preempted there, or runs on."""
        yield (*plan[:start], *plan[stop:])
        yield (*plan[: start - 1], Stretch(plan[start - 1].task, None), *plan[stop:])

    @staticmethod
    def _gathered(plan: Plan, start: int, stop: int) -> Iterator[Plan]:
        """Let each task of the window run once, in the order of first, then of last appearance."""
        window = plan[start:stop]
        tasks = list(dict.fromkeys(stretch.task for stretch in window))
        if len(tasks) == len(window):
            return
        last = list(dict.fromkeys(stretch.task for stretch in reversed(window)))[::-1]
        for order in [tasks, last] if tasks != last else [tasks]:
            yield (*plan[:start], *(_sum(window, task) for task in order), *plan[stop:])

    @staticmethod
    def _unpreempted(plan: Plan, at: int) -> Iterator[Plan]:
        """Let one stretch run until it cannot go on."""
        stretch = plan[at]
        if stretch.length is not None:
            yield (*plan[:at], Stretch(stretch.task, None), *plan[at + 1 :])
            yield (*plan[:at], Stretch(stretch.task, None))

    @staticmethod
    def _moved(plan: Plan, at: int) -> Iterator[Plan]:
        """Let one stretch come sooner or later."""
        rest = (*plan[:at], *plan[at + 1 :])
        for place in range(1, len(plan)):
            if at and place != at:
                yield (*rest[:place], plan[at], *rest[place:])

    @staticmethod
    def _swapped(plan: Plan, at: int) -> Iterator[Plan]:
        """Let two tasks change their parts from here on."""
        one = plan[at].task
        for other in sorted({stretch.task for stretch in plan[at:]} - {one}):
            names = {one: other, other: one}
            yield tuple(
                Stretch(names.get(stretch.task, stretch.task), stretch.length) if place >= at else stretch
                for place, stretch in enumerate(plan)
            )

    @staticmethod
    def _joined(plan: Plan, at: int) -> Iterator[Plan]:
        """Move the next stretch of the same task to this one, or this one to that."""
        task = plan[at].task
        for later in range(at + 1, len(plan)):
            if plan[later].task == task:
                both = _sum((plan[at], plan[later]), task)
                yield (*plan[:at], both, *plan[at + 1 : later], *plan[later + 1 :])
                if at:
                    yield (*plan[:at], *plan[at + 1 : later], both, *plan[later + 1 :])
                return

    @staticmethod
    def _elsewhere(plan: Plan, at: int) -> Iterator[Plan]:
        """Give a stretch to another task."""
        if at == 0:
            return
        stretch = plan[at]
        for task in range(max(one.task for one in plan) + 1):
            if task != stretch.task:
                yield (*plan[:at], Stretch(task, stretch.length), *plan[at + 1 :])

    @staticmethod
    def _shorter(plan: Plan, at: int) -> Iterator[Plan]:
        """Preempt a stretch earlier; the next of its task makes up for it, or nobody does."""
        task, length = plan[at].task, plan[at].length
        if length is None:
            return
        later = next((n for n in range(at + 1, len(plan)) if plan[n].task == task), None)
        less = length - 1
        while less >= 1:
            shorter = Stretch(task, length - less)
            yield (*plan[:at], shorter, *plan[at + 1 :])
            if later is not None and plan[later].length is not None:
                more = Stretch(task, (plan[later].length or 0) + less)
                yield (*plan[:at], shorter, *plan[at + 1 : later], more, *plan[later + 1 :])
            less //= 2

    def _anywhere(self, plan: Plan, at: int) -> Iterator[Plan]:
        """Preempt a stretch somewhere else: where nobody waits for what its task holds, fewer switches are due."""
        task, length = plan[at].task, plan[at].length
        if length is not None:
            segments = self.best.schedule.choices
            total = sum(one.length for one in segments if isinstance(one, Segment) and one.task == task)
            for other in range(1, total + 1, max(1, total // _PLACES)):
                yield (*plan[:at], Stretch(task, other), *plan[at + 1 :])


def _sum(stretches: Plan, task: int) -> Stretch:
    """One stretch of `task` as long as all of its stretches."""
    total = 0
    for stretch in stretches:
        if stretch.task == task:
            if stretch.length is None:
                return Stretch(task, None)
            total += stretch.length
    return Stretch(task, total)


def _found(execution: Execution, noted: Noted) -> _Found:
    schedule = execution.schedule
    segments = tuple((one.task, one.length) for one in schedule.choices if isinstance(one, Segment))
    values = tuple(one.value for one in schedule.choices if isinstance(one, Datum))
    key = (noted.preemptions, schedule.switches, execution.steps, sum(values), values, segments)
    return _Found(key, noted.plan(schedule), values, schedule)
