"""How far a run is, for a person at a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from concurrency import Result
from stress.run import Plan

_EVERY = 16


@contextmanager
def shown(plan: Plan) -> Iterator[Callable[[Result], None] | None]:
    """A progress bar on standard error while the block runs; nothing if that is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
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

        def update(result: Result) -> None:
            if result.executions % _EVERY == 0:
                done = result.executions if plan.seconds is None else result.seconds
                bar.update(task, completed=done, executions=result.executions, found=len(result.failures))

        yield update
