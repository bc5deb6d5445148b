"""Which strategy finds the known bugs soonest: every scenario that is expected to fail, under those that draw.

    python benchmarks/strategies.py [--seeds N] [--cap N] [--scenarios NAME ...] [--strategies NAME ...] [--out DIR]

For each scenario and strategy, over the seeds: how often the bug was found within the cap, the median and the largest
number of executions until then (a hunt that found nothing counts as the cap), and the median of processor seconds. A
scenario with a `coverage` check is hunted a second time without it, for the effect after the cause. The last rows
are the geometric means of the medians, by which the default is chosen. Writes strategies.json and strategies.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from math import exp, log
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from sugarbush.concurrency import Settings, explore
from sugarbush.stress.cli import built_in as scenarios
from sugarbush.stress.kit import registry
from sugarbush.stress.kit.patches import applied
from sugarbush.stress.kit.scenarios import Scenario, all_scenarios

# Worker processes import this file, too: whoever looks a bug up by its name needs them all.
registry.load()

assert scenarios
STRATEGIES = ("random", "pct", "pos", "surw", "feedback", "portfolio")


def hunts(names: list[str]) -> list[tuple[Scenario, frozenset[str]]]:
    """What is hunted: each scenario with a bug as it is, and without the check that sees its cause."""
    found = []
    for scenario in all_scenarios():
        if scenario.expect is not None and (not names or scenario.name in names):
            found.append((scenario, frozenset[str]()))
            if scenario.expect == "coverage":
                found.append((scenario, frozenset({"coverage"})))
    return found


def hunt(scenario: Scenario, settings: Settings, strategy: str, cap: int, seed: int) -> dict[str, Any]:
    start = time.process_time()
    with applied(scenario.patches):
        result = explore(scenario.program, strategy=strategy, executions=cap, seed=seed, settings=settings)
    return {
        "found": bool(result.failures),
        "executions": result.executions if result.failures else cap,
        "seconds": time.process_time() - start,
    }


def row(
    scenario: Scenario, without: frozenset[str], strategy: str, options: argparse.Namespace
) -> dict[str, Any]:
    settings = scenario.settings(without)
    runs = [hunt(scenario, settings, strategy, options.cap, seed) for seed in range(1, options.seeds + 1)]
    return {
        "scenario": scenario.name,
        "without": ", ".join(sorted(without)),
        "strategy": strategy,
        "found": sum(run["found"] for run in runs),
        "seeds": options.seeds,
        "median": median(run["executions"] for run in runs),
        "largest": max(run["executions"] for run in runs),
        "seconds": round(median(run["seconds"] for run in runs), 3),
    }


def means(rows: list[dict[str, Any]], strategies: list[str]) -> list[dict[str, Any]]:
    """The geometric mean over all hunts of the median executions, and of the processor seconds."""
    found = []
    for strategy in strategies:
        mine = [one for one in rows if one["strategy"] == strategy]
        found.append(
            {
                "strategy": strategy,
                "found": sum(one["found"] for one in mine),
                "of": sum(one["seeds"] for one in mine),
                "executions": round(exp(sum(log(one["median"]) for one in mine) / len(mine)), 1),
                "seconds": round(exp(sum(log(max(1e-3, one["seconds"])) for one in mine) / len(mine)), 3),
            }
        )
    return found


def as_markdown(rows: list[dict[str, Any]]) -> str:
    lines = ["| " + " | ".join(rows[0]) + " |", "| " + " | ".join("---" for _ in rows[0]) + " |"]
    lines += ["| " + " | ".join(str(value) for value in one.values()) + " |" for one in rows]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Executions until each known bug is found, by strategy.")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--cap", type=int, default=2000, help="executions of one hunt at most")
    parser.add_argument("--scenarios", nargs="*", default=[])
    parser.add_argument("--strategies", nargs="*", default=list(STRATEGIES))
    parser.add_argument("--out", type=Path, default=Path("."))
    options = parser.parse_args()
    rows = [
        row(scenario, without, strategy, options)
        for scenario, without in hunts(options.scenarios)
        for strategy in options.strategies
    ]
    overall = means(rows, options.strategies)
    text = as_markdown(rows) + "\n" + as_markdown(overall)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "strategies.json").write_text(
        json.dumps({"rows": rows, "means": overall}, indent=1) + "\n"
    )
    (options.out / "strategies.md").write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
