"""interleave-test: threads under sys.monitoring; random, PCT or bounded depth-first schedules."""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import Any

import interleave_test
from programs import PROGRAMS
from thread_kit import KIT
from tool import Hunt, rate

VERSION = version("interleave-test")
KINDS = {
    "random": interleave_test.RandomStrategy,
    "pct": interleave_test.PCTStrategy,
    "dfs, bound 2": interleave_test.DFSStrategy,
}
STRATEGIES = {f"{kind}, {grain}": (kind, grain) for kind in KINDS for grain in ("opcode", "line")}


def explore(name: str, strategy: str, seed: int, seconds: float, *, buggy: bool) -> Any:
    program = PROGRAMS[name]
    kind, grain = STRATEGIES[strategy]
    end = time.monotonic() + seconds

    class Timed(KINDS[kind]):  # type: ignore[misc]
        def more(self) -> bool | None:
            known: bool | None = super().more()
            return False if time.monotonic() >= end else known

    workers = program.order(seed if kind.startswith("dfs") else 0, buggy=buggy)

    def model() -> None:
        state = program.setup(KIT)
        tasks = [interleave_test.spawn(worker, state) for worker in workers]
        for task in tasks:
            task.join()
        assert not buggy or program.holds(state)

    return interleave_test.explore(
        model,
        iterations=1_000_000,
        seed=seed,
        strategy=Timed(),
        granularity=grain,
        raise_on_failure=False,
    )


def speed(name: str, strategy: str, seconds: float) -> tuple[int, float]:
    return rate(lambda: explore(name, strategy, 1, seconds, buggy=False).schedules_run, seconds)


def hunt(name: str, strategy: str, seed: int, seconds: float) -> Hunt:
    start = time.monotonic()
    result = explore(name, strategy, seed, seconds, buggy=True)
    if not result.ok:
        return Hunt("failed", result.schedules_run)
    passed = result.exhausted and time.monotonic() - start < seconds
    return Hunt("passed" if passed else "inconclusive", result.schedules_run)
