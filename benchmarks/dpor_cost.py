"""What an execution of DPOR costs, in executions of random walk, on the small programs of the comparison with peers.

    python benchmarks/dpor_cost.py [--rounds N] [--slice SECONDS] [--json]

The programs are the repaired ones. The two strategies take turns, all checks off and then on; the figures are ratios of
medians. Executions that DPOR began and gave up count as time, not as executions.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
sys.path.insert(0, str(Path(__file__).parent / "peer_tools"))

from programs import PROGRAMS
from run_sugarbush import speed

TARGET = 6.0


def ratio(program: str, suffix: str, rounds: int, seconds: float) -> float:
    """How many executions of random walk one of DPOR costs."""
    rates: dict[str, list[float]] = {"random": [], "dpor": []}
    for _ in range(rounds):
        for strategy, found in rates.items():
            executions, passed = speed(program, strategy + suffix, seconds)
            found.append(executions / passed)
    return round(median(rates["random"]) / median(rates["dpor"]), 1)


def main() -> int:
    parser = argparse.ArgumentParser(description="What an execution of DPOR costs.")
    parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--slice", type=float, default=0.2, metavar="SECONDS", help="of each in a round")
    args = parser.parse_args()
    print("| program | checks off | all checks |\n| --- | ---: | ---: |")
    rows = {}
    for program in PROGRAMS:
        off, on = (ratio(program, suffix, args.rounds, args.slice) for suffix in (", checks off", ""))
        rows[program] = {"off": off, "on": on}
        print(f"| {program} | {off} | {on} |", flush=True)
    middle = {key: median(row[key] for row in rows.values()) for key in ("off", "on")}
    print(f"| median (target {TARGET}) | {middle['off']} | {middle['on']} |")
    met = max(middle.values()) <= TARGET
    if args.json:
        print(json.dumps({"ratios": rows, "median": middle, "met": met}))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
