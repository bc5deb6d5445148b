"""frontrun: threads under a trace function, DPOR (preemption bound 2 unless told otherwise) or random schedules."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import frontrun
from programs import PROGRAMS, always
from thread_kit import KIT
from tool import Hunt, rate

VERSION = version("frontrun")
STRATEGIES: dict[str, dict[str, Any]] = {
    "dpor": {"strategy": "dpor"},
    "dpor, no bound": {"strategy": "dpor", "preemption_bound": None},
    "random": {"strategy": "random"},
}


def explore(name: str, strategy: str, seed: int, seconds: float, *, buggy: bool) -> Any:
    program = PROGRAMS[name]
    options = dict(STRATEGIES[strategy], total_timeout=seconds, reproduce_on_failure=0)
    if name == "bounded buffer":
        options["clock"] = "virtual"
    if strategy == "random":
        options.update(seed=seed, max_attempts=1_000_000 if buggy else 50)
        seed = 0
    return frontrun.explore(
        setup=lambda: program.setup(KIT),
        workers=program.order(seed, buggy=buggy),
        invariant=program.holds if buggy else always,
        **options,
    )


def speed(name: str, strategy: str, seconds: float) -> tuple[int, float]:
    return rate(lambda: explore(name, strategy, 1, seconds, buggy=False).num_explored, seconds)


def hunt(name: str, strategy: str, seed: int, seconds: float) -> Hunt:
    result = explore(name, strategy, seed, seconds, buggy=True)
    if result.property_holds is False:
        return Hunt("failed", result.num_explored)
    passed = result.property_holds and strategy != "random"
    return Hunt("passed" if passed else "inconclusive", result.num_explored)
