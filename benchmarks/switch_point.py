"""What a switch point costs, in plain Python method calls of the same run, and whether memory stays flat.

    python benchmarks/switch_point.py [--json] [--rounds N] [--executions N] [--operations N]

Time: three tasks do nothing but pass switch points; nobody listens. The cost of one is the time of an execution
divided by its operations; it is compared with a call of an empty method in the same loop, measured between the
executions. The second pair of rows is a read of a shared field: a switch point with a Python property around it.
The figures are medians. Memory, with all checks on: the growth of the process from execution 100 to the last one, and
in one long execution under PCT, whose schedule is short.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from sugarbush.concurrency import Mutex, Once, Plain, Settings, Shared, join, spawn
from sugarbush.concurrency.lowlevel import Access, Operation, active
from sugarbush.concurrency.strategies.table import make_strategy

TARGETS = {"pct": 8.0, "random": 15.0}
TARGET_MB = 50.0
READS = 1000
BARE = Settings(without=frozenset({"lockdep", "data-race", "leak", "rcu"}))


class Cell(Shared):
    once: Once[int] = 0
    plain: Plain[int] = 0


class Bystander:
    def method(self) -> None:
        pass


def call_seconds() -> float:
    """One call of a method that does nothing, in a loop like that of the tasks."""
    method_of = Bystander()
    start = time.perf_counter()
    for _ in range(3 * READS):
        method_of.method()
    return (time.perf_counter() - start) / (3 * READS)


def steps() -> None:
    operation, cell = Operation("step", Access.READ_ONCE), Cell()

    def task() -> None:
        runtime = active.runtime
        assert runtime is not None
        step = runtime.step
        for _ in range(READS):
            step(operation, cell)

    for _ in range(3):
        spawn(task)


def reads() -> None:
    cell = Cell()

    def task() -> None:
        for _ in range(READS):
            cell.once  # noqa: B018

    for _ in range(3):
        spawn(task)


def cost(program: Callable[[], None], strategy: str, rounds: int) -> dict[str, float]:
    runtime = BARE.runtime(make_strategy(strategy, 1))
    ratios, points = [], []
    for _ in range(rounds):
        before = call_seconds()
        start = time.perf_counter()
        execution = runtime.run(program)
        seconds = (time.perf_counter() - start) / execution.steps
        ratios.append(seconds / statistics.mean((before, call_seconds())))
        points.append(seconds)
    return {"ratio": round(statistics.median(ratios), 2), "ns": round(statistics.median(points) * 1e9)}


def locked_sum() -> None:
    mutex, cell = Mutex("m"), Cell()

    def task() -> None:
        with mutex:
            cell.plain += 1

    join(spawn(task), spawn(task))


def resident_mb() -> float:
    """The most memory that the process ever had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def memory_growth(strategy: str, executions: int) -> float:
    runtime = Settings().runtime(make_strategy(strategy, 1))
    for _ in range(100):
        runtime.run(locked_sum)
    start = resident_mb()
    for _ in range(executions - 100):
        runtime.run(locked_sum)
    return round(resident_mb() - start, 2)


def long_execution(operations: int) -> float:
    """How much the process grows in one execution of about so many operations."""

    def program(operations: int) -> None:
        mutex, cell = Mutex("m"), Cell()

        def task() -> None:
            for _ in range(operations // 12):
                with mutex:
                    cell.plain += 1
                cell.once = cell.once

        join(spawn(task), spawn(task))

    runtime = Settings(max_steps=2 * operations).runtime(make_strategy("pct", 1))
    runtime.run(lambda: program(12_000))
    start = resident_mb()
    execution = runtime.run(lambda: program(operations))
    assert execution.failure is None
    assert execution.steps >= operations - 12
    return round(resident_mb() - start, 2)


def main() -> int:
    parser = argparse.ArgumentParser(description="What a switch point costs, and whether memory stays flat.")
    parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")
    parser.add_argument(
        "--rounds", type=int, default=60, metavar="N", help="executions measured per strategy"
    )
    parser.add_argument("--executions", type=int, default=10_000, metavar="N", help="for the memory figure")
    parser.add_argument(
        "--operations", type=int, default=10_000_000, metavar="N", help="of the long execution"
    )
    args = parser.parse_args()
    memory = {name: memory_growth(name, args.executions) for name in TARGETS}
    long = long_execution(args.operations)
    points = {name: cost(steps, name, args.rounds) for name in TARGETS}
    fields = {name: cost(reads, name, args.rounds) for name in TARGETS}
    print("| measure | strategy | value | target |")
    print("| --- | --- | ---: | ---: |")
    for name, found in points.items():
        print(
            f"| switch point, in method calls ({found['ns']} ns) | {name} | {found['ratio']} | {TARGETS[name]} |"
        )
    for name, found in fields.items():
        print(f"| read of a shared field, in method calls ({found['ns']} ns) | {name} | {found['ratio']} | |")
    for name, growth in memory.items():
        print(f"| memory growth over {args.executions:,} executions, MB | {name} | {growth} | {TARGET_MB} |")
    print(f"| memory growth in {args.operations:,} operations, MB | pct | {long} | {TARGET_MB} |")
    met = all(points[name]["ratio"] <= target for name, target in TARGETS.items())
    met = met and all(growth <= TARGET_MB for growth in (*memory.values(), long))
    if args.json:
        result = {
            "switch_point": points,
            "field_read": fields,
            "memory_mb": memory,
            "long_mb": long,
            "met": met,
        }
        print(json.dumps(result))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
