"""How much faster two processes are than one, on the same executions; on a machine with nothing else to do.

    python benchmarks/parallel.py [--jobs N] [--executions N] [--rounds N] [--out DIR]

One process and N take turns. The ratio is that of the medians of wall-clock time, of pools that run already (starting
one is a column of its own). "busy" is the processor time of all processes, in that of one process alone: what the
division costs. On a machine where something else runs the ratio says little and "busy" still holds. Writes
parallel.json and parallel.md; the exit status says whether every ratio is 1.8 or more for two processes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from sugarbush.concurrency import Once, Shared, explore, spawn
from sugarbush.stress.cli import built_in as scenarios
from sugarbush.stress.kit.source import ScenarioSource

TARGET = 1.8


class Cell(Shared):
    value: Once[int] = 0


def three_by_three() -> None:
    """Three tasks of three writes: 34,650 schedules, and some more for starts and ends."""
    cell = Cell()

    def work(number: int) -> None:
        for _ in range(3):
            cell.value = number

    for number in range(3):
        spawn(work, number)


def brk(strategy: str, executions: int, executor: Executor | None) -> int:
    scenario = scenarios.brk_standard
    source = ScenarioSource.of(scenario, frozenset(), scenario.memory)
    result = explore(
        scenario.program,
        strategy=strategy,
        executions=executions,
        settings=scenario.settings(),
        source=source,
        executor=executor,
        jobs=1 if executor is None else 2,
    )
    assert not result.failures
    return result.executions


def search(_strategy: str, executions: int, executor: Executor | None) -> int:
    result = explore(three_by_three, strategy="dfs", executions=10 * executions, executor=executor)
    return result.executions


WORK = {
    "brk-standard, random": (brk, "random"),
    "brk-standard, pct": (brk, "pct"),
    "search, dfs": (search, "dfs"),
}


def pool_of(jobs: int) -> ProcessPoolExecutor:
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    return ProcessPoolExecutor(jobs, mp_context=context)


def processor_seconds(pool: Executor | None, jobs: int) -> float:
    """Of this process and of all workers of the pool."""
    own = time.process_time()
    if pool is None:
        return own
    by: dict[int, float] = {}
    while len(by) < jobs:
        pid, seconds = pool.submit(_used).result()
        by[pid] = seconds
    return own + sum(by.values())


def _used() -> tuple[int, float]:
    time.sleep(0.01)
    return os.getpid(), time.process_time()


def measure(jobs: int, executions: int, rounds: int) -> list[dict[str, Any]]:
    rows = []
    start = time.perf_counter()
    with pool_of(jobs) as pool:
        list(pool.map(abs, range(jobs)))
        started = time.perf_counter() - start
        for name, (run, strategy) in WORK.items():
            wall: dict[bool, list[float]] = {False: [], True: []}
            busy: dict[bool, list[float]] = {False: [], True: []}
            for number in range(rounds + 1):
                for shared in (False, True):
                    executor = pool if shared else None
                    before, used = time.perf_counter(), processor_seconds(executor, jobs)
                    run(strategy, executions, executor)
                    if number:
                        wall[shared].append(time.perf_counter() - before)
                        busy[shared].append(processor_seconds(executor, jobs) - used)
            rows.append(
                {
                    "work": name,
                    "jobs": jobs,
                    "one, s": round(median(wall[False]), 2),
                    "shared, s": round(median(wall[True]), 2),
                    "ratio": round(median(wall[False]) / median(wall[True]), 2),
                    "busy": round(median(busy[True]) / median(busy[False]), 2),
                    "start, s": round(started, 2),
                }
            )
    return rows


def as_markdown(rows: list[dict[str, Any]]) -> str:
    lines = ["| " + " | ".join(rows[0]) + " |", "| " + " | ".join("---" for _ in rows[0]) + " |"]
    lines += ["| " + " | ".join(str(value) for value in one.values()) + " |" for one in rows]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="One exploration by one process, and by several.")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--executions", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("."))
    options = parser.parse_args()
    rows = measure(options.jobs, options.executions, options.rounds)
    options.out.mkdir(parents=True, exist_ok=True)
    met = all(one["ratio"] >= TARGET for one in rows)
    (options.out / "parallel.json").write_text(json.dumps({"rows": rows, "met": met}, indent=1) + "\n")
    (options.out / "parallel.md").write_text(as_markdown(rows))
    print(as_markdown(rows), end="")
    return 0 if met or options.jobs != 2 else 1


if __name__ == "__main__":
    sys.exit(main())
