"""What the tests of this folder share: small programs, and a strategy that makes every choice there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sugarbush.concurrency import (
    Atomic,
    Failure,
    Mutex,
    Once,
    Plain,
    RcuPtr,
    Settings,
    Shared,
    Task,
    check,
    explore,
    join,
    spawn,
)
from sugarbush.concurrency.lowlevel import Execution, Observer, Simulated

BARE = Settings(without=frozenset({"lockdep", "data-race", "leak"}))
NO_RACES = Settings(without=frozenset({"data-race"}))


class Cell(Shared):
    """One field of each kind."""

    plain: Plain[int] = 0
    once: Once[int] = 0
    pointer: RcuPtr[Any] = None
    count: Atomic[int] = 0


class EverySchedule:
    """Makes each sequence of choices once, depth first: `left` says whether there is another."""

    name = "every"
    numbers = None
    lease = 1

    def __init__(self) -> None:
        self._trail: list[tuple[int, int]] = []
        self._at = 0
        self.left = True

    def begin(self, execution: int) -> None:
        self._at = 0

    def data(self, n: int, label: str) -> int:
        if self._at == len(self._trail):
            self._trail.append((0, n))
        self._at += 1
        return self._trail[self._at - 1][0]

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:
        return runnable[self.data(len(runnable), "task")]

    def end(self, steps: int, forced: int) -> None:
        while self._trail and self._trail[-1][0] + 1 == self._trail[-1][1]:
            self._trail.pop()
        self.left = bool(self._trail)
        if self.left:
            value, n = self._trail.pop()
            self._trail.append((value + 1, n))


def every_execution(
    program: Callable[[], Any], observers: tuple[Observer, ...] = (), faults: int = 0, limit: int = 200_000
) -> Iterator[Execution]:
    """All executions of `program`, one for each schedule."""
    strategy = EverySchedule()
    runtime = Simulated(strategy, observers, faults=faults)
    for _ in range(limit):
        if not strategy.left:
            return
        yield runtime.run(program)
    raise AssertionError(f"more than {limit} schedules")


def outcomes(program: Callable[[list[Any]], Any], **options: Any) -> set[tuple[Any, ...]]:
    """What `program(log)` can leave in `log`, over all schedules; a failure counts by its headline."""
    logs: list[list[Any]] = []

    def logged() -> None:
        logs.append([])
        program(logs[-1])

    found = set()
    for execution in every_execution(logged, **options):
        if execution.failure is not None:
            found.add((execution.failure.headline,))
        else:
            found.add(tuple(logs[-1]))
    return found


def first_failure(program: Callable[[], Any], settings: Settings | None = None, **options: Any) -> Failure:
    """The first failure that an exploration finds; there must be one."""
    result = explore(program, settings=settings, **{"executions": 500, **options})
    assert result.failures, f"nothing found in {result.executions} executions"
    return result.failures[0].failure


def clean(program: Callable[[], Any], settings: Settings | None = None, **options: Any) -> None:
    """No schedule of some hundred fails."""
    for strategy in ("random", "pct"):
        result = explore(program, settings=settings, strategy=strategy, **{"executions": 150, **options})
        assert not result.failures, result.failures[0].failure.detail or result.failures[0].failure


def lost_update() -> None:
    """Two tasks add 1 without a lock."""
    cell = Cell()

    def add() -> None:
        cell.once = cell.once + 1

    join(*[spawn(add) for _ in range(2)])
    check(cell.once == 2, "both additions count")


def locked_update() -> None:
    """Two tasks add 1 under a lock."""
    cell, mutex = Cell(), Mutex("cell")

    def add() -> None:
        with mutex:
            cell.plain = cell.plain + 1

    join(*[spawn(add) for _ in range(2)])
    check(cell.plain == 2, "both additions count")


def abba() -> None:
    """Two tasks take two mutexes in opposite order."""
    a, b = Mutex("a"), Mutex("b")

    def take(first: Mutex, second: Mutex) -> None:
        with first, second:
            pass

    spawn(take, a, b, name="ab")
    spawn(take, b, a, name="ba")


def every_schedule(program: Callable[[], Any], settings: Settings | None = None) -> None:
    """No schedule fails: depth first sees them all, and so does the reduced search."""
    for strategy in ("dfs", "dpor"):
        result = explore(program, strategy=strategy, settings=settings, executions=100_000)
        assert not result.failures, result.failures[0].failure.detail or result.failures[0].failure
        # A single task has one schedule, and nothing to pass.
        assert result.verdict == "passed" or (result.unexplored and result.exhaustive)
