"""What weak memory costs, against sequential consistency in the same run.

    python benchmarks/weak.py [--json] [--rounds N]

Executions of small programs under both models by turns; the cost of one is its time divided by its operations,
and the figure is the median of the ratios. `bare` is without observers, `checked` with those that every exploration
has.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from sugarbush.concurrency import (
    Atomic,
    Mutex,
    Once,
    Plain,
    RcuPtr,
    Settings,
    Shared,
    atomic_add_return,
    join,
    rcu_assign_pointer,
    rcu_reader,
    smp_load_acquire,
    smp_store_release,
    spawn,
)
from sugarbush.concurrency.search.exploring import make_strategy

TARGET = 3.0
ROUNDS = 300
WITHOUT = {"bare": frozenset({"lockdep", "data-race", "leak", "rcu"}), "checked": frozenset[str]()}


class Cell(Shared):
    once: Once[int] = 0
    plain: Plain[int] = 0
    flag: Once[int] = 0
    count: Atomic[int] = 0
    next: RcuPtr[object] = None


def reads(rounds: int) -> None:
    cell = Cell()

    def task() -> None:
        for _ in range(rounds):
            cell.once  # noqa: B018

    join(*[spawn(task) for _ in range(3)])


def increments(rounds: int) -> None:
    cell = Cell()

    def task() -> None:
        for _ in range(rounds):
            cell.once += 1

    join(*[spawn(task) for _ in range(3)])


def messages(rounds: int) -> None:
    cell = Cell()

    def sender() -> None:
        for number in range(rounds):
            cell.once = number
            smp_store_release(cell, "flag", number)

    def receiver() -> None:
        for _ in range(rounds):
            smp_load_acquire(cell, "flag")
            cell.once  # noqa: B018

    join(spawn(sender), spawn(receiver), spawn(receiver))


def sections(rounds: int) -> None:
    cell, mutex = Cell(), Mutex("m")

    def task() -> None:
        for _ in range(rounds):
            with mutex:
                cell.plain += 1

    join(*[spawn(task) for _ in range(3)])


def pointers(rounds: int) -> None:
    cell = Cell()
    cell.next = Cell()

    def writer() -> None:
        for number in range(rounds):
            new = Cell(once=number)
            rcu_assign_pointer(cell, "next", new)

    def reader() -> None:
        for _ in range(rounds):
            with rcu_reader():
                found = cell.next
                assert isinstance(found, Cell)
                found.once  # noqa: B018

    join(spawn(writer), spawn(reader), spawn(reader))


def atomics(rounds: int) -> None:
    cell = Cell()

    def task() -> None:
        for _ in range(rounds):
            atomic_add_return(cell, "count", 1)

    join(*[spawn(task) for _ in range(3)])


PROGRAMS = (reads, increments, messages, sections, pointers, atomics)


def ratio(program: Callable[[int], None], without: frozenset[str], strategy: str, rounds: int) -> float:
    runtimes = {
        memory: Settings(without=without, memory=memory).runtime(make_strategy(strategy, 1))
        for memory in ("sc", "weak")
    }
    ratios = []
    for _ in range(rounds):
        cost = {}
        for memory, runtime in runtimes.items():
            start = time.process_time()
            execution = runtime.run(lambda: program(ROUNDS))
            cost[memory] = (time.process_time() - start) / execution.steps
            assert execution.failure is None or execution.failure.kind == "data-race", execution.failure
        ratios.append(cost["weak"] / cost["sc"])
    return round(statistics.median(ratios), 2)


def main() -> int:
    parser = argparse.ArgumentParser(description="What weak memory costs.")
    parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="executions measured per figure")
    args = parser.parse_args()
    found = {
        f"{program.__name__}, {name}, {strategy}": ratio(program, without, strategy, args.rounds)
        for program in PROGRAMS
        for name, without in WITHOUT.items()
        for strategy in ("pct", "random")
    }
    print("| program, observers, strategy | weak / sc per operation | target |")
    print("| --- | ---: | ---: |")
    for name, value in found.items():
        print(f"| {name} | {value} | {TARGET} |")
    if args.json:
        print(json.dumps({"ratios": found, "met": all(value <= TARGET for value in found.values())}))
    return 0 if all(value <= TARGET for value in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
