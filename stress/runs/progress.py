"""How far a run is: a live line for a person at a terminal, a line now and then for a log."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from loguru import logger
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sugarbush.concurrency import Result
from sugarbush.stress.kit import Counts, Plan
from sugarbush.stress.runs.campaign import Progress as Update

_SHOWN = 0.2
"""Seconds between two looks of a person."""
_HEARTBEAT = 10.0
"""Seconds between two lines of a log."""


@contextmanager
def shown(plan: Plan) -> Iterator[Update]:
    """Show on standard error how far the run is, while the block runs."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Now(
            _HEARTBEAT,
            lambda result, counts: logger.info("{}: {}", plan.scenario.name, in_a_line(result, counts)),
        )
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[line]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        total = plan.schedules if plan.seconds is None else plan.seconds
        task = bar.add_task(plan.scenario.name, total=total, line="")

        def update(result: Result, counts: Counts) -> None:
            done = result.executions if plan.seconds is None else result.seconds
            bar.update(task, completed=done, line=in_a_line(result, counts))

        yield _Now(_SHOWN, update)


class _Now:
    """Passes on what it hears, at most every so many seconds."""

    def __init__(self, every: float, update: Update) -> None:
        self._every = every
        self._update = update
        self._last = time.monotonic()

    def __call__(self, result: Result, counts: Counts) -> None:
        now = time.monotonic()
        if now - self._last >= self._every:
            self._last = now
            self._update(result, counts)


def in_a_line(result: Result, counts: Counts) -> str:
    """How far it is, in a line."""
    kinds = Counter(witness.failure.kind.value for witness in result.failures)
    failures = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "0 failures"
    rate = result.executions / max(result.seconds, 1e-9)
    counted = counts.counted
    seen = f", {len(counted.chains)} lock chains, {len(counted.pairs)} pairs"
    if result.bound is not None:
        # Who waits for a search to end wants to know how far that is; the counts of the sample tell nothing of it.
        traces = f", {result.traces} traces" if result.traces else ""
        seen = f", {result.unit} bound {result.bound}{traces}"
    return f"{result.executions} executions, {rate:.0f} a second, {failures}{seen}, {resident() >> 20} MiB"


def resident() -> int:
    """Bytes of memory that this process has resident."""
    return int(psutil.Process().memory_info().rss)
