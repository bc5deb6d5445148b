"""Minimising: the same failure with the fewest context switches, then the fewest steps, then the smallest data.

A witness is read as a plan (`concurrency.strategies.guided`), the plan is changed
(`concurrency.witness.plan_changes`), and each changed plan is run: it counts if the execution fails in the same way
and is smaller. To change whole windows first, then halves, is from Zeller and Hildebrandt, "Simplifying and Isolating
Failure-Inducing Input", TSE 2002.

Where no change helps, a local minimum may still have more preemptions than another way to the same failure. So then
plans with fewer of them are made from nothing (`concurrency.witness.few_preemptions`), and one that fails is where
the changes go on. That costs nothing where no preemption is left.

In the end no single change that is known here makes the result smaller, and no plan with fewer preemptions that was
made. So minimising it again, with the same settings, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sugarbush.concurrency.core import (
    BadSchedule,
    ConcurrencyError,
    Datum,
    Execution,
    Kind,
    Schedule,
    Segment,
    same_failure,
)
from sugarbush.concurrency.runtimes import Settings, watchdog
from sugarbush.concurrency.strategies import Guided, Noted, Plan, Replay, Stretch
from sugarbush.concurrency.witness import plan_changes
from sugarbush.concurrency.witness.few_preemptions import FewPreemptions
from sugarbush.concurrency.witness.replaying import known, replay
from sugarbush.concurrency.witness.result import Witness

DEFAULT_TRIES = 3000
_SLACK = 4
"""A changed plan may run so many times as long as the smallest witness so far, and a little more."""
_LITTLE = 1000
_PLACES = 32
"""At how many places, evenly spread, a preemption is tried."""

Key = tuple[int, int, int, int, tuple[int, ...], tuple[tuple[int, int], ...]]
"""Preemptions, switches, steps, the sum of the data choices; then the choices themselves, so that no two are equal."""


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
    settings = known(program, settings, witness, tries=tries)
    with watchdog(settings.patience):
        search = _PlanSearch(program, witness, settings, tries)
        search.run()
        smallest = replay(program, search.best.schedule, settings=settings, execution=witness.execution)
    if not same_failure(smallest.failure, witness.failure):
        raise BadSchedule(
            "the program is not deterministic: a smaller schedule failed once, then differently"
        )
    return Minimised(smallest, search.executions, search.left > 0)


class _PlanRunner:
    """Runs plans."""

    def __init__(
        self, program: Callable[[], Any], settings: Settings, limit: int, guide: Guided, noted: Noted
    ) -> None:
        self._program = program
        self._guide = guide
        self.noted = noted
        self._runtime = guide.runtime = settings.runtime(noted, max_steps=limit)

    def run(self, plan: Plan, values: tuple[int, ...]) -> Execution | None:
        """The execution under `plan`; None if it cannot be made."""
        self._guide.plan, self._guide.values = plan, values
        try:
            return self._runtime.run(self._program)
        except ConcurrencyError:
            return None


class _PlanSearch:
    """Tries changed plans against the smallest one so far."""

    def __init__(self, program: Callable[[], Any], witness: Witness, settings: Settings, tries: int) -> None:
        self._program = program
        self._failure = witness.failure
        self._settings = settings
        self._tried: set[tuple[Plan, tuple[int, ...]]] = set()
        self._barren: tuple[tuple[int, ...], int] = ((), 0)
        """With these values no plan with fewer preemptions than this fails."""
        self._limit = settings.max_steps
        # A stall is a failure by its length, so only its changes may be as long as the settings allow.
        if self._failure.kind is not Kind.STALL:
            self._limit = min(self._limit, _SLACK * witness.steps + _LITTLE)
        guide = Guided()
        self._runner = self._run_by(guide, Noted(guide))
        self.left = tries
        self.executions = 0
        self.best = self._first(witness.schedule)

    def _run_by(self, guide: Guided, noted: Noted) -> _PlanRunner:
        return _PlanRunner(self._program, self._settings, self._limit, guide, noted)

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
            # Whole windows first, which may take much away at one try; then single stretches, then values.
            self._each_window(plan_changes.without)
            self._each_window(plan_changes.gathered)
            self._each(plan_changes.unpreempted)
            self._each(plan_changes.joined)
            self._each(plan_changes.moved)
            self._each(plan_changes.swapped)
            self._each(plan_changes.elsewhere)
            self._each(plan_changes.shorter)
            self._each_value()
            if self.best.key == before:
                self._each(self._anywhere)
            if self.best.key == before:
                self._fewer()

    def _attempt(self, plan: Plan, values: tuple[int, ...]) -> bool:
        """Run a plan that was not run before; True if it is the smallest one now."""
        if (plan, values) in self._tried or self.left <= 0:
            return False
        self._tried.add((plan, values))
        return self._run(self._runner, plan, values)

    def _run(self, runner: _PlanRunner, plan: Plan, values: tuple[int, ...]) -> bool:
        """Run a plan; True if it is the smallest one now."""
        self.left -= 1
        self.executions += 1
        execution = runner.run(plan, values)
        if execution is None or not same_failure(execution.failure, self._failure):
            return False
        found = _found(execution, runner.noted)
        if found.key >= self.best.key:
            return False
        self.best = found
        return True

    def _fewer(self) -> None:
        """Make plans with fewer preemptions than the smallest one has, until one of them fails."""
        most, values = self.best.key[0], self.best.values
        # What was tried in vain was tried with these values only.
        if self._barren[0] != values:
            self._barren = (values, 0)
        if most <= self._barren[1]:
            return
        guide = Guided()
        search = FewPreemptions(guide)
        runner = self._run_by(guide, search.noted)
        for preemptions in range(most):
            for plan in search.plans(grows=preemptions + 1 < most):
                if self.left <= 0 or self._run(runner, plan, values):
                    return
            self._barren = (values, preemptions + 1)

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

    def _anywhere(self, plan: Plan, at: int) -> Iterator[Plan]:
        """Preempt a stretch elsewhere: where no task waits for what this one holds, fewer switches follow."""
        task, length = plan[at].task, plan[at].length
        if length is not None:
            segments = self.best.schedule.choices
            total = sum(one.length for one in segments if isinstance(one, Segment) and one.task == task)
            for other in range(1, total + 1, max(1, total // _PLACES)):
                yield (*plan[:at], Stretch(task, other), *plan[at + 1 :])


def _found(execution: Execution, noted: Noted) -> _Found:
    schedule = execution.schedule
    segments = tuple((one.task, one.length) for one in schedule.choices if isinstance(one, Segment))
    values = tuple(one.value for one in schedule.choices if isinstance(one, Datum))
    key = (noted.preemptions, schedule.switches, execution.steps, sum(values), values, segments)
    return _Found(key, noted.plan(execution.who, execution.when), values, schedule)
