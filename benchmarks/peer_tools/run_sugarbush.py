"""Sugarbush, as explore() runs by default and with its checks off; every field is marked, so only the check fails."""

from __future__ import annotations

from functools import cache
from typing import Any

from programs import PROGRAMS
from tool import Hunt, rate

from sugarbush.concurrency import Condition, Mutex, Settings, Shared, check, explore, join, spawn

VERSION = "this tree"
CHECKED = Settings()
BARE = Settings(without=frozenset({"lockdep", "data-race", "leak", "rcu"}))
STRATEGIES = {
    f"{strategy}{suffix}": (strategy, settings)
    for suffix, settings in (("", CHECKED), (", checks off", BARE))
    for strategy in ("pct", "random", "dpor")
}


@cache
def state_class(shared: tuple[str, ...], others: tuple[str, ...]) -> type[Shared]:
    annotations = dict.fromkeys(shared, "Once[int]") | dict.fromkeys(others, "Unshared[object]")
    return type(Shared)("State", (Shared,), {"__annotations__": annotations, "__module__": __name__})


class Kit:
    def state(self, shared: dict[str, int], **others: Any) -> Shared:
        return state_class(tuple(shared), tuple(others))(**shared, **others)

    def lock(self, name: str) -> Mutex:
        return Mutex(name)

    def condition(self) -> Condition:
        return Condition()


KIT = Kit()


def run(name: str, strategy: str, seed: int, seconds: float, *, buggy: bool) -> Hunt:
    program = PROGRAMS[name]
    method, settings = STRATEGIES[strategy]
    workers = program.order(seed if method == "dpor" else 0, buggy=buggy)

    def main() -> None:
        state = program.setup(KIT)
        join(*[spawn(worker, state) for worker in workers])
        check(not buggy or program.holds(state), name)

    result = explore(main, strategy=method, seconds=seconds, seed=seed, settings=settings)
    return Hunt(result.verdict.value, result.executions)


def speed(name: str, strategy: str, seconds: float) -> tuple[int, float]:
    return rate(lambda: run(name, strategy, 1, seconds, buggy=False).executions, seconds)


def hunt(name: str, strategy: str, seed: int, seconds: float) -> Hunt:
    return run(name, strategy, seed, seconds, buggy=True)
