"""``sugarbush report``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from concurrency import BadSchedule, Witness
from concurrency.explain import Pair, explain
from stress.artifact import Artifact, BadArtifact, load
from stress.console import Unusable, line
from stress.patch import applied
from stress.replaying import replay_artifact
from stress.report.film import Film, film
from stress.report.page import page
from stress.report.perfetto import perfetto as trace

_DEFAULT_NAME = "report.html"


def report_command(
    artifact: Annotated[Path, typer.Argument(help="An artifact, or a directory of artifacts.")],
    html: Annotated[Path | None, typer.Option(help="The page; beside the artifact if not given.")] = None,
    perfetto: Annotated[Path | None, typer.Option(help="A trace for the Perfetto viewer as well.")] = None,
) -> int:
    """Draw executions: one page that needs no network, and a trace for the Perfetto viewer."""
    if perfetto is not None and artifact.is_dir():
        raise Unusable("--perfetto is for one artifact, not for a directory")
    target = html or (artifact / _DEFAULT_NAME if artifact.is_dir() else artifact.with_suffix(".html"))
    films, orders = draw_page(read_artifacts(artifact), target)
    line(f"page:  {target}")
    if perfetto is not None:
        _write(perfetto, trace(films[0], orders[0]))
        line(f"trace: {perfetto}, for https://ui.perfetto.dev")
    return 0


def draw_page(shown: Sequence[Artifact], target: Path) -> tuple[list[Film], list[Sequence[Pair]]]:
    """Write the page of `shown` to `target`; gives the films on it and, for each, the orders that matter."""
    films = [film(one) for one in shown]
    orders = [_orders(one) for one in shown]
    _write(target, page(films, orders))
    return films, orders


def read_artifacts(path: Path) -> list[Artifact]:
    """The artifacts that there are; in a directory those that do not replay are named and passed over."""
    if not path.is_dir():
        return [load(path)]
    found = []
    for file in sorted(path.glob("*.json")):
        try:
            one = load(file)
            replay_artifact(one)
        except (BadArtifact, BadSchedule) as error:
            line(f"passed over: {error}")
        else:
            found.append(one)
    if not found:
        raise Unusable(f"{path} has no artifact that can be shown")
    return found


def _orders(artifact: Artifact) -> Sequence[Pair]:
    witness: Witness = replay_artifact(artifact)
    with applied(artifact.scenario.patches):
        why = explain(artifact.scenario.program, witness, artifact.settings)
    return why.pairs


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Unusable(f"{path} cannot be written: {error.strerror}") from None
