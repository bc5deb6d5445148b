"""Exploring a program: many executions under one strategy, and what came of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from concurrent.futures import Executor
from itertools import count
from typing import Any, cast

from sugarbush.concurrency.core import (
    EVERY,
    BadSchedule,
    ConcurrencyError,
    Execution,
    OutOfTime,
    active,
    check_runs,
    looks_on_the_way,
    no_threads,
    run_heard,
)
from sugarbush.concurrency.runtimes import Settings, Simulated, watchdog
from sugarbush.concurrency.search.batch import ByName, Source, Work, packed
from sugarbush.concurrency.search.parallel import explore_with
from sugarbush.concurrency.search.sample import Runtimes, Sampler
from sugarbush.concurrency.search.tally import Tally, Wishes
from sugarbush.concurrency.search.workers import Workers
from sugarbush.concurrency.strategies import (
    DEFAULT_STRATEGY,
    Pruned,
    Reducing,
    Rising,
    Search,
    Seeing,
    Strategy,
    fits,
    make_strategy,
    unit_of,
)
from sugarbush.concurrency.witness import Result, Witness, tell_apart

_BUDGET, _SEARCH_BUDGET = 1000, 1_000_000
RUNTIMES = ("simulated", "threaded")


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
    sampler: Sampler | None = None,
    jobs: int = 1,
    executor: Executor | None = None,
    source: Source | None = None,
) -> Result:
    """Run `program` under many schedules until one fails, or a budget ends.

    `depth` is that of PCT, or the bound of a search (preemptions, or delays), which ends when it has seen every
    schedule within it. The budget is `executions` (if neither is given 1000, or a million for a search) or
    `seconds`, whichever ends first; an execution that has not ended by then is given up and does not count.
    With `keep_going` the exploration goes on after a failure and keeps the simplest witness of each headline
    (`Witness.size`). `progress` is called after each execution, `found` with each witness that is kept, in
    place of an earlier one of its headline where it is simpler. `sampler` hears every so-many-th execution. A
    KeyboardInterrupt ends the exploration; what was found is returned. The ``threaded`` runtime makes no
    choices, so its witnesses have an empty schedule.

    With `jobs` above 1 so many processes share the work; with an `executor` its workers do. The result is that of one
    process. The program must then be importable by name, or `source` says where a worker gets it from; `progress` is
    called after each batch of executions.

    Raises `BadSchedule` if an execution does not replay: the program is not deterministic; the message names the first
    operation that differs. Raises `ConcurrencyError` for a strategy or runtime that does not exist, for a program that
    cannot be sent to another process, for one that ends the process that runs it, and for one in which a task waits
    outside the runtime (`Settings.patience`).
    """
    check_runs(program, "the program given to explore()", "write explore(program), not explore(program())")
    _check_callable_without_arguments(program)
    _check_budget(executions, seconds, seed, jobs)
    if not isinstance(keep_going, bool):
        raise ConcurrencyError(f"keep_going must be True or False, not {keep_going!r}")
    if not isinstance(settings, Settings | None):
        raise ConcurrencyError(f"settings must be a Settings object, not {settings!r}")
    for word, function in (("progress", progress), ("found", found)):
        if function is not None and not callable(function):
            raise ConcurrencyError(f"{word} must be a function, not {function!r}")
    for word, one, kind in (("sampler", sampler, Sampler), ("executor", executor, Executor)):
        if not isinstance(one, kind | None):
            raise ConcurrencyError(f"{word} must be a {kind.__name__}, not {one!r}")
    if source is not None and not hasattr(source, "opened"):
        raise ConcurrencyError(f"a source has a method opened(), see Source; {source!r} has none")
    if runtime not in RUNTIMES:
        raise ConcurrencyError(f"no runtime is called {runtime!r}: there are {', '.join(RUNTIMES)}")
    if runtime == "threaded" and (jobs != 1 or executor is not None):
        raise ConcurrencyError("the threaded runtime runs in one process: leave out jobs and executor")
    settings = settings or Settings()
    result = Result(strategy, seed, unit=unit_of(strategy))
    chooser: Strategy | None = None
    # Before processes are started for it: inside a task that would be refused in words that are about something else.
    if active.runtime is not None:
        raise ConcurrencyError("a program is running in this process: explorations do not nest")
    if runtime == "threaded":
        result.strategy = "os"
    else:
        chooser = make_strategy(
            strategy, seed, depth, faults=settings.faults > 0, weak=settings.memory == "weak"
        )
        result.watched = fits(chooser, Reducing) and looks_on_the_way(
            tuple(settings.further()), seeing=fits(chooser, Seeing)
        )
        if fits(chooser, Search):
            note(result, cast(Search, chooser))
    if executions is None and seconds is None:
        executions = _SEARCH_BUDGET if fits(chooser, Search) else _BUDGET
    tally = Tally(
        program, settings, result, Wishes(executions, seconds, keep_going, progress, found, sampler)
    )
    try:
        if chooser is None:
            with no_threads():
                _by_threads(tally)
        elif jobs == 1 and executor is None:
            with watchdog(settings.patience), no_threads():
                _here(tally, chooser)
        else:
            how = packed(source or ByName(program, settings))
            hears = None if sampler is None else type(sampler)
            work = Work(how, strategy, seed, depth, not keep_going, hears)
            workers = Workers(jobs, executor)
            try:
                explore_with(tally, work, chooser, workers)
            finally:
                workers.close()
    except KeyboardInterrupt:
        result.interrupted = True
    tally.stop()
    return result


def _check_callable_without_arguments(program: Callable[[], Any]) -> None:
    try:
        inspect.signature(program).bind()
    except TypeError as error:
        raise ConcurrencyError(
            f"explore() calls its program without arguments ({error}): give it functools.partial(program, ...)"
        ) from None
    except ValueError:
        # A function written in C does not say what it takes.
        pass


def _check_budget(executions: object, seconds: object, seed: object, jobs: object) -> None:
    """Refuse what would explore nothing, or not what was meant."""
    if executions is not None and (type(executions) is not int or executions < 1):
        raise ConcurrencyError(f"executions must be a whole number above 0, not {executions!r}")
    # NaN compares as false with everything, so it is not above 0 either.
    if seconds is not None and (
        isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0
    ):
        raise ConcurrencyError(f"seconds must be a number above 0, not {seconds!r}")
    if type(seed) is not int:
        raise ConcurrencyError(f"seed must be a whole number, not {seed!r}")
    if type(jobs) is not int or jobs < 1:
        raise ConcurrencyError(f"jobs must be a whole number above 0, not {jobs!r}")


def _by_threads(tally: Tally) -> None:
    """Run the executions of a tally by operating system threads."""
    result = tally.result
    runtimes = Runtimes(lambda settings: settings.threaded(result.seed), tally.settings, tally.wishes.sampler)
    while tally.goes_on:
        runner = runtimes.of(result.executions)
        runner.out_of_time = tally.out_of_time
        try:
            execution = run_heard(runner, tally.program, result.executions)
        except OutOfTime:
            return
        runtimes.meeting.over(execution)
        result.met = runtimes.meeting.met
        tally.executed(execution, result.strategy)
        tally.tick()


def _here(tally: Tally, chooser: Strategy) -> None:
    """Run the executions of a tally in this process, one after the other."""
    runtimes = Runtimes(lambda settings: settings.runtime(chooser), tally.settings, tally.wishes.sampler)
    search = cast(Search, chooser) if fits(chooser, Search) else None
    out_of_time, meeting = tally.out_of_time, runtimes.meeting
    for number in count():
        if not tally.goes_on:
            return
        runner = runtimes.of(number)
        runner.executions = number
        runner.out_of_time = out_of_time
        try:
            # Some executions are listened to for locks of the operating system, which costs too much for all.
            if number % EVERY:
                execution = runner.run(tally.program)
            else:
                execution = run_heard(runner, tally.program, number)
            if not meeting.met:
                meeting.over(execution)
        except Pruned:
            tally.result.pruned += 1
            execution = None
        except OutOfTime:
            return
        except BadSchedule as error:
            raise BadSchedule(f"{error}{_told_apart(tally, runner)}") from error
        tally.result.met = runtimes.meeting.met
        if search is not None:
            note(tally.result, search)
            tally.over = not search.left
        if execution is not None:
            tally.executed(execution, chooser.name)
            tally.tick()


def _told_apart(tally: Tally, runner: Simulated) -> str:
    """How the execution that did not fit differs from another one with the same beginning, in words."""
    schedule = Execution(None, runner.steps, *runner.trail, []).schedule
    said = tell_apart(tally.program, schedule, runner.steps, tally.settings)
    return f" ({said.rstrip('; ')})" if said else ""


def note(result: Result, search: Search) -> None:
    """Take over into the result what a search says of itself."""
    result.bound = search.bound
    result.cut = search.cut
    result.exhaustive = not search.left
    if isinstance(search, Rising):
        result.completed, result.repeated = search.completed, search.repeated
    # After each execution of a search.
    if fits(search, Reducing):
        result.traces = cast(Reducing, search).traces
    if fits(search, Seeing):
        result.digest = cast(Seeing, search).digest
