"""simloop: asyncio on a simulated loop; random or PCT."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.metadata import version

import simloop
from async_programs import program
from tool import Hunt, rate

VERSION = version("simloop")
STRATEGIES = ("random", "pct")


def explore(name: str, strategy: str, seed: int, seconds: float, *, buggy: bool) -> Hunt:
    end = time.monotonic() + seconds
    tried = 0

    def seeds() -> Iterator[int]:
        nonlocal tried
        while time.monotonic() < end:
            tried += 1
            yield seed * 1_000_000 + tried

    report = simloop.explore(program(name, 0, buggy=buggy), seeds(), policy=strategy)
    return Hunt("inconclusive" if report is None else "failed", tried)


def speed(name: str, strategy: str, seconds: float) -> tuple[int, float]:
    return rate(lambda: explore(name, strategy, 1, seconds, buggy=False).executions, seconds)


def hunt(name: str, strategy: str, seed: int, seconds: float) -> Hunt:
    return explore(name, strategy, seed, seconds, buggy=True)
