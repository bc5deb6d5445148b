"""A batch: some executions of an exploration, as data that can be sent to another process, and what comes back."""

from __future__ import annotations

import base64
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from sugarbush.concurrency.core import (
    BadSchedule,
    ConcurrencyError,
    Execution,
    NotAReport,
    OutOfTime,
    from_text,
    no_threads,
    read,
    run_heard,
    to_text,
)
from sugarbush.concurrency.runtimes import Settings, Simulated, watchdog
from sugarbush.concurrency.search.sample import Runtimes, Sampler
from sugarbush.concurrency.search.tally import unconfirmed
from sugarbush.concurrency.strategies import (
    Divisible,
    Learning,
    Part,
    Pruned,
    Rising,
    Search,
    Strategy,
    make_strategy,
)
from sugarbush.concurrency.witness import Witness
from sugarbush.lockdep.outside import SugarbushError

_MISFIT = "BadSchedule"
_SKEW = 60.0
"""Seconds that a batch may wait beyond its time, before it is taken for a clock that is wrong."""

Opened = tuple[Callable[[], Any], Settings]


class Source(Protocol):
    """Where a worker gets the program from; it must be possible to pickle it."""

    def opened(self) -> AbstractContextManager[Opened]:
        """The program and its settings, for the length of a `with` block."""


@dataclass(frozen=True, slots=True)
class ByName:
    """A program that is importable by its name, and settings of importable parts."""

    program: Callable[[], Any]
    settings: Settings

    @contextmanager
    def opened(self) -> Iterator[Opened]:
        """See `Source.opened`."""
        yield self.program, self.settings


def packed(source: Source) -> bytes:
    """The source as data; raises `ConcurrencyError` if it cannot be sent to another process."""
    try:
        return pickle.dumps(source)
    except Exception as error:
        raise ConcurrencyError(
            "this program cannot be sent to another process, so it runs with one job only: it and its settings must "
            f"be importable by name, as a function at the top of a module is ({error})"
        ) from error


@dataclass(frozen=True, slots=True)
class Work:
    """What all batches of an exploration share; with `first_only` a batch ends at its first failure.

    `sampler` is the class of who hears some of the executions. At `sent`, a wall-clock time, there were `seconds` left
    (None: there is no limit).
    """

    source: bytes
    strategy: str
    seed: int
    depth: int | None
    first_only: bool
    sampler: type[Sampler] | None = None
    seconds: float | None = None
    sent: float = 0.0

    @property
    def out_of_time(self) -> Callable[[], bool] | None:
        """Whether the time is up, counted from now; None: there is no limit."""
        if self.seconds is None:
            return None
        # A batch may have waited for its worker. The clock of another machine may be wrong: then its wait is not known.
        waited = time.time() - self.sent
        left = self.seconds - waited if 0 <= waited <= self.seconds + _SKEW else self.seconds
        until = time.monotonic() + left
        return lambda: time.monotonic() >= until


@dataclass(frozen=True, slots=True)
class Range:
    """Executions `start` to `stop` - 1 of a strategy that draws, after it learned what it `knows`."""

    start: int
    stop: int
    knows: Any = None

    def __str__(self) -> str:
        return f"executions {self.start} to {self.stop - 1}"


@dataclass(frozen=True, slots=True)
class Parts:
    """The first `most` executions of these parts of a search, in order.

    Samplers take their numbers to be those from `start` on.
    """

    parts: tuple[Part, ...]
    most: int
    start: int

    def __str__(self) -> str:
        return f"the executions that begin with the choices {', '.join(map(str, self.parts))}"


@dataclass(frozen=True, slots=True)
class Finding:
    """An execution that failed: how many of its report were completed before it, and its witness."""

    number: int
    witness: Witness


class Made(NamedTuple):
    """One execution: its operations (None: it was given up), and what it added to `cut` and `repeated` of the search.

    The others are as in `Execution`; `headline` is that of its failure.
    """

    steps: int | None
    cut: int
    repeated: int
    fair: bool = False
    faults: int = 0
    looks_cut: bool = False
    headline: str | None = None
    doubt: str = ""


@dataclass(slots=True)
class Report:
    """What came of a range or of one part.

    `findings` has for each headline the first execution, and each that was simpler than those before. `rest` are the
    parts that are left of this one. `met`: in the whole batch, two tasks have touched a common place (`Meeting`).
    `heard` is what the sampler has heard in the whole batch, in one of its reports.
    """

    part: Part = ()
    made: list[Made] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    lessons: list[Any] = field(default_factory=list)
    rest: list[Part] = field(default_factory=list)
    heard: Any = None
    met: bool = False


class _Runner:
    """Runs executions of one strategy into reports."""

    def __init__(
        self,
        program: Callable[[], Any],
        runtimes: Runtimes[Simulated],
        chooser: Strategy,
        work: Work,
        start: int,
    ) -> None:
        self._program = program
        self._runtimes = runtimes
        self._chooser = chooser
        self._search = chooser if isinstance(chooser, Search) else None
        self._first_only = work.first_only
        self._smallest: dict[str, tuple[int, int]] = {}
        self._headlines: dict[str, str] = {}
        self.next = start
        """The number of the next execution."""
        self.over = False

    def execute(self, report: Report) -> None:
        """Make the next execution."""
        cut, repeated = self._said
        runtime = self._runtimes.of(self.next)
        runtime.executions = self.next
        self.next += 1
        try:
            execution = run_heard(runtime, self._program, self.next - 1)
            self._runtimes.meeting.over(execution)
        except Pruned:
            now_cut, now_repeated = self._said
            report.made.append(Made(None, now_cut - cut, now_repeated - repeated))
            return
        headline = None
        if execution.failure is not None:
            headline = self._failed(execution, report)
        now_cut, now_repeated = self._said
        report.made.append(
            Made(
                execution.steps,
                now_cut - cut,
                now_repeated - repeated,
                execution.fair,
                execution.faults,
                execution.looks_cut,
                headline,
                execution.doubt,
            )
        )

    def _failed(self, execution: Execution, report: Report) -> str:
        """Keep the witness if it may be the simplest of its headline; gives that, the same object each time."""
        number = sum(one.steps is not None for one in report.made)
        witness = unconfirmed(execution, number, self._chooser.name)
        headline = witness.failure.headline
        smallest = self._smallest.get(headline)
        if smallest is None or witness.size < smallest:
            self._smallest[headline] = witness.size
            report.findings.append(Finding(number, witness))
            self.over = self._first_only
        return self._headlines.setdefault(headline, headline)

    @property
    def _said(self) -> tuple[int, int]:
        search = self._search
        if search is None:
            return 0, 0
        return search.cut, search.repeated if isinstance(search, Rising) else 0


def run_batch(work: Work, batch: Range | Parts) -> list[Report]:
    """Run a batch: what a worker does. An interrupt ends it early; what was done is returned."""
    try:
        source: Source = pickle.loads(work.source)
    except Exception as error:
        raise ConcurrencyError(
            f"a worker cannot load the program: {type(error).__name__}: {error}; the module that it stands in must "
            "be importable there"
        ) from None
    reports: list[Report] = []
    with source.opened() as (program, settings), _interruptible():
        chooser = make_strategy(
            work.strategy, work.seed, work.depth, faults=settings.faults > 0, weak=settings.memory == "weak"
        )
        sampler = None if work.sampler is None else work.sampler()
        out_of_time = work.out_of_time

        def made(settings: Settings) -> Simulated:
            runtime = settings.runtime(chooser)
            runtime.out_of_time = out_of_time
            return runtime

        runtimes = Runtimes(made, settings, sampler)
        runner = _Runner(program, runtimes, chooser, work, batch.start)
        try:
            with watchdog(settings.patience), no_threads():
                if isinstance(batch, Range):
                    reports.append(Report())
                    _run_range(batch, runner, chooser, reports[0])
                else:
                    _run_parts(batch, runner, chooser, reports)
        except (KeyboardInterrupt, OutOfTime):
            pass
        for report in reports:
            report.met = runtimes.meeting.met
        if reports and sampler is not None:
            reports[0].heard = sampler.taken()
    return reports


def sent(work: Work, batch: Range | Parts) -> str:
    """Work for a worker that is not ours: it believes us, as whoever gives it work."""
    return base64.b64encode(pickle.dumps((work, batch))).decode("ascii")


def run_text(text: str) -> str:
    """What a worker that is not ours does with what `sent` gave: the reports as text, or why there are none."""
    try:
        work, batch = pickle.loads(base64.b64decode(text))
        return to_text(Answer(run_batch(work, batch)))
    except Exception as error:
        # An exception would come back pickled, and nobody unpickles what comes from elsewhere.
        if isinstance(error, BadSchedule):
            return to_text(Answer([], str(error), _MISFIT))
        if isinstance(error, SugarbushError):
            return to_text(Answer([], str(error)))
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno})"
        return to_text(Answer([], f"the program cannot be run by a worker: {where}"))


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes back of a batch: the reports, or an error, its words and whether it is a `BadSchedule`."""

    reports: list[Report]
    error: str = ""
    kind: str = ""


def understood(text: object, work: Work, batch: Range | Parts) -> list[Report]:
    """The reports of a batch from a worker that is not ours; raises `ConcurrencyError` for anything else."""
    try:
        reports, error, kind = from_text(text, tuple[list[list[Any]], str, str])
        if error:
            raise BadSchedule(error) if kind == _MISFIT else ConcurrencyError(error)
        found = [_report(one, work) for one in reports]
        _check_belongs(found, batch)
    except NotAReport as error:
        raise ConcurrencyError(
            f"a worker gave back what is no report of this Sugarbush ({error}): install the same version there"
        ) from None
    return found


_REPORT = tuple[Part, list[Made], list[Finding], Any, list[Part], Any, bool]
"""The fields of `Report`, two of them of a type that depends on the work."""


def _report(data: list[Any], work: Work) -> Report:
    """One report, whose lessons and counts have the types of this work's strategy and sampler."""
    part, made, findings, lessons, rest, heard, met = read(data, _REPORT)
    chooser = make_strategy(work.strategy, work.seed, work.depth)
    if isinstance(chooser, Learning):
        lessons = read(lessons, list[chooser.teaches])  # type: ignore[name-defined]
    elif lessons != []:
        raise NotAReport(f"{work.strategy} learns nothing")
    if work.sampler is not None and heard is not None:
        heard = read(heard, work.sampler.hears)
    return Report(part, made, findings, lessons, rest, heard, met)


def _check_belongs(reports: list[Report], batch: Range | Parts) -> None:
    """The reports are those of this batch, as far as can be told: the result counts them, and would not end."""
    most = batch.stop - batch.start if isinstance(batch, Range) else batch.most
    parts = [()] if isinstance(batch, Range) else list(batch.parts)
    if [report.part for report in reports] != parts[: len(reports)] or len(reports) > len(parts):
        raise NotAReport("it is about other work")
    if isinstance(batch, Range) and len(reports) != 1:
        raise NotAReport("it has not one report")
    if sum(len(report.made) for report in reports) > most:
        raise NotAReport("it has more executions than were asked for")
    for report in reports:
        if isinstance(batch, Parts) and not report.made and not report.rest:
            raise NotAReport("of a part of a search nothing was made and nothing is left")
        if any(
            (one.steps or 0) < 0 or one.cut < 0 or one.repeated < 0 or one.faults < 0 for one in report.made
        ):
            raise NotAReport("it counts less than nothing")
        completed = sum(one.steps is not None for one in report.made)
        if any(not 0 <= finding.number < completed for finding in report.findings):
            raise NotAReport("it has findings of executions that were not made")


def _run_range(batch: Range, runner: _Runner, chooser: Strategy, report: Report) -> None:
    if isinstance(chooser, Learning):
        chooser.knows = batch.knows
    while runner.next < batch.stop and not runner.over:
        runner.execute(report)
    if isinstance(chooser, Learning):
        report.lessons = chooser.lessons()


def _run_parts(batch: Parts, runner: _Runner, chooser: Strategy, reports: list[Report]) -> None:
    assert isinstance(chooser, Divisible)
    left = batch.most
    for part in batch.parts:
        report = Report(part, rest=[part])
        reports.append(report)
        chooser.enter(part)
        if left <= 0 or runner.over:
            continue
        try:
            while left > 0 and chooser.left and not runner.over:
                left -= 1
                runner.execute(report)
        finally:
            report.rest = chooser.rest()


@contextmanager
def _interruptible() -> Iterator[None]:
    """A worker that ignores interrupts while it waits hears them while it works."""
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    )
    if ours:
        for number in _OF_TERMINALS:
            signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        if ours:
            ignore_interrupts()


_OF_TERMINALS = [getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)]


def ignore_interrupts() -> None:
    """How our own workers start: what a terminal sends, for Ctrl-C or at its end, reaches all processes at once."""
    for number in _OF_TERMINALS:
        signal.signal(number, signal.SIG_IGN)
