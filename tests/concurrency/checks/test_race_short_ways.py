"""The race detector's short ways find what the long one finds: same executions, same reports, same texts."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from sugarbush.concurrency import (
    READ_ONCE,
    WRITE_ONCE,
    Atomic,
    Mutex,
    Once,
    Plain,
    Shared,
    atomic_add_return,
    join,
    smp_rmb,
    smp_wmb,
    spawn,
)
from sugarbush.concurrency.checks import past
from sugarbush.concurrency.checks.past import FieldRecord
from sugarbush.concurrency.checks.race import RaceDetector
from sugarbush.concurrency.core import Runtime
from sugarbush.concurrency.memory import smp_load_acquire, smp_store_release
from sugarbush.concurrency.rcu import rcu_read_lock, rcu_read_unlock, synchronize_rcu
from sugarbush.concurrency.runtimes import Simulated
from sugarbush.concurrency.strategies import RandomWalk

MOVES = [0, 2, 3, 4, 5, 5, 6, 6, 7, 7, 8, 9, 9, 9, 9, 10, 11]
"""What the tasks do, by number (`program`): orderings more often than accesses, or every execution would race."""


class Cell(Shared):
    a: Plain[int] = 0
    b: Plain[int] = 0
    flag: Once[int] = 0
    count: Atomic[int] = 0


class LongRecord(FieldRecord):
    """Nobody is known to know what its last release has left."""

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, -1 if name == "knower" else value)


class FirstKnower(FieldRecord):
    """Who knew once is taken to know for ever."""

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "knower" or value != -1 or not hasattr(self, "knower"):
            super().__setattr__(name, value)


class NoNewKnower(FieldRecord):
    """The first one who knew is not replaced by who has released since."""

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "knower" or getattr(self, "knower", -1) == -1:
            super().__setattr__(name, value)


class LongWay(RaceDetector):
    """Compares each access with all before it."""

    def begin(self, runtime: Runtime) -> None:
        super().begin(runtime)
        self._short = False


def program(random: Random) -> Callable[[], None]:
    scripts = [
        [(random.choice(MOVES), random.choice("ab")) for _ in range(random.randint(2, 5))] for _ in range(3)
    ]

    def run() -> None:
        cell, mutex = Cell(), Mutex("m")

        def do(what: int, name: str) -> None:
            if what < 2:
                getattr(cell, name)
            elif what < 3:
                setattr(cell, name, 1)
            elif what == 3:
                READ_ONCE(cell, "count" if name == "a" else name)
            elif what == 4:
                WRITE_ONCE(cell, "count" if name == "a" else name, 1)
            elif what == 5:
                smp_store_release(cell, "count" if name == "a" else "flag", 1)
            elif what == 6:
                smp_load_acquire(cell, "count" if name == "a" else "flag")
            elif what == 7:
                with mutex:
                    setattr(cell, name, getattr(cell, name) + getattr(cell, name))
            elif what == 8:
                (smp_wmb if name == "a" else smp_rmb)()
            elif what == 9:
                atomic_add_return(cell, "count", 1)
            elif what == 10:
                rcu_read_lock()
                getattr(cell, name)
                rcu_read_unlock()
            else:
                synchronize_rcu()
                setattr(cell, name, 2)

        def task(script: list[tuple[int, str]]) -> None:
            for step in script:
                do(*step)

        join(*(spawn(task, script) for script in scripts))

    return run


def said(seed: int, detector: RaceDetector) -> list[tuple[str, str] | None]:
    runtime = Simulated(RandomWalk(seed), (detector,))
    run = program(Random(seed))
    failures = [runtime.run(run).failure for _ in range(6)]
    return [None if failure is None else (failure.headline, str(failure.step)) for failure in failures]


def with_records(
    seed: int, records: type[FieldRecord], patch: pytest.MonkeyPatch
) -> list[tuple[str, str] | None]:
    with patch.context() as patched:
        patched.setattr(past, "FieldRecord", records)
        return said(seed, RaceDetector())


def differing(seeds: range, patch: pytest.MonkeyPatch) -> tuple[int, int, int]:
    """How many executions raced, how many did not, and how many came out different by the long way."""
    raced = clean = wrong = 0
    for seed in seeds:
        short = said(seed, RaceDetector())
        with patch.context() as patched:
            patched.setattr(past, "FieldRecord", LongRecord)
            long = said(seed, LongWay())
        raced += sum(one is not None for one in long)
        clean += sum(one is None for one in long)
        wrong += sum(one != other for one, other in zip(short, long, strict=True))
    return raced, clean, wrong


def test_the_short_ways_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    raced, clean, wrong = differing(range(250), monkeypatch)
    assert raced > 300
    assert clean > 100
    assert not wrong


def test_the_comparison_notices_what_could_go_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    true = RaceDetector._plain

    def every_access_is_known(self: RaceDetector, task: Any, op: Any, obj: Any) -> None:
        record = (self._records.get(id(obj)) or self._fields(obj))[op.field]
        if record.past is None or task.id not in record.past.reads:
            true(self, task, op, obj)

    with monkeypatch.context() as patched:
        patched.setattr(RaceDetector, "_plain", every_access_is_known)
        assert differing(range(150), monkeypatch)[2] > 0
    assert any(
        said(seed, RaceDetector()) != with_records(seed, NoNewKnower, monkeypatch) for seed in range(300)
    )


def hands_over() -> None:
    """The reader has released the counter before the writer leaves something there that it does not know of."""
    cell = Cell()

    def writer() -> None:
        cell.a = 5
        smp_wmb()
        WRITE_ONCE(cell, "count", 100)

    def reader() -> None:
        atomic_add_return(cell, "count", 1)
        if atomic_add_return(cell, "count", 1) > 100:
            cell.a  # noqa: B018

    join(spawn(writer), spawn(reader))


def test_who_knew_what_was_left_before_does_not_know_what_is_left_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failed() -> int:
        runtime = Simulated(RandomWalk(1), (RaceDetector(),))
        return sum(runtime.run(hands_over).failure is not None for _ in range(60))

    assert not failed()
    monkeypatch.setattr(past, "FieldRecord", FirstKnower)
    assert failed()
