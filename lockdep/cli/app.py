"""``python -m sugarbush.lockdep FILE``: shows what a run saved.

Exit status: 0 when the file holds no failure, 1 when it holds one, 2 for input that cannot be used.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from sugarbush.lockdep.model import LockdepError
from sugarbush.lockdep.outside import ended, hear_signals, save_text
from sugarbush.lockdep.show import (
    Snapshot,
    chains_text,
    held_text,
    load,
    lock_stat_text,
    lockdep_text,
    reports_text,
    stats_text,
    to_dot,
    to_svg,
)

LISTINGS = {
    "classes": (lockdep_text, "the lock classes and their direct dependencies (/proc/lockdep)"),
    "chains": (chains_text, "the stacks of locks that were validated (/proc/lockdep_chains)"),
    "stats": (stats_text, "the counters (/proc/lockdep_stats)"),
    "lock-stat": (lock_stat_text, "contention and hold times (/proc/lock_stat)"),
    "held": (held_text, "all locks held when the file was saved"),
    "reports": (reports_text, "the reports; this is what no option shows"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and gives its exit status."""
    hear_signals()
    return ended("lockdep", lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    try:
        options = _parser().parse_args(arguments)
    except SystemExit:
        # It has shown its help.
        return 0
    chosen = [name for name in LISTINGS if getattr(options, name.replace("-", "_"))]
    if options.json and chosen:
        raise LockdepError(f"--json has everything: leave out --{chosen[0]}")
    if options.graph is not None and options.graph.suffix not in _DRAWINGS:
        raise LockdepError(f"a graph is written as .dot or .svg, not as {options.graph.name}")
    snapshot = _snapshot(options.file)
    if options.graph is not None:
        if not os.path.isdir(options.graph.parent):
            raise LockdepError(
                f"{options.graph} cannot be written: there is no directory {options.graph.parent}"
            )
        save_text(options.graph, _DRAWINGS[options.graph.suffix](snapshot))
    if options.json:
        print(json.dumps(snapshot.to_json()))
    elif chosen or options.graph is None:
        sys.stdout.write("\n".join(LISTINGS[name][0](snapshot) for name in chosen or ["reports"]))
    return int(any(row.is_failure for row in snapshot.reports))


_DRAWINGS = {".dot": to_dot, ".svg": to_svg}


def _snapshot(path: Path) -> Snapshot:
    """What a file says: one that we saved, or the reports of a log, each once (``sugarbush lockdep`` tells more)."""
    # Imported here: the readers' forms take a moment to be compiled.
    from sugarbush.lockdep.read import gather, is_log, reports_of, snapshot_of

    if path.is_dir() or not is_log(path):
        return load(path)
    return snapshot_of(one.report for one in gather(reports_of([path])))


class _ListingParser(argparse.ArgumentParser):
    """Wrong arguments are one line, as everything else that cannot be used."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and ending: whoever calls the command says what an error is."""
        raise LockdepError(f"{message}; --help names the options")


def _parser() -> argparse.ArgumentParser:
    parser = _ListingParser(prog="lockdep", description="Show what a run of the lock validator saved.")
    parser.add_argument("file", type=Path, help="a file written by Snapshot.save, or a kernel log")
    for name, (_, meaning) in LISTINGS.items():
        parser.add_argument(f"--{name}", action="store_true", help=meaning)
    parser.add_argument("--json", action="store_true", help="everything, as one JSON object")
    parser.add_argument("--graph", type=Path, help="write the dependency graph to this .dot or .svg file")
    return parser
