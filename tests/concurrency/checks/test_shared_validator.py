"""The lock validator that executions share says what a fresh one for each would say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lock_programs import draw

from sugarbush.concurrency import Mutex, Settings, SugarbushError
from sugarbush.concurrency.checks import LockValidator, validator
from sugarbush.concurrency.lowlevel import Simulated
from sugarbush.concurrency.strategies.table import make_strategy
from sugarbush.lockdep import LockClassKey
from sugarbush.lockdep.show import take


def runtime(strategy: str, *, fresh: bool) -> tuple[Simulated, LockValidator]:
    made = Settings(without=frozenset({"data-race", "leak"})).runtime(make_strategy(strategy, 3))
    (found,) = (one for one in made.observers if isinstance(one, LockValidator))
    if fresh:
        found._doubts = 1 << 40
    return made, found


def told(run: Simulated, program: Callable[[], Any], number: int) -> list[Any]:
    """All that an execution says: how it ended, its schedule, and where each lock was taken that is still held."""
    run.executions = number
    try:
        done = run.run(program)
    except SugarbushError as error:
        # Of a program that makes no sense: an interrupt comes in where interrupts are off.
        return [type(error).__name__, str(error)]
    failed = done.failure
    said = (
        None if failed is None else (failed.headline, failed.detail, failed.step, failed.task, failed.check)
    )
    held = [
        [(entry[0].name, entry[1].key & 7, *entry[2:4]) for entry in task.context.held] for task in run.tasks
    ]
    return [said, done.steps, str(done.schedule), held]


def listings(one: LockValidator) -> list[Any]:
    """What the validator would show: its numbers, classes, chains and dependencies."""
    shown = take(one.lockdep)
    return [shown.stats, *(getattr(shown, name) for name in ("classes", "chains", "held", "reports"))]


def compare(seeds: range, executions: int, strategy: str = "random") -> dict[str, int]:
    """Compare executions, and count what they were: how many programs failed, how many doubts a fresh one shared."""
    counts = dict.fromkeys(("failing", "sharing", "real", "wrong"), 0)
    for seed in seeds:
        program = draw(seed)
        (one, sharing), (other, plain) = (runtime(strategy, fresh=fresh) for fresh in (False, True))
        failing = False
        for number in range(executions):
            doubts = sharing._doubts
            ours, theirs = told(one, program, number), told(other, program, number)
            assert ours == theirs, f"program {seed}, execution {number}"
            failed = isinstance(ours[0], tuple) and ours[0][4] == "lockdep"
            failing = failing or failed
            counts["sharing"] += sharing._log is not None
            counts["real" if failed else "wrong"] += sharing._doubts - doubts
            if number % 7 == 3:
                assert listings(sharing) == listings(plain), f"program {seed}, execution {number}"
        counts["failing"] += failing
    return counts


def test_it_says_what_a_fresh_one_says() -> None:
    counts = compare(range(50), 16)
    assert counts["failing"] > 10
    assert counts["real"] > 50
    # Guarded cycles, and orders that no one execution shows.
    assert counts["wrong"] > 10
    # Those that did not fail, and those that a listing was not made of.
    assert counts["sharing"] > 300


@pytest.mark.exhaustive
@pytest.mark.parametrize("strategy", ["random", "pct", "dpor"])
def test_it_says_what_a_fresh_one_says_of_many(strategy: str) -> None:
    compare(range(100, 700), 40, strategy)


def test_a_long_execution_is_told_to_a_fresh_one(monkeypatch: pytest.MonkeyPatch) -> None:
    # In the middle of it, since so many events are kept at most.
    monkeypatch.setattr(validator, "_LONGEST", 7)
    assert compare(range(8), 10)["sharing"] > 0


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validator, "_GROWTH", 20)

    def program() -> None:
        for number in range(3):
            with Mutex("m", key=LockClassKey(f"key {number}")):
                pass

    run, sharing = runtime("random", fresh=False)
    kept = []
    for number in range(100):
        run.executions = number
        run.run(program)
        assert sharing._log is not None
        assert sharing._shared is not None
        kept.append(len(sharing._shared.state().classes))
    # Three classes an execution, and none of them is met again.
    assert 20 < max(kept) < 80
