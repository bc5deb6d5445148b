"""ploom: depth-first search over its own cells and locks, a fresh process an execution."""

from __future__ import annotations

import tempfile
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ploom
from programs import PROGRAMS
from tool import Hunt, Inexpressible, rate

VERSION = version("ploom")
STRATEGIES = {"dfs": None, "dfs, bound 2": 2}


class State:
    """Each shared attribute is a cell."""

    def __init__(self, shared: dict[str, int], others: dict[str, Any]) -> None:
        self.__dict__.update(others)
        self.__dict__["_cells"] = {name: ploom.SharedCell(value) for name, value in shared.items()}

    def __getattr__(self, name: str) -> Any:
        return self.__dict__["_cells"][name].read()

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__["_cells"][name].write(value)


class Cells:
    def state(self, shared: dict[str, int], **others: Any) -> State:
        return State(shared, others)

    def lock(self, name: str) -> Any:  # noqa: ARG002
        return ploom.Lock()

    def condition(self) -> Any:
        raise Inexpressible("ploom has no condition")


KIT = Cells()


def scenario(name: str, seed: int, buggy: bool) -> None:
    program = PROGRAMS[name]
    state = program.setup(KIT)
    threads = [ploom.Thread(target=worker, args=(state,)) for worker in program.order(seed, buggy=buggy)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not buggy or program.holds(state)


def explore(name: str, strategy: str, seed: int, seconds: float, *, buggy: bool) -> Hunt:
    if name == "bounded buffer":
        raise Inexpressible("ploom has no condition")
    config = ploom.Config(
        max_executions=1_000_000,
        timeout=seconds,
        max_preemptions=STRATEGIES[strategy],
        minimize_executions=0,
    )
    try:
        with tempfile.TemporaryDirectory() as folder:
            statistics = ploom.check(
                partial(scenario, name, seed, buggy), config=config, trace_dir=Path(folder)
            )
    except ploom.IncompleteExplorationError as error:
        return Hunt("inconclusive", error.statistics.executions)
    except ploom.ModelCheckError as error:
        return Hunt("failed", error.statistics.executions)
    return Hunt("passed", statistics.executions)


def speed(name: str, strategy: str, seconds: float) -> tuple[int, float]:
    return rate(lambda: explore(name, strategy, 1, seconds, buggy=False).executions, seconds)


def hunt(name: str, strategy: str, seed: int, seconds: float) -> Hunt:
    return explore(name, strategy, seed, seconds, buggy=True)
