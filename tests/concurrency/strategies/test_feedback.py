"""Feedback: what counts as new, that it is kept and changed, and that all of it depends on the seed alone."""

from __future__ import annotations

import pytest
from concurrency_programs import BARE, Cell, lost_update
from known_bugs import aligned_windows, skewed_windows

from sugarbush.concurrency import explore, join, spawn
from sugarbush.concurrency.lowlevel import Strategy
from sugarbush.concurrency.strategies.feedback import Feedback, Lesson


def schedules(strategy: Strategy, executions: int) -> list[str]:
    runtime = BARE.runtime(strategy)
    return [str(runtime.run(aligned_windows).schedule) for _ in range(executions)]


def test_the_same_seed_makes_the_same_choices() -> None:
    assert schedules(Feedback(1), 300) == schedules(Feedback(1), 300)
    assert schedules(Feedback(1), 300) != schedules(Feedback(2), 300)


def test_a_pair_is_two_operations_of_two_tasks_of_which_one_changes_the_place() -> None:
    def program() -> None:
        shared, own = Cell(), [Cell(), Cell()]

        def work(number: int) -> None:
            own[number].once = 1
            shared.once = own[number].once

        def reads() -> None:
            assert shared.count == 0

        join(spawn(work, 0), spawn(work, 1), spawn(reads), spawn(reads))

    strategy = Feedback(1)
    runtime = BARE.runtime(strategy)
    for _ in range(64):
        runtime.run(program)
    seen = {(one[0], one[3], other[0], other[3]) for one, other in strategy.knows.seen}
    assert seen == {(1, "once", 2, "once"), (2, "once", 1, "once")}


def test_schedules_that_show_nothing_new_are_not_kept() -> None:
    def program() -> None:
        join(spawn(setattr, Cell(), "once", 1), spawn(setattr, Cell(), "once", 1))

    strategy = Feedback(1)
    runtime = BARE.runtime(strategy)
    for _ in range(300):
        runtime.run(program)
    assert strategy.knows.schedules == []
    schedules(strategy := Feedback(1), 300)
    assert 2 < len(strategy.knows.schedules) < 100


def test_what_is_new_is_tried_again_a_little_changed() -> None:
    """Many executions begin as a schedule of the corpus does."""
    strategy = Feedback(1)
    runtime = BARE.runtime(strategy)
    for _ in range(128):
        runtime.run(skewed_windows)
    followed = 0
    for _ in range(64):
        runtime.run(skewed_windows)
        made = tuple(strategy.listener.stretches)
        followed += any(made[:6] == plan[:6] for plan in strategy.knows.schedules)
    assert followed > 8


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_small_bugs_are_found(seed: int) -> None:
    assert explore(lost_update, strategy="feedback", seed=seed, executions=100, settings=BARE).failures


def test_the_corpus_is_bounded_and_the_newest_stay() -> None:
    strategy = Feedback(1)
    for number in range(500):
        pair = ((0, "write", "Cell", "once", number), (1, "read", "Cell", "once", 1))
        strategy.learn([Lesson([pair], ((0, number + 1),))])
    assert [plan[0][1] for plan in strategy.knows.schedules] == list(range(301, 501))
