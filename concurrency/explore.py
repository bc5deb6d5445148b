"""Exploring a program: many executions under one strategy, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from concurrency.dependence import Dependence
from concurrency.execution import Execution
from concurrency.failure import BadSchedule, ConcurrencyError, Failure
from concurrency.observer import Observer, hearers
from concurrency.race import RaceDetector
from concurrency.recorder import Event, Recorder
from concurrency.schedule import Schedule
from concurrency.simulated import DEFAULT_MAX_STEPS, Simulated
from concurrency.slab import LeakCheck
from concurrency.strategy import (
    DPOR,
    PCT,
    POS,
    SURW,
    DepthFirst,
    Pruned,
    RandomWalk,
    Replay,
    Search,
    Strategy,
)
from concurrency.strategy.base import Listening
from concurrency.strategy.guided import Noted
from concurrency.threaded import Threaded
from concurrency.validator import LockValidator

DEFAULT_STRATEGY = "pct"
STRATEGIES = ("random", "pct", "pos", "surw", "dfs", "dpor")
DEFAULT_DEPTH = 4
"""Of PCT; a search has no bound unless one is given."""

_BUDGET, _SEARCH_BUDGET = 1000, 1_000_000
RUNTIMES = ("simulated", "threaded")


class Verdict(StrEnum):
    """What an exploration can say: never 'passed' unless everything within the stated bound was seen."""

    FAILED = "failed"
    PASSED = "passed"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Witness:
    """A schedule that ends in a failure, and what happened on the way.

    `execution` is the number, from 0, of the execution that found it. `preemptions` counts the switches away from a
    task that could have gone on; the other switches no schedule can avoid.
    """

    failure: Failure
    schedule: Schedule
    execution: int
    steps: int
    tasks: tuple[str, ...]
    events: tuple[Event, ...]
    preemptions: int = 0


@dataclass(slots=True)
class Result:
    """What an exploration found; `seconds` is wall-clock time, `steps` counts operations of all executions.

    `exhaustive` says that every schedule was seen with at most `bound` preemptions (None: every schedule). `cut` is
    the number of switch points at which that bound forbade to go on with another task; with 0 it forbade nothing.
    `pruned` counts the executions that were begun and given up, since nothing new could come of them; they are not
    among `executions`. `watched` says that a reduced search ran with checks that look at the whole state: they saw
    one execution of each trace, and what they would say of the others is open.
    """

    strategy: str
    seed: int
    executions: int = 0
    steps: int = 0
    seconds: float = 0.0
    exhaustive: bool = False
    interrupted: bool = False
    bound: int | None = None
    cut: int = 0
    pruned: int = 0
    watched: bool = False
    failures: list[Witness] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """Failed, passed (exhaustive) or inconclusive (a budget ended)."""
        if self.failures:
            return Verdict.FAILED
        return Verdict.PASSED if self.exhaustive and not self.watched else Verdict.INCONCLUSIVE

    @property
    def scope(self) -> str:
        """What the exploration has seen, in words."""
        if not self.exhaustive:
            return "some of the schedules"
        if self.strategy == "dpor":
            watched = "; checks of the whole state saw one execution of each" if self.watched else ""
            return f"every trace ({self.executions}; {self.pruned} executions were given up){watched}"
        if not self.cut:
            return "every schedule"
        return f"every schedule within preemption bound {self.bound}, which cut {self.cut} switch points"


@dataclass(frozen=True, slots=True)
class Settings:
    """How each execution is run.

    `without` names checks that are switched off. `faults` is how many allocations may fail, by choice, in one
    execution, `spurious` how many waits of each task may end for no reason, by choice (`schedule`,
    `Condition.wait`). `observers` makes the further observers of a runtime: the invariants of a scenario.
    """

    without: frozenset[str] = frozenset()
    faults: int = 0
    spurious: int = 0
    max_steps: int = DEFAULT_MAX_STEPS
    observers: Callable[[], Sequence[Observer]] = tuple

    def _common(self, *, stacks: bool) -> list[Observer]:
        common: list[Observer] = []
        if "lockdep" not in self.without:
            common.append(LockValidator(stacks=stacks))
        if "leak" not in self.without:
            common.append(LeakCheck())
        return common

    def threaded(self, seed: int) -> Threaded:
        """A threaded runtime with those observers that make sense there."""
        return Threaded(
            (*self._common(stacks=True), *self.observers()),
            without=self.without,
            faults=self.faults,
            seed=seed,
        )

    def runtime(
        self,
        strategy: Strategy,
        *,
        stacks: bool = False,
        recorder: Observer | None = None,
        max_steps: int | None = None,
    ) -> Simulated:
        """A simulated runtime with the observers that these settings ask for, and `recorder` before them."""
        observers = self._common(stacks=stacks)
        if recorder is not None:
            observers.insert(0, recorder)
        if isinstance(strategy, Listening):
            observers.insert(0, strategy.listener)
        if "data-race" not in self.without:
            observers.append(RaceDetector(stacks=stacks))
        observers += self.observers()
        return Simulated(
            strategy,
            tuple(observers),
            without=self.without,
            faults=self.faults,
            spurious=self.spurious,
            max_steps=max_steps or self.max_steps,
        )


def make_strategy(name: str, seed: int, depth: int | None = None, *, faults: bool = False) -> Strategy:
    """The strategy of this name; `faults` says that allocations may fail.

    `depth` is for those that take one: PCT (4 if None), dfs (no bound if None).
    """
    if name == "random":
        return RandomWalk(seed)
    if name == "dfs":
        return DepthFirst(depth)
    if name == "dpor" and depth is not None:
        raise ConcurrencyError("dpor has no depth: it sees every trace")
    if name == "dpor":
        return DPOR(Dependence(faults=faults))
    depth = DEFAULT_DEPTH if depth is None else depth
    if name == "pos":
        return POS(seed)
    if name == "surw":
        return SURW(seed)
    if name == "pct" and depth < 1:
        raise ConcurrencyError(f"the depth of a bug is at least 1, not {depth}")
    if name == "pct":
        return PCT(seed, depth)
    raise ConcurrencyError(f"no strategy is called {name!r}: there are {', '.join(STRATEGIES)}")


def explore(
    program: Callable[[], Any],
    *,
    strategy: str = DEFAULT_STRATEGY,
    depth: int | None = None,
    executions: int | None = None,
    seconds: float | None = None,
    seed: int = 1,
    keep_going: bool = False,
    runtime: str = "simulated",
    settings: Settings | None = None,
    progress: Callable[[Result], None] | None = None,
    found: Callable[[Witness], None] | None = None,
) -> Result:
    """Run `program` under many schedules until one fails, or a budget ends.

    `depth` is that of PCT, or the preemption bound of a search (dfs), which ends when it has seen every schedule
    within it. The budget is `executions` (if neither is given 1000, or a million for a search) or `seconds`,
    whichever ends first. With `keep_going` the exploration goes on after a failure and keeps one witness of each
    headline. `progress` is called after each execution, `found` with each witness that is kept. A KeyboardInterrupt
    ends the exploration; what was found is returned. The ``threaded`` runtime makes no choices, so its witnesses have
    an empty schedule.

    Raises `BadSchedule` if a failing execution does not replay: the program is not deterministic. Raises
    `ConcurrencyError` for a strategy or runtime that does not exist.
    """
    if runtime not in RUNTIMES:
        raise ConcurrencyError(f"no runtime is called {runtime!r}: there are {', '.join(RUNTIMES)}")
    settings = settings or Settings()
    search: Search | None = None
    runner: Simulated | Threaded
    if runtime == "threaded":
        runner = settings.threaded(seed)
        result = Result("os", seed)
    else:
        chooser = make_strategy(strategy, seed, depth, faults=settings.faults > 0)
        runner = settings.runtime(chooser)
        result = Result(strategy, seed)
        if isinstance(chooser, Search):
            search = chooser
            result.bound = search.bound
            result.watched = strategy == "dpor" and bool(hearers(tuple(settings.observers()), "announced"))
    if executions is None and seconds is None:
        executions = _BUDGET if search is None else _SEARCH_BUDGET
    start = time.monotonic()
    seen: set[str] = set()
    try:
        while (executions is None or result.executions + result.pruned < executions) and (
            seconds is None or time.monotonic() - start < seconds
        ):
            try:
                execution = runner.run(program)
            except Pruned:
                assert search is not None
                result.pruned += 1
                result.exhaustive = not search.left
                if result.exhaustive:
                    break
                continue
            if search is not None:
                result.exhaustive = not search.left
                result.cut = search.cut
            result.executions += 1
            result.steps += execution.steps
            failure = execution.failure
            if failure is not None and failure.headline not in seen:
                seen.add(failure.headline)
                witness = _witness(program, execution, result, settings)
                result.failures.append(witness)
                if found is not None:
                    found(witness)
                if not keep_going or result.interrupted:
                    break
            result.seconds = time.monotonic() - start
            if progress is not None:
                progress(result)
            if result.exhaustive:
                break
    except KeyboardInterrupt:
        result.interrupted = True
    result.seconds = time.monotonic() - start
    return result


def replay(
    program: Callable[[], Any],
    schedule: Schedule | str,
    *,
    settings: Settings | None = None,
    execution: int = 0,
) -> Witness:
    """Run `program` once under `schedule`, with everything recorded.

    Raises `BadSchedule` if the schedule does not fit the program, or if nothing fails under it.
    """
    settings = settings or Settings()
    if isinstance(schedule, str):
        schedule = Schedule.parse(schedule)
    recorder = Recorder()
    noted = Noted(Replay(schedule))
    runtime = settings.runtime(noted, stacks=True, recorder=recorder)
    done = runtime.run(program)
    if done.schedule != schedule:
        raise BadSchedule(
            f"the schedule does not fit the program: it has {schedule.switches} switches, the run made "
            f"{done.schedule.switches} and ended after {done.steps} operations"
        )
    if done.failure is None:
        raise BadSchedule(f"nothing fails under this schedule ({done.steps} operations)")
    return Witness(
        done.failure,
        schedule,
        execution,
        done.steps,
        tuple(recorder.tasks),
        tuple(recorder.events),
        noted.preemptions,
    )


def _witness(program: Callable[[], Any], execution: Execution, result: Result, settings: Settings) -> Witness:
    """The witness of an execution that failed; a simulated one is run again, with everything recorded.

    An interrupt during that second run leaves a witness without events: what was found is not lost.
    """
    failure = execution.failure
    assert failure is not None
    number = result.executions - 1
    bare = Witness(failure, execution.schedule, number, execution.steps, (), ())
    if not execution.who:
        return bare
    try:
        witness = replay(program, execution.schedule, settings=settings, execution=number)
    except BadSchedule as error:
        raise BadSchedule(f"the program is not deterministic: {error}") from error
    except KeyboardInterrupt:
        result.interrupted = True
        return bare
    if witness.failure.signature != failure.signature:
        raise BadSchedule(_unstable(failure, witness.failure))
    return witness


def _unstable(first: Failure, second: Failure) -> str:
    return (
        f"the program is not deterministic: the same schedule gave {first.headline!r} at operation {first.step}, "
        f"then {second.headline!r} at operation {second.step}"
    )
