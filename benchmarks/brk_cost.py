"""What an execution of brk-standard costs, in runs of the same program straight through with no runtime at all.

    python benchmarks/brk_cost.py [--rounds N] [--json]

Straight through: the three tasks are plain calls, one after the other. All variants take turns in one process; the
figures are ratios of medians.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from sugarbush.concurrency import Settings
from sugarbush.concurrency.lowlevel import Recorder
from sugarbush.concurrency.strategies.table import make_strategy
from sugarbush.stress.cli import built_in as scenarios
from sugarbush.stress.workloads import brk

CHECKS = frozenset({"lockdep", "data-race", "leak", "rcu"})
BATCH = 5
TARGETS = {"pct, nobody listens": 4.0, "pct, lockdep, race check and recorder": 10.0}


def call(fn: Callable[..., Any], *args: Any, name: str) -> None:  # noqa: ARG001
    fn(*args)


def straight_through() -> None:
    with patch.multiple(brk, spawn=call, join=lambda *_tasks: None):
        scenarios.brk_standard.program()


def simulated(strategy: str, settings: Settings, recorder: Recorder | None = None) -> Callable[[], None]:
    runtime = settings.runtime(make_strategy(strategy, 1), recorder=recorder)

    def run() -> None:
        assert runtime.run(scenarios.brk_standard.program).failure is None

    return run


def seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    for _ in range(BATCH):
        run()
    return (time.perf_counter() - start) / BATCH


def main() -> int:
    parser = argparse.ArgumentParser(description="What an execution of brk-standard costs.")
    parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")
    parser.add_argument("--rounds", type=int, default=40, metavar="N", help=f"batches of {BATCH} of each")
    args = parser.parse_args()
    bare, checked = Settings(without=CHECKS), Settings()
    variants = {
        "straight through": straight_through,
        "pct, nobody listens": simulated("pct", bare),
        "random, nobody listens": simulated("random", bare),
        "pct, lockdep": simulated("pct", Settings(without=CHECKS - {"lockdep"})),
        "pct, race check": simulated("pct", Settings(without=CHECKS - {"data-race"})),
        "pct, all checks": simulated("pct", checked),
        "pct, lockdep, race check and recorder": simulated("pct", checked, Recorder()),
        "pct, all checks and the model's invariants": simulated(
            "pct", Settings(observers=scenarios.brk_standard.observers)
        ),
    }
    measured: dict[str, list[float]] = {name: [] for name in variants}
    for run in variants.values():
        run()
    for _ in range(args.rounds):
        for name, run in variants.items():
            measured[name].append(seconds(run))
    base = median(measured["straight through"])
    ratios = {name: round(median(found) / base, 2) for name, found in measured.items()}
    print("| brk-standard | microseconds | times straight through | target |\n| --- | ---: | ---: | ---: |")
    for name, ratio in ratios.items():
        print(f"| {name} | {median(measured[name]) * 1e6:.0f} | {ratio} | {TARGETS.get(name, '')} |")
    met = all(ratios[name] <= target for name, target in TARGETS.items())
    if args.json:
        print(json.dumps({"ratios": ratios, "straight_us": round(base * 1e6), "met": met}))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
