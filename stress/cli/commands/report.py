"""``sugarbush report``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from sugarbush.concurrency import SugarbushError, Witness
from sugarbush.concurrency.witness import Pair, explain
from sugarbush.lockdep.outside import save_text
from sugarbush.stress.cli.refusals import refuse_inputs
from sugarbush.stress.kit import applied
from sugarbush.stress.report import Recorded, page, recorded
from sugarbush.stress.report import perfetto as trace
from sugarbush.stress.runs import Unusable, line
from sugarbush.stress.witness import Artifact, load, replay_artifact

_DEFAULT_NAME = "report.html"


def report_command(
    artifact: Annotated[Path, typer.Argument(help="An artifact, or a directory of artifacts.")],
    html: Annotated[Path | None, typer.Option(help="The page; beside the artifact if not given.")] = None,
    perfetto: Annotated[Path | None, typer.Option(help="A trace for the Perfetto viewer as well.")] = None,
) -> int:
    """Draw executions: one page that needs no network, and a trace for the Perfetto viewer."""
    is_folder = os.path.isdir(artifact)
    target = html or (artifact / _DEFAULT_NAME if is_folder else artifact.with_suffix(".html"))
    refuse_inputs("report", artifact=artifact, written=(target, perfetto))
    executions, orders = draw_page(read_artifacts(artifact), target)
    line(f"page:  {target}")
    if perfetto is not None:
        save_text(perfetto, trace(executions[0], orders[0]))
        line(f"trace: {perfetto}, for https://ui.perfetto.dev")
    return 0


def draw_page(shown: Sequence[Artifact], target: Path) -> tuple[list[Recorded], list[Sequence[Pair]]]:
    """Write the page of `shown` to `target`; gives the executions on it and, for each, the orders that matter."""
    executions = [recorded(one) for one in shown]
    orders = [_orders(one) for one in shown]
    save_text(target, page(executions, orders))
    return executions, orders


def read_artifacts(path: Path, say: Callable[[str], None] = line) -> list[Artifact]:
    """The artifacts that there are; in a directory those that do not replay are passed over, and named by `say`."""
    if not os.path.isdir(path):
        return [load(path)]
    found = []
    passed_over = []
    for file in sorted(path.glob("*.json")):
        try:
            one = load(file)
            replay_artifact(one)
        except SugarbushError as error:
            passed_over.append(str(error))
        else:
            found.append(one)
    if not found:
        why = f": {passed_over[0]}" if passed_over else ""
        raise Unusable(f"{path} has no artifact that can be shown{why}")
    for why in passed_over:
        say(f"passed over: {why}")
    return found


def _orders(artifact: Artifact) -> Sequence[Pair]:
    witness: Witness = replay_artifact(artifact)
    with applied(artifact.scenario.patches):
        why = explain(artifact.scenario.program, witness, artifact.settings)
    return why.pairs
