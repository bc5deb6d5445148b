"""``sugarbush replay``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sugarbush.stress.kit import headline, timeline
from sugarbush.stress.runs import out
from sugarbush.stress.witness import load, replay_artifact


def replay_command(
    artifact: Annotated[Path, typer.Argument(help="A file that `sugarbush run` saved.")],
    until: Annotated[int | None, typer.Option(help="Show the execution up to this operation.")] = None,
) -> int:
    """Run the schedule of an artifact again and show what happens."""
    witness = replay_artifact(load(artifact))
    out.print(timeline(witness, until))
    out.print()
    out.print(headline(witness.failure), soft_wrap=True)
    return 1
