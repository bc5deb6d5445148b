"""Executions of two revisions side by side, with all checks on: how much faster is this tree than another one?

    git archive REVISION | tar -x -C OTHER
    python benchmarks/engine.py OTHER [--rounds N] [--only TEXT ...]

Each tree runs in a process of its own, and the two take turns, a few hundredths of a second each: so both meet the same
noise, and the least time of many turns is that of a quiet moment. Printed are processor microseconds an execution, the
least and the median, and how many times faster this tree is by each. That both make the same operations is verified.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parents[1]
TURN = 0.015
"""Seconds of one turn, about."""


def programs() -> dict[str, tuple[Callable[[], Any], Any]]:
    """The programs and their settings, made of the tree whose `src` is on the path."""
    import run_sugarbush
    from programs import PROGRAMS

    from sugarbush.concurrency import Mutex, Plain, Settings, Shared, Spinlock, join, spawn
    from sugarbush.stress.cli import built_in
    from sugarbush.stress.torture import scenarios

    class Counter(Shared):
        value: Plain[int] = 0

    def counts(tasks: int, rounds: int, kind: Callable[[str], Any]) -> Callable[[], None]:
        def program() -> None:
            lock, counter = kind("lock"), Counter()

            def count() -> None:
                for _ in range(rounds):
                    with lock:
                        counter.value += 1

            join(*[spawn(count) for _ in range(tasks)])

        return program

    def repaired(peer: Any) -> Callable[[], None]:
        def program() -> None:
            state = peer.setup(run_sugarbush.KIT)
            join(*[spawn(worker, state) for worker in peer.repaired])

        return program

    made: dict[str, tuple[Callable[[], Any], Any]] = {
        name: (repaired(peer), Settings()) for name, peer in PROGRAMS.items()
    }
    for name, program in (
        ("2 tasks count once", counts(2, 1, Mutex)),
        ("3 tasks count once", counts(3, 1, Mutex)),
        ("3 tasks count 20 times", counts(3, 20, Mutex)),
        ("2 tasks spin twice", counts(2, 2, Spinlock)),
    ):
        made[name] = program, Settings()
    for one in (built_in.brk_standard, built_in.swapping_build, scenarios.rcutorture, scenarios.locktorture):
        made[one.name] = one.program, Settings(observers=one.observers)
    return made


def work(tree: Path) -> None:
    """Answer how long so many executions of a program take, and how many operations they make."""
    sys.path[:0] = [str(tree / "src"), str(tree / "benchmarks" / "peer_tools")]
    from sugarbush.concurrency.strategies.table import make_strategy

    runtimes: dict[str, list[Any]] = {}
    for name, (program, settings) in programs().items():
        runtimes[name] = [settings.runtime(make_strategy("pct", 1)), program, 0]
    print(json.dumps(list(runtimes)), flush=True)
    for line in sys.stdin:
        name, executions = json.loads(line)
        runtime, program, first = one = runtimes[name]
        one[2] += executions
        steps, start = 0, time.process_time()
        for number in range(first, first + executions):
            runtime.executions = number
            steps += runtime.run(program).steps
        print(json.dumps([time.process_time() - start, steps]), flush=True)


class Tree:
    """One tree at work in a process of its own."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, __file__, "--work", str(path)]
        # Of this process, the path may lead to this tree.
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=env)
        self.programs: list[str] = self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def run(self, name: str, executions: int) -> tuple[float, int]:
        """The seconds that so many executions took, and their operations."""
        assert self._process.stdin is not None
        print(json.dumps([name, executions]), file=self._process.stdin, flush=True)
        seconds, steps = self._answer()
        return seconds, steps


def compare(other: Tree, this: Tree, name: str, rounds: int) -> str:
    """One line about a program."""
    for tree in (other, this):
        tree.run(name, 4)
    executions = max(2, int(TURN / (other.run(name, 4)[0] / 4)))
    this.run(name, 4)
    taken: dict[Tree, list[float]] = {other: [], this: []}
    for turn in range(rounds):
        steps = set()
        for tree in (other, this) if turn % 2 else (this, other):
            seconds, made = tree.run(name, executions)
            taken[tree].append(seconds / executions * 1e6)
            steps.add(made)
        assert len(steps) == 1, f"{name}: the two trees do not make the same operations"
    one, two = taken[other], taken[this]
    return (
        f"| {name} | {min(one):.0f} / {median(one):.0f} | {min(two):.0f} / {median(two):.0f} "
        f"| {min(one) / min(two):.2f} / {median(one) / median(two):.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="How much faster is this tree than another one?")
    parser.add_argument("other", type=Path, help="the folder of the other tree")
    parser.add_argument("--rounds", type=int, default=40, metavar="N", help="turns of each tree")
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="TEXT", help="programs whose names have this"
    )
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args.other)
        return
    other, this = Tree(args.other), Tree(HERE)
    print("| program | other, us (least / median) | this | times faster |\n| --- | ---: | ---: | ---: |")
    for name in this.programs:
        if any(text in name for text in args.only):
            print(compare(other, this, name, args.rounds), flush=True)


if __name__ == "__main__":
    main()
