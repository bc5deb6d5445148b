"""What progress, counting and saving cost: executions per second with all of it, beside those of a bare exploration.

    python benchmarks/progress.py [--seconds S] [--rounds N] [--out DIR]

Both forms make the same executions, in turns, in one process; a ratio is that of the processor times of two turns that
follow each other, and the figure is the median of all of them. "saving" finds failures as well, and saves each that is
the simplest so far. Writes progress.json and progress.md; the exit status says whether every median is at most 1.05.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from sugarbush.concurrency import explore
from sugarbush.stress.kit import registry
from sugarbush.stress.kit.patches import applied
from sugarbush.stress.kit.plan import Plan
from sugarbush.stress.kit.scenarios import find_scenario
from sugarbush.stress.runs.campaign import Campaign
from sugarbush.stress.runs.progress import shown

registry.load()

TARGET = 1.05
WORK = ("brk-standard", "swap-build", "rcutorture")
SAVING = "brk-false-vma"


def plan_of(name: str, executions: int, out: Path) -> Plan:
    return Plan(
        find_scenario(name), "simulated", "pct", 4, executions, None, 1, frozenset(), name == SAVING, out
    )


def bare(plan: Plan) -> None:
    with applied(plan.scenario.patches):
        explore(
            plan.scenario.program,
            strategy=plan.strategy,
            depth=plan.depth,
            executions=plan.schedules,
            keep_going=plan.keep_going,
            settings=plan.settings,
        )


def whole(plan: Plan) -> None:
    """As `sugarbush run` does it, with its output thrown away."""
    with contextlib.redirect_stderr(io.StringIO()), shown(plan) as progress:
        Campaign(plan).run(progress)


def seconds_of(run: Any, plan: Plan) -> float:
    start = time.process_time()
    run(plan)
    return time.process_time() - start


def measure(name: str, seconds: float, rounds: int, out: Path) -> dict[str, Any]:
    """As many executions a turn as take so many seconds."""
    probe = plan_of(name, 40, out)
    executions = max(40, int(40 * seconds / max(1e-6, seconds_of(bare, probe))))
    plan = plan_of(name, executions, out)
    ratios = []
    for number in range(rounds):
        forms = (bare, whole) if number % 2 else (whole, bare)
        took = {run: seconds_of(run, plan) for run in forms}
        ratios.append(took[whole] / took[bare])
    return {
        "scenario": name + (" (saving)" if name == SAVING else ""),
        "executions": executions,
        "turns": rounds,
        "ratio": round(median(ratios), 3),
        "lowest": round(min(ratios), 3),
        "highest": round(max(ratios), 3),
    }


def as_markdown(rows: list[dict[str, Any]]) -> str:
    lines = ["| " + " | ".join(rows[0]) + " |", "| " + " | ".join("---" for _ in rows[0]) + " |"]
    lines += ["| " + " | ".join(str(value) for value in one.values()) + " |" for one in rows]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="What progress, counting and saving cost.")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path("."))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            measure(name, options.seconds, options.rounds, Path(folder) / name) for name in (*WORK, SAVING)
        ]
    options.out.mkdir(parents=True, exist_ok=True)
    met = all(one["ratio"] <= TARGET for one in rows)
    (options.out / "progress.json").write_text(json.dumps({"rows": rows, "met": met}, indent=1) + "\n")
    (options.out / "progress.md").write_text(as_markdown(rows))
    print(as_markdown(rows), end="")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
