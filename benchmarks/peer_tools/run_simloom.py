"""simloom: asyncio on a simulated loop; random, PCT, or every schedule of at most two delays."""

from __future__ import annotations

import time
from importlib.metadata import version

import simloom
from async_programs import program
from tool import Hunt, rate

VERSION = version("simloom")
STRATEGIES = ("random", "pct:auto", "systematic, 2 delays")
SCHEDULES = 1500
"""At most so many in a systematic search, which knows no time limit."""


def speed(name: str, strategy: str, seconds: float) -> tuple[int, float]:
    main = program(name, 0, buggy=False)
    if strategy.startswith("systematic"):
        return rate(lambda: simloom.explore_systematic(main, max_schedules=20).schedules, seconds)
    scheduler = None if strategy == "random" else strategy
    return rate(lambda: simloom.explore(main, runs=20, scheduler=scheduler).runs, seconds)


def hunt(name: str, strategy: str, seed: int, seconds: float) -> Hunt:
    if strategy.startswith("systematic"):
        main = program(name, seed, buggy=True)
        found = simloom.explore_systematic(main, max_delays=2, max_schedules=SCHEDULES)
        if found.failed:
            return Hunt("failed", found.schedules)
        return Hunt("passed" if found.proven_correct else "inconclusive", found.schedules)
    main = program(name, 0, buggy=True)
    scheduler = None if strategy == "random" else strategy
    executions, first = 0, seed * 1_000_000
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        some = simloom.explore(main, runs=25, start_seed=first + executions, scheduler=scheduler)
        executions += some.runs
        if some.failed:
            return Hunt("failed", executions)
    return Hunt("inconclusive", executions)
