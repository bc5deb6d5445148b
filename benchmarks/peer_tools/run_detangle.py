"""detangle: asyncio on a simulated loop; a portfolio, random walk, PCT, or depth-first search."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import detangle
from async_programs import program
from tool import Hunt, rate

VERSION = version("detangle")
STRATEGIES = ("auto", "random", "pct", "dfs")


def explore(name: str, strategy: str, seed: int, seconds: float, *, buggy: bool) -> Hunt:
    searches = strategy == "dfs"
    main = program(name, seed if searches else 0, buggy=buggy)
    options: dict[str, Any] = {} if searches else {"seed": seed}
    try:
        stats = detangle.explore(
            main, runs=1_000_000, strategy=strategy, max_duration=seconds, shrink=False, **options
        )
    except detangle.BugFound as bug:
        return Hunt("failed", bug.report.runs)
    return Hunt("passed" if stats.exhausted else "inconclusive", stats.runs)


def speed(name: str, strategy: str, seconds: float) -> tuple[int, float]:
    return rate(lambda: explore(name, strategy, 1, seconds, buggy=False).executions, seconds)


def hunt(name: str, strategy: str, seed: int, seconds: float) -> Hunt:
    return explore(name, strategy, seed, seconds, buggy=True)
