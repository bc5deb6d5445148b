"""Statistics of the locks of one execution: each lock is counted when a task has it."""

from __future__ import annotations

import pytest

from sugarbush.concurrency import Mutex, check, join, spawn
from sugarbush.concurrency.lowlevel import RandomWalk, Simulated
from sugarbush.stress.witness.locks import _Watch


def a_try_fails() -> None:
    wanted, held = Mutex("wanted"), Mutex("held")

    def tries() -> None:
        with held:
            check(not wanted.trylock(), "main has it")
            check(held.owner is not None, "a look at a lock that is held")

    with wanted:
        join(spawn(tries))


def test_a_try_that_failed_is_forgotten_before_the_next_lock_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watch, taken = _Watch(), []
    monkeypatch.setattr(watch.stat, "acquired", lambda lock_map, read: taken.append(lock_map.name))
    assert Simulated(RandomWalk(1), (watch,)).run(a_try_fails).failure is None
    assert sorted(taken) == ["held", "wanted"]
