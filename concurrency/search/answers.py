"""Batches for workers that are not ours: work goes there pickled, and comes back as data that is checked.

What a worker gives back is not believed: it is JSON, not a pickle, each field is read as the type that it must have,
and the counts must be possible for the batch that was sent.
"""

from __future__ import annotations

import base64
import pickle
import traceback
from dataclasses import dataclass
from typing import Any

from sugarbush.concurrency.core import BadSchedule, ConcurrencyError, NotAReport, from_text, read, to_text
from sugarbush.concurrency.search.batch import Finding, Made, Parts, Range, Report, Work
from sugarbush.concurrency.search.running import run_batch
from sugarbush.concurrency.strategies import Learning, Part, make_strategy
from sugarbush.lockdep.outside import SugarbushError

_MISFIT = "BadSchedule"


def sent(work: Work, batch: Range | Parts) -> str:
    """Work for a worker that is not ours, as text: a worker believes whoever gives it work, so this is a pickle."""
    return base64.b64encode(pickle.dumps((work, batch))).decode("ascii")


def run_text(text: str) -> str:
    """What a worker that is not ours does with what `sent` gave: the reports as text, or why there are none."""
    try:
        work, batch = pickle.loads(base64.b64decode(text))
        return to_text(Answer(run_batch(work, batch)))
    except Exception as error:
        # An exception would come back pickled, and what comes from elsewhere is never unpickled.
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
    """Refuse reports that cannot be those of this batch: the result would count them, or the search not end."""
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
        if any(
            not 0 <= number < len(report.part) or ways < 0
            for one in report.made
            for number, ways in one.marked
        ):
            raise NotAReport("it marks what lies above no part of it")
        if any(not 0 <= finding.number < completed for finding in report.findings):
            raise NotAReport("it has findings of executions that were not made")
