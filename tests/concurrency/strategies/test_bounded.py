"""Delay bounding and the iterative searches: what they make, how often, and what they say of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from concurrency_programs import BARE, Cell, every_execution, lost_update
from strategy_programs import two_by_two

from sugarbush.concurrency import Mutex, Verdict, check, explore, join, spawn
from sugarbush.concurrency.lowlevel import Simulated
from sugarbush.concurrency.strategies import DelayBounded, DepthFirst, Iterative


def three_tasks() -> None:
    cell, mutex = Cell(), Mutex("m")

    def work() -> None:
        with mutex:
            cell.once = 1

    for _ in range(3):
        spawn(work)


def schedules(search: Any, program: Callable[[], Any]) -> list[str]:
    runtime = Simulated(search)
    made = []
    while search.left:
        made.append(str(runtime.run(program).schedule))
        assert len(made) < 100_000
    return made


def test_without_delays_there_is_one_schedule() -> None:
    search = DelayBounded(0)
    assert len(schedules(search, three_tasks)) == 1
    assert search.cut > 0


@pytest.mark.parametrize("program", [two_by_two, lost_update])
def test_enough_delays_make_every_schedule_once(program: Callable[[], Any]) -> None:
    search = DelayBounded(100)
    made = schedules(search, program)
    assert len(made) == len(set(made))
    assert set(made) == {str(execution.schedule) for execution in every_execution(program)}
    assert search.cut == 0


def test_each_delay_allows_more_and_nothing_twice() -> None:
    before: set[str] = set()
    for bound in range(4):
        made = schedules(DelayBounded(bound), three_tasks)
        assert len(made) == len(set(made))
        assert before < set(made)
        before = set(made)


def test_one_delay_costs_one_also_where_a_task_has_ended() -> None:
    """n tasks of one operation: a schedule of d delays passes over d tasks, so one delay gives one for each place."""

    def program() -> None:
        cell = Cell()
        for n in range(4):
            spawn(setattr, cell, "once", n)

    switch_points = DelayBounded(0)
    schedules(switch_points, program)
    assert len(schedules(DelayBounded(1), program)) == 1 + switch_points.cut


def test_a_preemption_bound_grows_with_the_tasks_and_a_delay_bound_does_not() -> None:
    """The ways on at one switch point: with a preemption any of the others, with a delay the next one."""

    def program(tasks: int) -> Callable[[], None]:
        def start() -> None:
            cell = Cell()
            for n in range(tasks):
                spawn(setattr, cell, "once", n)

        return start

    preempting = [len(schedules(DepthFirst(0), program(n))) for n in (2, 3, 4)]
    delaying = [len(schedules(DelayBounded(0), program(n))) for n in (2, 3, 4)]
    assert preempting == [2, 6, 24]
    assert delaying == [1, 1, 1]


@pytest.mark.parametrize("make", [DepthFirst, DelayBounded])
def test_an_iterative_search_goes_on_until_a_bound_cuts_nothing(make: type[DepthFirst]) -> None:
    search = Iterative(make)
    made = schedules(search, two_by_two)
    assert set(made) == {str(execution.schedule) for execution in every_execution(two_by_two)}
    assert len(made) - search.repeated == len(set(made))
    assert search.repeated > 0
    assert search.cut == 0
    assert search.completed == search.bound


def test_an_iterative_search_ends_at_its_bound() -> None:
    result = explore(three_tasks, strategy="idfs", depth=1, settings=BARE)
    assert result.verdict is Verdict.PASSED
    assert (result.bound, result.completed) == (1, 1)
    assert result.scope == f"every schedule within preemption bound 1, which cut {result.cut} switch points"


def test_a_budget_that_ends_first_says_which_bound_was_done() -> None:
    whole = explore(three_tasks, strategy="idelay", depth=2, settings=BARE)
    result = explore(three_tasks, strategy="idelay", depth=2, executions=whole.executions - 1, settings=BARE)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.scope == "every schedule within delay bound 1, and some of bound 2"


def test_a_delay_bounded_search_finds_a_bug_of_one_delay() -> None:
    none = explore(lost_update, strategy="delay", depth=0, settings=BARE)
    assert (none.verdict, none.cut > 0) == (Verdict.PASSED, True)
    assert "within delay bound 0" in none.scope
    assert explore(lost_update, strategy="delay", depth=1, settings=BARE).verdict is Verdict.FAILED


@pytest.mark.parametrize("make", [DepthFirst, DelayBounded, lambda bound: Iterative(DepthFirst, bound)])
def test_the_parts_of_a_search_together_are_the_search(make: Callable[[int], Any]) -> None:
    """Stopped after each execution and divided anew, in order: the same schedules in the same order."""
    whole = schedules(make(2), three_tasks)
    first = make(2)
    made, parts = [], [first.root]
    cut = 0
    while parts:
        part = parts.pop(0)
        search = make(2)
        search.enter(part)
        made.append(str(Simulated(search).run(three_tasks).schedule))
        rest = search.rest()
        assert rest == sorted(rest)
        assert all(part < one for one in rest)
        parts = rest + parts
        cut += search.cut
        if not parts:
            following = search.after(part[:1], cut)
            parts = [] if following is None else [following]
            cut = 0
    assert made == whole


def test_failing_checks_do_not_stop_a_search_that_keeps_going() -> None:
    def program() -> None:
        cell = Cell()

        def work(n: int) -> None:
            cell.once = n
            check(cell.once == n, f"nobody came between {n}")

        join(spawn(work, 1), spawn(work, 2))

    result = explore(program, strategy="idelay", settings=BARE, keep_going=True)
    assert result.exhaustive
    assert sorted(witness.failure.headline for witness in result.failures) == [
        "check failed: nobody came between 1",
        "check failed: nobody came between 2",
    ]
