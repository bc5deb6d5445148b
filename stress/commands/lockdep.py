"""``sugarbush lockdep``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from lockdep.draw import to_dot, to_svg
from lockdep.files import check_writable, save_text
from lockdep.listings import chains_text, lock_stat_text, lockdep_text, reports_text, stats_text
from lockdep.merge import merge
from stress.commands.report import read_artifacts
from stress.console import Unusable, note
from stress.locks import lock_snapshot

_DRAWINGS = {".dot": to_dot, ".svg": to_svg}


def lockdep_command(
    artifact: Annotated[Path, typer.Argument(help="An artifact, or a directory of artifacts.")],
    classes: Annotated[bool, typer.Option("--classes", help="Lock classes (/proc/lockdep).")] = False,
    chains: Annotated[bool, typer.Option("--chains", help="Stacks of locks (/proc/lockdep_chains).")] = False,
    stats: Annotated[bool, typer.Option("--stats", help="Counters (/proc/lockdep_stats).")] = False,
    lock_stat: Annotated[bool, typer.Option("--lock-stat", help="Contention (/proc/lock_stat).")] = False,
    graph: Annotated[Path | None, typer.Option(help="Write the graph to this .dot or .svg file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as one JSON object.")] = False,
) -> int:
    """Show what the lock validator saw of a run, or of a whole campaign; its reports if nothing else is asked for."""
    if graph is not None:
        if graph.suffix not in _DRAWINGS:
            raise Unusable(f"--graph writes .dot or .svg, not {graph.name}")
        check_writable(graph, "--graph")
    if as_json and (classes or chains or stats or lock_stat):
        raise Unusable("--json has everything: leave out --classes, --chains, --stats and --lock-stat")
    snapshot = merge([lock_snapshot(one) for one in read_artifacts(artifact, note)])
    wanted = [
        text(snapshot)
        for asked, text in (
            (classes, lockdep_text),
            (chains, chains_text),
            (stats, stats_text),
            (lock_stat, lock_stat_text),
        )
        if asked
    ]
    if graph is not None:
        save_text(graph, _DRAWINGS[graph.suffix](snapshot))
    if as_json:
        print(json.dumps(snapshot.to_json()))
    elif wanted or graph is None:
        sys.stdout.write("\n".join(wanted or [reports_text(snapshot)]))
    return int(any(row.is_failure for row in snapshot.reports))
