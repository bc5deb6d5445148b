"""How far a run is: a bar for a person at a terminal, a line now and then for a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from loguru import logger
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from concurrency import Result
from stress.run import Plan

_EVERY = 16
"""Executions between two looks at the clock."""

_HEARTBEAT = 10.0
"""Seconds between two lines of a log."""

Update = Callable[[Result], None]


@contextmanager
def shown(plan: Plan) -> Iterator[Update]:
    """Show on standard error how far the run is, while the block runs."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _heartbeat(plan)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[executions]} executions, {task.fields[found]} failures"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        total = plan.schedules if plan.seconds is None else plan.seconds
        task = bar.add_task(plan.scenario.name, total=total, executions=0, found=0)

        told = 0

        def update(result: Result) -> None:
            nonlocal told
            if result.executions >= told + _EVERY:
                told = result.executions
                done = result.executions if plan.seconds is None else result.seconds
                bar.update(task, completed=done, executions=result.executions, found=len(result.failures))

        yield update


def _heartbeat(plan: Plan) -> Update:
    last = time.monotonic()
    told = 0

    def update(result: Result) -> None:
        nonlocal last, told
        if result.executions < told + _EVERY:
            return
        told = result.executions
        if time.monotonic() - last >= _HEARTBEAT:
            last = time.monotonic()
            rate = result.executions / result.seconds
            logger.info(
                "{}: {} executions, {:.0f} a second, {} failures",
                plan.scenario.name,
                result.executions,
                rate,
                len(result.failures),
            )

    return update
