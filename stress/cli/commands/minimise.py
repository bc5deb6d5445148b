"""``sugarbush minimise``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sugarbush.stress.runs import line, print_found
from sugarbush.stress.witness import load, minimise_artifact


def minimise_command(
    artifact: Annotated[Path, typer.Argument(help="A file that `sugarbush run` saved.")],
) -> int:
    """Reduce an artifact to the fewest context switches and say which orders matter; saved beside it."""
    before = load(artifact)
    small, why, found = minimise_artifact(before, artifact)
    marked = frozenset((one.task, one.step) for pair in why.pairs for one in (pair.first, pair.second))
    print_found(found, marked)
    line(why.text + "\n")
    witness = small.witness
    line(
        f"{before.schedule.switches} switches became {witness.schedule.switches}, of which {witness.preemptions} "
        f"preempt a task; {before.step} operations became {witness.failure.step}; {small.executions} executions"
        + ("" if small.complete else ", which is the limit: minimise the result again to go on")
    )
    return 1
