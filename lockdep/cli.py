"""``python -m lockdep FILE``: shows what a run saved.

Exit status: 0 when the file holds no failure, 1 when it holds one, 2 for input that cannot be used.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from lockdep.draw import to_dot, to_svg
from lockdep.keys import LockdepError
from lockdep.listings import chains_text, held_text, lock_stat_text, lockdep_text, reports_text, stats_text
from lockdep.snapshot import Snapshot, load

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
    options = _parser().parse_args(arguments)
    try:
        snapshot = load(options.file)
        if options.graph is not None:
            _write_graph(snapshot, options.graph)
    except LockdepError as error:
        print(f"lockdep: {error}", file=sys.stderr)
        return 2
    chosen = [name for name in LISTINGS if getattr(options, name.replace("-", "_"))]
    if options.json:
        print(json.dumps(snapshot.to_json()))
    elif chosen or options.graph is None:
        sys.stdout.write("\n".join(LISTINGS[name][0](snapshot) for name in chosen or ["reports"]))
    return int(any(row.is_failure for row in snapshot.reports))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lockdep", description="Show what a run of the lock validator saved."
    )
    parser.add_argument("file", type=Path, help="a file written by Snapshot.save")
    for name, (_, meaning) in LISTINGS.items():
        parser.add_argument(f"--{name}", action="store_true", help=meaning)
    parser.add_argument("--json", action="store_true", help="everything, as one JSON object")
    parser.add_argument("--graph", type=Path, help="write the dependency graph to this .dot or .svg file")
    return parser


def _write_graph(snapshot: Snapshot, path: Path) -> None:
    drawings = {".dot": to_dot, ".svg": to_svg}
    if path.suffix not in drawings:
        raise LockdepError(f"a graph is written as .dot or .svg, not as {path.name}")
    try:
        path.write_text(drawings[path.suffix](snapshot), encoding="utf-8")
    except OSError as error:
        raise LockdepError(f"cannot write {path}: {error.strerror}") from error
