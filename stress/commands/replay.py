"""``sugarbush replay``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stress.artifact import load
from stress.console import out, whole
from stress.replaying import replay_artifact
from stress.timeline import headline, timeline


def replay_command(
    artifact: Annotated[Path, typer.Argument(help="A file that `sugarbush run` saved.")],
    until: Annotated[int | None, typer.Option(help="Show the execution up to this operation.")] = None,
) -> int:
    """Run the schedule of an artifact again and show what happens."""
    whole("--until", until)
    witness = replay_artifact(load(artifact))
    out.print(timeline(witness, until))
    out.print()
    out.print(headline(witness.failure), soft_wrap=True)
    return 1
