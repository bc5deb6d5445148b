"""``sugarbush lockdep``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sugarbush.lockdep.outside import save_text
from sugarbush.lockdep.show import (
    FORMAT,
    Snapshot,
    chains_text,
    from_json,
    lock_stat_text,
    lockdep_text,
    merge,
    reports_text,
    stats_text,
    to_dot,
    to_svg,
)
from sugarbush.stress.cli.commands.report import read_artifacts
from sugarbush.stress.cli.refusals import DRAWINGS, refuse_inputs
from sugarbush.stress.runs import note
from sugarbush.stress.witness import lock_snapshot

_DRAWINGS = dict(zip(DRAWINGS, (to_dot, to_svg), strict=True))
_HEAD = 4096


def lockdep_command(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="Logs, artifacts, files of /proc, directories of them; - is standard input.",
            metavar="PATH...",
        ),
    ],
    classes: Annotated[bool, typer.Option("--classes", help="Lock classes (/proc/lockdep).")] = False,
    chains: Annotated[bool, typer.Option("--chains", help="Stacks of locks (/proc/lockdep_chains).")] = False,
    stats: Annotated[bool, typer.Option("--stats", help="Counters (/proc/lockdep_stats).")] = False,
    lock_stat: Annotated[bool, typer.Option("--lock-stat", help="Contention (/proc/lock_stat).")] = False,
    graph: Annotated[Path | None, typer.Option(help="Write the graph to this .dot or .svg file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as one JSON object.")] = False,
    sarif: Annotated[Path | None, typer.Option(help="Write the reports of logs to this SARIF file.")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write the reports of logs to this page, the graph first.")
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="Known reports (what --json wrote): only others are shown, and fail.")
    ] = None,
    scenario: Annotated[
        Path | None, typer.Option(help="Write a program with the orders of a report to this .py file.")
    ] = None,
    identity: Annotated[
        str, typer.Option(help="The report that --scenario writes; the first cycle if not given.")
    ] = "",
    proc: Annotated[
        list[Path] | None,
        typer.Option(help="/proc/lockdep_chains of the same boot, to judge gate locks; repeatable."),
    ] = None,
    between: Annotated[
        tuple[str, str] | None, typer.Option(help="The orders that exist between two locks.", metavar="A B")
    ] = None,
    join: Annotated[
        bool, typer.Option("--join", help="Close cycles over the reports of one kernel.")
    ] = False,
    across: Annotated[
        bool, typer.Option("--across", help="With --join: over those of different kernels, too.")
    ] = False,
    events: Annotated[bool, typer.Option("--events", help="The files are lock events, JSON lines.")] = False,
) -> int:
    """Show lock reports: of kernel logs and other checkers, and what the lock validator saw of a run."""
    # Imported here: the readers' forms take a moment to be compiled, and most commands read no log.
    from sugarbush.lockdep.read import STDIN, is_log
    from sugarbush.stress.cli.commands.lock_logs import LogOptions, is_proc_file, show_between, show_logs

    listings = (
        (classes, lockdep_text),
        (chains, chains_text),
        (stats, stats_text),
        (lock_stat, lock_stat_text),
    )
    asked = LogOptions(as_json, sarif, html, baseline, scenario, identity, tuple(proc or ()), join, across)
    files = [] if events else [path for path in paths if path != STDIN and is_proc_file(path)]
    logs = [] if events else [path for path in paths if path not in files and is_log(path)]
    as_logs = bool(logs) and between is None and not any(one for one, _ in listings)
    others = len(paths) - len(logs) - len(files)
    refuse_inputs("lockdep", as_logs=as_logs, others=others, for_logs=asked.any)
    if as_logs:
        asked = LogOptions(
            as_json, sarif, html, baseline, scenario, identity, (*asked.proc, *files), join, across
        )
        return show_logs(logs, asked, graph, None if graph is None else _DRAWINGS[graph.suffix])
    snapshots = _snapshots(paths, logs, files, events)
    if between is not None:
        return show_between(snapshots, between)
    return _show_snapshot(merge(snapshots), [text for one, text in listings if one], graph, as_json)


def _snapshots(
    paths: Sequence[Path], logs: Sequence[Path], files: Sequence[Path], events: bool
) -> list[Snapshot]:
    """What each path knows of the locks."""
    from sugarbush.stress.cli.commands.lock_logs import drawing, events_snapshot, proc_snapshot

    if events:
        return events_snapshot(paths)
    found = [proc_snapshot(path) for path in files]
    if logs:
        found.append(drawing(logs))
    for path in paths:
        if path not in files and path not in logs:
            found += (
                [_saved(path)]
                if _is_saved(path)
                else [lock_snapshot(one) for one in read_artifacts(path, note)]
            )
    return found


def _is_saved(path: Path) -> bool:
    """Whether a file is what `Snapshot.save` wrote."""
    try:
        with path.open("rb") as stream:
            return f'"{FORMAT}"'.encode() in stream.read(_HEAD) if path.is_file() else False
    except OSError:
        return False


def _saved(path: Path) -> Snapshot:
    from sugarbush.lockdep.outside import read_json

    return from_json(read_json(path, "a file that lockdep saved"), str(path))


def _show_snapshot(snapshot: Snapshot, wanted: Sequence[object], graph: Path | None, as_json: bool) -> int:
    if graph is not None:
        save_text(graph, _DRAWINGS[graph.suffix](snapshot))
    if as_json:
        print(json.dumps(snapshot.to_json()))
    elif wanted or graph is None:
        texts = [text(snapshot) for text in wanted or [reports_text] if callable(text)]
        sys.stdout.write("\n".join(texts))
    return int(any(row.is_failure for row in snapshot.reports))
