"""What a run counts of its locks."""

from __future__ import annotations

import pytest

from sugarbush.concurrency import Mutex, RwSemaphore, Settings, Spinlock, explore, join, spawn
from sugarbush.stress.kit.counts import Counts


@pytest.mark.parametrize(
    ("make", "take", "release"),
    [
        (Mutex, "lock", "unlock"),
        (Spinlock, "lock", "unlock"),
        (RwSemaphore, "down_write", "up_write"),
        (RwSemaphore, "down_read", "up_read"),
    ],
)
def test_locks_that_are_taken_and_waited_for(make: type, take: str, release: str) -> None:
    """Over all schedules of two tasks; readers only wait for a writer, who is not here."""
    counts = Counts()

    def program() -> None:
        lock = make("lock")

        def work() -> None:
            getattr(lock, take)()
            getattr(lock, release)()

        join(spawn(work), spawn(work))

    result = explore(program, strategy="dfs", executions=1000, settings=Settings(observers=lambda: (counts,)))
    assert result.exhaustive
    counted = counts.counted
    assert counted.executions == result.executions
    assert counted.acquired == {"lock": 2 * result.executions}
    assert bool(counted.waited["lock"]) is (take != "down_read")
    assert counted.chains == {("lock",)}
