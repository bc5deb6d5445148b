"""One exploration over several processes, with the result of one.

An execution depends on the seed, its number and earlier rounds (strategies that draw), or on the part of the search
that it belongs to. So batches are made in any order, by any worker, and their reports are added up in the order in
which one process would have made them: the failures, their first executions and all numbers are the same. Only a
budget in seconds and an interrupt depend on the machine; then everything that was found counts.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable
from dataclasses import replace

from sugarbush.concurrency.core import ConcurrencyError
from sugarbush.concurrency.search.batch import Made, Parts, Range, Report, Work
from sugarbush.concurrency.search.marks import Marks
from sugarbush.concurrency.search.tally import Tally
from sugarbush.concurrency.search.workers import Workers
from sugarbush.concurrency.strategies import (
    Divisible,
    Learning,
    Marking,
    Part,
    Reducing,
    Rising,
    Search,
    Strategy,
    end_of_round,
    starts_round,
)

_SECONDS = 0.25
"""How long a batch should take: long beside what it costs to send it, short beside the wait for the last one."""
_SMALLEST, _LARGEST = 8, 1024
_FEW = 16
_PARTS = 64


def explore_with(tally: Tally, work: Work, chooser: Strategy, workers: Workers) -> None:
    """Run the executions of `tally` by `workers`; `chooser` is the strategy, of which only this process learns.

    Raises `ConcurrencyError` if the strategy is a search that cannot be divided.
    """
    if isinstance(chooser, Search) and not isinstance(chooser, Divisible):
        raise ConcurrencyError(f"{work.strategy} cannot be divided among processes: leave out jobs")
    order = (
        _Tree(tally, chooser, workers.jobs)
        if isinstance(chooser, Divisible)
        else _Line(tally, chooser, workers.jobs)
    )
    # A part of a search that marks goes a long way again before it makes anything new.
    pace = _Pace(_FEW if isinstance(chooser, Marking) else 2)
    stop = False
    try:
        while not stop:
            while workers.wants_more and not tally.over and not tally.time_is_up:
                batch = order.next_batch(pace.size)
                if batch is None:
                    break
                workers.submit(replace(work, seconds=tally.time_left, sent=time.time()), batch)
            if not workers.busy:
                break
            for batch, reports in workers.finished(tally.time_left):
                pace.note(reports, workers.jobs)
                order.add(batch, reports)
            stop = order.count() or tally.time_is_up
    except KeyboardInterrupt:
        _sweep(order, workers)
        raise
    if tally.time_is_up and not tally.over:
        _sweep(order, workers)
    order.close()


def _sweep(order: _Line | _Tree, workers: Workers) -> None:
    """The exploration ends early: count what is done, also where something before it is missing."""
    for batch, reports in workers.stop():
        order.add(batch, reports)
    order.count(gaps=True)


class _Pace:
    """How many executions make a batch: as many as take `_SECONDS`, found by doubling."""

    def __init__(self, least: int) -> None:
        self.size = 2
        self._least = least
        self._start = time.monotonic()
        self._made = 0

    def note(self, reports: Iterable[Report], jobs: int) -> None:
        """A batch is done: double the next ones as long as they are short."""
        self._made += sum(len(report.made) for report in reports)
        rate = self._made / max(1e-6, time.monotonic() - self._start) / jobs
        wanted = min(_LARGEST, 2 * self.size, max(self._least, int(rate * _SECONDS)))
        self.size = wanted - wanted % 2


def _count(tally: Tally, report: Report) -> list[Made]:
    """Add a report to the result, as far as the budget goes; gives the executions that were counted."""
    result = tally.result
    made = _within(report.made, tally.room)
    lengths = [one.steps for one in made if one.steps is not None]
    before = result.executions
    for finding in report.findings:
        if finding.number < len(lengths) and not tally.over:
            tally.failed(replace(finding.witness, execution=before + finding.number))
    result.met = result.met or report.met
    result.pruned += len(made) - len(lengths)
    result.executions += len(lengths)
    result.steps += sum(lengths)
    for one in made:
        result.cut += one.cut
        result.repeated += one.repeated
        result.fair += one.fair
        if one.doubt:
            result.doubts.add(one.doubt)
        result.faults += one.faults
        result.looks_cut += one.looks_cut
        if one.headline is not None:
            result.times[one.headline] += 1
    if tally.wishes.sampler is not None and report.heard is not None:
        tally.wishes.sampler.add(report.heard)
    return made


def _within(made: list[Made], room: int | None) -> list[Made]:
    """The first of `made` until `room` executions were completed; those given up do not use up a budget."""
    if room is None:
        return made
    for number, one in enumerate(made):
        # One process ends at once, also where only such executions are left: it does not know that.
        if room == 0:
            return made[:number]
        room -= one.steps is not None
    return made


class _Line:
    """The executions of a strategy that draws: a line of ranges."""

    def __init__(self, tally: Tally, chooser: Strategy, jobs: int) -> None:
        self._tally = tally
        self._jobs = jobs
        self._chooser = chooser if isinstance(chooser, Learning) else None
        self._next = 0
        self._done: dict[int, tuple[int, Report]] = {}
        self._counted = 0
        self._lessons: list[object] = []

    def next_batch(self, size: int) -> Range | None:
        """The next range: within the budget, and within the round that has begun.

        Towards an end ranges get smaller, so that the workers end at about the same time.
        """
        start = self._next
        end = self._tally.wishes.executions
        knows = None
        if self._chooser is not None:
            if starts_round(start):
                # What the round before taught is known only when all of it is counted.
                if start > self._counted:
                    return None
                self._chooser.learn(self._lessons)
                self._lessons = []
            round_ends = end_of_round(start)
            end = round_ends if end is None else min(end, round_ends)
            knows = self._chooser.knows
        if end is not None:
            size = min(size, max(_SMALLEST, (end - start) // (2 * self._jobs)))
        # Ranges end at even numbers: the strategy `check` makes each schedule in two executions, 2i and 2i + 1.
        stop = start + size + (start + size) % 2
        if end is not None:
            stop = min(stop, end)
        if stop <= start:
            return None
        self._next = stop
        return Range(start, stop, knows)

    def add(self, batch: Range | Parts, reports: list[Report]) -> None:
        """A range is done."""
        assert isinstance(batch, Range)
        self._done[batch.start] = (batch.stop, reports[0])

    def count(self, *, gaps: bool = False) -> bool:
        """Count what is done and has nothing before it that is not; True if that was the end."""
        while self._done and not self._tally.over:
            start = min(self._done)
            if start > self._counted and not gaps:
                return False
            stop, report = self._done.pop(start)
            self._counted = stop
            self._lessons += report.lessons
            _count(self._tally, report)
            self._tally.tick()
        return self._tally.over

    def close(self) -> None:
        """Nothing is to be said: an exploration by drawing is never complete."""


class _Tree:
    """The executions of a search: parts, in the order of their choices."""

    def __init__(self, tally: Tally, chooser: Divisible, jobs: int) -> None:
        self._tally = tally
        self._jobs = jobs
        self._chooser = chooser
        self._open: list[Part] = []
        self._running: set[Part] = set()
        self._done: list[tuple[Part, int, Report]] = []
        self._reports = 0
        self._failing: Part | None = None
        self._ended = False
        self._is_short = False
        """The budget has ended within a report."""
        self._handed_out = 0
        self._begin(chooser.root)

    def _begin(self, root: Part) -> None:
        heapq.heappush(self._open, root)
        self._root = root
        result = self._tally.result
        result.cut = 0
        if isinstance(self._chooser, Rising):
            result.bound = root[0]
        self._marks = Marks(self._chooser) if isinstance(self._chooser, Marking) else None
        if self._marks is not None:
            result.traces, result.digest = 0, self._marks.traces.digest

    def next_batch(self, size: int) -> Parts | None:
        """The first parts that no worker has; none of those behind one that fails, or behind the budget."""
        room = self._tally.room
        most = size if room is None else min(size, room)
        parts: list[Part] = []
        # Where there are few they are shared out evenly: who took them all would leave nothing to the others.
        fair = -(-len(self._open) // (2 * self._jobs))
        while self._open and len(parts) < min(_PARTS, most, fair):
            # What one process would not have come to is not counted, so it is not made either.
            if self._failing is not None and self._open[0] > self._failing:
                break
            parts.append(heapq.heappop(self._open))
        self._running.update(parts)
        if not parts:
            return None
        start = self._handed_out
        self._handed_out += most
        return Parts(tuple(parts), most, start)

    def add(self, batch: Range | Parts, reports: list[Report]) -> None:
        """Some parts are done, and have left others; those that were not begun are open again."""
        assert isinstance(batch, Parts)
        self._running.difference_update(batch.parts)
        for part in batch.parts[len(reports) :]:
            heapq.heappush(self._open, part)
        for report in reports:
            for part in report.rest:
                heapq.heappush(self._open, part)
            if self._marks is not None:
                for part in self._marks.opened(report):
                    heapq.heappush(self._open, part)
            if report.made:
                self._reports += 1
                heapq.heappush(self._done, (report.part, self._reports, report))
            if report.findings and not self._tally.wishes.keep_going:
                self._failing = report.part if self._failing is None else min(self._failing, report.part)

    def count(self, *, gaps: bool = False) -> bool:
        """Count what is done and has nothing before it that is not; True if that was the end."""
        tally = self._tally
        # A part that is not done and stands before others may hold the first failure, and may use up the budget.
        missing = None if gaps else min((*self._open[:1], *self._running), default=None)
        while self._done and (gaps or tally.goes_on):
            if missing is not None and self._done[0][0] > missing:
                return False
            report = heapq.heappop(self._done)[2]
            made = _count(tally, report)
            self._is_short = self._is_short or len(made) < len(report.made)
            if self._marks is not None:
                self._marks.count(tally.result, report.part, made)
            elif isinstance(self._chooser, Reducing):
                # Each trace is completed once by a search without a bound.
                tally.result.traces = tally.result.executions
            tally.tick()
        if self._marks is not None and self._marks.are_many:
            here = (*self._open[:1], *self._running, *[one[0] for one in self._done[:1]])
            self._marks.forget(min(here, default=None))
        if self._is_open or self._is_short or gaps:
            return tally.over or tally.room == 0
        return self._go_on() or tally.over

    @property
    def _is_open(self) -> bool:
        return bool(self._open or self._running or self._done)

    def _go_on(self) -> bool:
        """The root is done; True if nothing follows it."""
        if isinstance(self._chooser, Rising):
            self._tally.result.completed = self._root[0]
        following = self._chooser.after(self._root, self._tally.result.cut)
        if following is None:
            self._ended = True
            return True
        if self._tally.goes_on:
            self._begin(following)
        return not self._tally.goes_on

    def close(self) -> None:
        """Say whether all was seen."""
        self._tally.result.exhaustive = self._ended
