"""How many executions until the brk crash is found, over 30 seeds; and that memory does not grow.

python benchmarks/brk.py [--seeds N] [--json]
"""

from __future__ import annotations

import argparse
import json
import resource
from statistics import median
from typing import Any

from sugarbush.concurrency import STRATEGIES, Settings, explore
from sugarbush.stress.cli import built_in as scenarios
from sugarbush.stress.kit.patches import applied
from sugarbush.stress.kit.scenarios import Scenario

FORMS = ((), ("coverage",), ("coverage", "migration-entry-locked", "migration-entry-owner"))


def executions_until_found(
    scenario: Scenario, seed: int, strategy: str, without: tuple[str, ...]
) -> int | None:
    settings = Settings(without=frozenset(without), observers=scenario.observers)
    with applied(scenario.patches):
        result = explore(scenario.program, strategy=strategy, executions=5000, seed=seed, settings=settings)
    return result.executions if result.failures else None


def resident_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def growth_mb(executions: int) -> float:
    """How much the peak of our resident memory rises from the first 100 executions to the last."""
    scenario = scenarios.brk_standard
    settings = Settings(observers=scenario.observers)
    explore(scenario.program, executions=100, settings=settings)
    before = resident_mb()
    explore(scenario.program, executions=executions, settings=settings)
    return resident_mb() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--strategies", nargs="*", default=["pct"], choices=STRATEGIES)
    parser.add_argument("--executions", type=int, default=10_000, help="for the memory figure")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    grown = growth_mb(options.executions)
    print(
        f"Memory: {options.executions} executions of brk-standard within {grown:.1f} MB of the first 100.\n"
    )
    rows: list[dict[str, Any]] = []
    print("| strategy | checks off | found | median | largest |\n| --- | --- | --- | --- | --- |")
    for strategy in options.strategies:
        for without in FORMS:
            seeds = range(1, options.seeds + 1)
            found = [
                executions_until_found(scenarios.brk_false_vma, seed, strategy, without) for seed in seeds
            ]
            hits = [count for count in found if count is not None]
            row = {
                "strategy": strategy,
                "without": list(without),
                "found": len(hits),
                "seeds": options.seeds,
                "median": median(5000 if count is None else count for count in found),
                "largest": max(hits, default=0),
            }
            rows.append(row)
            print(
                f"| {strategy} | {', '.join(without) or 'none'} | {row['found']} of {row['seeds']} "
                f"| {row['median']:g} | {row['largest']} |",
                flush=True,
            )
    if options.json:
        print(json.dumps({"rows": rows, "growth_mb": round(grown, 1)}))


if __name__ == "__main__":
    main()
