"""Offering the CPU: another task may go on, and that is no preemption, whoever counts."""

from __future__ import annotations

import pytest
from concurrency_programs import BARE, Cell

from sugarbush.concurrency import (
    Result,
    Spinlock,
    check,
    cond_resched,
    explore,
    join,
    minimise,
    replay,
    spawn,
)


def offers() -> None:
    """A window in which the task that opens it offers its CPU."""
    cell = Cell()

    def opens() -> None:
        cell.once = 1
        cond_resched()
        cell.once = 0

    join(spawn(opens), spawn(lambda: check(not cell.once, "nobody looks inside")))


def offers_elsewhere() -> None:
    """The CPU is offered before the window, and behind it."""
    cell = Cell()

    def opens() -> None:
        cond_resched()
        cell.once = 1
        cell.once = 0
        cond_resched()

    join(spawn(opens), spawn(lambda: check(not cell.once, "nobody looks inside")))


def offers_twice() -> None:
    """Both windows are left where their task offers its CPU; the second one is inside the first one."""
    outer, inner = Cell(), Cell()

    def opens() -> None:
        outer.once = 1
        cond_resched()
        outer.once = 0

    def tests() -> None:
        if outer.once:
            inner.once = 1
            cond_resched()
            inner.once = 0

    join(spawn(opens), spawn(tests), spawn(lambda: check(not inner.once, "nobody looks into both")))


def bounded(program: object, bound: int) -> Result:
    assert callable(program)
    return explore(program, strategy="dfs", depth=bound, settings=BARE)


@pytest.mark.parametrize("program", [offers, offers_twice])
def test_a_search_without_preemptions_leaves_a_task_that_offers_its_cpu(program: object) -> None:
    (witness,) = bounded(program, 0).failures
    assert witness.preemptions == 0


def test_right_behind_the_offer_it_is_a_preemption_again() -> None:
    assert not bounded(offers_elsewhere, 0).failures
    (witness,) = bounded(offers_elsewhere, 1).failures
    assert witness.preemptions == 1


@pytest.mark.parametrize(("program", "left"), [(offers, 0), (offers_twice, 0), (offers_elsewhere, 1)])
@pytest.mark.parametrize("strategy", ["random", "pct", "pos", "delay", "dpor"])
def test_a_witness_is_minimised_to_the_switches_that_are_no_preemptions(
    program: object, left: int, strategy: str
) -> None:
    assert callable(program)
    for seed in range(1, 6):
        (witness,) = explore(program, strategy=strategy, seed=seed, settings=BARE).failures
        small = minimise(program, witness, BARE)
        assert small.preemptions == left
        again = replay(program, str(small.schedule), settings=BARE)
        assert (again.preemptions, again.failure.signature) == (left, small.failure.signature)
        assert minimise(program, small, BARE).schedule == small.schedule


def test_every_schedule_of_a_task_that_only_offers_its_cpu_is_one_trace() -> None:
    def idles() -> None:
        join(*[spawn(cond_resched) for _ in range(3)])

    result = explore(idles, strategy="dpor", settings=BARE)
    assert (result.executions, result.exhaustive) == (1, True)


def test_who_may_not_sleep_may_not_offer_its_cpu() -> None:
    def program() -> None:
        with Spinlock("lock"):
            cond_resched()

    (witness,) = explore(program, executions=1).failures
    assert witness.failure.headline.startswith("BUG: sleeping function called from invalid context")


def test_under_threads_and_outside_a_program_it_is_nothing_special() -> None:
    cond_resched()
    assert not explore(lambda: join(spawn(cond_resched)), runtime="threaded", executions=2).failures
    assert not explore(lambda: join(spawn(cond_resched)), executions=5, settings=BARE).failures
