"""Running a batch: what a worker does, in our own process or in another one."""

from __future__ import annotations

import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sugarbush.concurrency.core import ConcurrencyError, Execution, OutOfTime, no_threads, run_heard
from sugarbush.concurrency.runtimes import Settings, Simulated, watchdog
from sugarbush.concurrency.search.batch import Finding, Made, Parts, Range, Report, Source, Work
from sugarbush.concurrency.search.sample import Runtimes
from sugarbush.concurrency.search.tally import unconfirmed
from sugarbush.concurrency.strategies import (
    Divisible,
    Learning,
    Marking,
    Pruned,
    Rising,
    Search,
    Strategy,
    make_strategy,
)


class _BatchRunner:
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
        self._marking = chooser if isinstance(chooser, Marking) else None
        self._first_only = work.first_only
        self._smallest: dict[str, tuple[int, int]] = {}
        self._headlines: dict[str, str] = {}
        self.next = start
        """The number of the next execution."""
        self.over = False

    def execute(self, report: Report) -> None:
        """Make the next execution, and put into `report` what came of it."""
        cut, repeated = self._said
        runtime = self._runtimes.of(self.next)
        runtime.executions = self.next
        self.next += 1
        try:
            execution = run_heard(runtime, self._program, self.next - 1)
            self._runtimes.meeting.over(execution)
        except Pruned:
            now_cut, now_repeated = self._said
            report.made.append(Made(None, now_cut - cut, now_repeated - repeated, marked=self._marked))
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
                None if self._marking is None else self._marking.signature,
                self._marked,
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
        # One object for all of one headline, which is then sent to the other process once.
        return self._headlines.setdefault(headline, headline)

    @property
    def _marked(self) -> tuple[tuple[int, int], ...]:
        return () if self._marking is None else self._marking.marked

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
        runner = _BatchRunner(program, runtimes, chooser, work, batch.start)
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


def _run_range(batch: Range, runner: _BatchRunner, chooser: Strategy, report: Report) -> None:
    if isinstance(chooser, Learning):
        chooser.knows = batch.knows
    while runner.next < batch.stop and not runner.over:
        runner.execute(report)
    if isinstance(chooser, Learning):
        report.lessons = chooser.lessons()


def _run_parts(batch: Parts, runner: _BatchRunner, chooser: Strategy, reports: list[Report]) -> None:
    assert isinstance(chooser, Divisible)
    left = batch.most
    for part in batch.parts:
        # Until something of it was made all of it is left, also if an interrupt comes before.
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
