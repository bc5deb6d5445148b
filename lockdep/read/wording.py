"""Findings as text: the cycle as a path with each step's own function first, the schedule, plain words,
questions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from sugarbush.lockdep.model import ReportKind, Stack
from sugarbush.lockdep.read.explain import questions, schedule, steps, words
from sugarbush.lockdep.read.gathering import Finding
from sugarbush.lockdep.read.model import NOBODY, LogReport, told_frame, told_lock
from sugarbush.lockdep.read.titles import is_own

_FRAMES: Final = 6
_MODES: Final = {
    "read": "probably for read",
    "try": "probably a trylock",
    "wait": "a wait",
    "write": "exclusive",
}


def as_text(findings: Iterable[Finding]) -> str:
    """All findings, one after the other; nothing in them moves the cursor or colours what follows."""
    blocks = ["\n".join(_finding(one)) for one in findings]
    return "\n\n".join(map(harmless, blocks)) + "\n" if blocks else ""


def harmless(text: str) -> str:
    """Text of a log with its control characters written out."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)


def _finding(one: Finding) -> Iterator[str]:
    report = one.report
    name = one.identity or f"{report.word}, incomplete"
    yield f"{name}: {report.title or report.headline or 'a lock report without its headline'}"
    seen = (
        f"seen {one.count} times, first {one.first}, last {one.last}"
        if one.count > 1
        else f"seen at {one.first}"
    )
    yield f"  {seen}" + (f"; kernels {', '.join(one.kernels)}" if one.kernels else "")
    others = [title for title in one.titles if title != report.title]
    if others:
        yield f"  other titles: {'; '.join(others)}"
    if len(one.paths) > 1:
        yield f"  over {len(one.paths)} different paths of calls"
    if one.near:
        yield f"  known cycles with this order: {', '.join(one.near)}"
    yield from _cycle(report)
    yield from _rest(report)
    text = words(report)
    if text:
        yield ""
        yield f"  In plain words: {text}"
    asked = questions(report)
    if asked:
        yield ""
        yield "  Before you believe it:"
        for question in asked:
            yield f"  - {question.what}"
            yield f"    Look at: {question.look_at}"


def _cycle(report: LogReport) -> Iterator[str]:
    every = steps(report)
    if not every:
        return
    yield ""
    yield f"  The cycle, {len(every)} locks:"
    yield f"    {every[0].held}"
    for step in every:
        mode = f", {_MODES[step.mode]}" if step.mode in _MODES else ""
        closing = ", the step that closed it" if step.closing else ""
        yield f"      -> {step.wanted}    in {step.function or 'an unknown place'}{mode}{closing}"
        yield from _frames(step.stack)
    yield ""
    yield "  A schedule that deadlocks, one CPU for each step:"
    yield from (f"  {line}" for line in schedule(report))


def _frames(stack: Stack) -> Iterator[str]:
    """The user's frames, from the first one on."""
    start = next((at for at, frame in enumerate(stack) if is_own(frame.function)), 0)
    for frame in stack[start : start + _FRAMES]:
        yield f"           {told_frame(frame)}"
    if len(stack) - start > _FRAMES:
        yield f"           ... {len(stack) - start - _FRAMES} more"


def _rest(report: LogReport) -> Iterator[str]:
    if report.kind is not ReportKind.CIRCULAR or not report.complete:
        if report.wanted is not None:
            yield f"  lock:   {told_lock(report.wanted)}"
        if report.owned is not None:
            yield f"  held:   {told_lock(report.owned)}"
        if report.states:
            yield f"  states: {' -> '.join(report.states)}"
        if report.message:
            yield f"  says:   {report.message}"
        for usage in report.usages:
            yield f"  {usage.usage} at:"
            yield from _frames(usage.stack)
        if report.stack:
            yield "  where:"
            yield from _frames(report.stack)
    if report.held:
        yield f"  held by {'the task' if report.task is NOBODY else report.task}:"
        yield from (f"    #{at}: {told_lock(line)}" for at, line in enumerate(report.held))
    for row in report.rows:
        yield f"  held by {row.comm}/{row.pid}:"
        yield from (f"    #{at}: {line}" for at, line in enumerate(row.locks))
