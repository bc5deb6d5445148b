"""Depth-first search: it makes every schedule once, says what a bound cut, and never passes what it has not seen."""

from __future__ import annotations

from collections.abc import Callable
from math import factorial
from typing import Any

import pytest
from concurrency_programs import BARE, Cell, abba, every_execution, locked_update, lost_update

from sugarbush.concurrency import (
    ConcurrencyError,
    KmemCache,
    Mutex,
    RwSemaphore,
    Schedule,
    Settings,
    Verdict,
    check,
    explore,
    join,
    replay,
    spawn,
)
from sugarbush.concurrency.lowlevel import DepthFirst, Simulated, active
from sugarbush.concurrency.strategies import Replay
from sugarbush.concurrency.strategies.guided import Noted
from sugarbush.lockdep.model.gfp import GFP_KERNEL


def schedules(program: Callable[[], Any], bound: int | None = None, faults: int = 0) -> tuple[list[str], int]:
    """The schedules that the search makes, in order, and how many switch points the bound cut."""
    search = DepthFirst(bound)
    runtime = Simulated(search, faults=faults)
    made = []
    while search.left:
        made.append(str(runtime.run(program).schedule))
        assert len(made) < 200_000
    return made, search.cut


def independent(tasks: int, steps: int) -> Callable[[], None]:
    """`tasks` tasks of `steps` operations each, started at once: nothing of main comes between."""

    def work() -> None:
        cell = Cell()
        for _ in range(steps):
            cell.once = 1

    def program() -> None:
        for _ in range(tasks):
            spawn(work)

    return program


def multinomial(*lengths: int) -> int:
    number = factorial(sum(lengths))
    for length in lengths:
        number //= factorial(length)
    return number


@pytest.mark.parametrize(("tasks", "steps"), [(1, 3), (2, 1), (2, 2), (2, 4), (3, 1), (3, 2)])
def test_every_interleaving_is_made_exactly_once(tasks: int, steps: int) -> None:
    """A task is in `steps` + 1 pieces: up to its first operation, and from each operation to the next or its end."""
    made, cut = schedules(independent(tasks, steps))
    assert len(made) == len(set(made)) == multinomial(*[steps + 1] * tasks)
    assert cut == 0


def test_the_schedules_are_those_of_plain_enumeration() -> None:
    def program() -> None:
        cell, mutex = Cell(), Mutex("m")

        def work() -> None:
            with mutex:
                cell.once += 1
            if active.runtime.choose(2, "again"):
                cell.once += 1

        join(spawn(work), spawn(work))

    made, _ = schedules(program)
    assert len(made) == len(set(made))
    assert set(made) == {str(execution.schedule) for execution in every_execution(program)}


def test_every_value_of_a_data_choice_is_taken() -> None:
    taken = []
    made, _ = schedules(
        lambda: taken.append((active.runtime.choose(3, "a"), active.runtime.choose(2, "b"))), bound=0
    )
    assert taken == [(a, b) for a in range(3) for b in range(2)]
    assert len(set(made)) == 6


@pytest.mark.parametrize(("tasks", "sections", "orders"), [(2, 2, 6), (2, 3, 20), (3, 2, 90)])
def test_all_orders_of_locked_sections_are_reached(tasks: int, sections: int, orders: int) -> None:
    def program() -> None:
        mutex, order = Mutex("m"), []

        def work(name: str) -> None:
            for _ in range(sections):
                with mutex:
                    order.append(name)

        for name in "abc"[:tasks]:
            spawn(work, name)
        finals.append(order)

    finals: list[list[str]] = []
    bound = None if tasks == 2 else 4
    schedules(program, bound)
    seen = {"".join(order) for order in finals}
    assert len(seen) == orders == multinomial(*[sections] * tasks)


def test_a_lost_update_needs_one_preemption() -> None:
    none = explore(lost_update, strategy="dfs", depth=0, settings=BARE)
    assert none.verdict is Verdict.PASSED
    assert none.exhaustive
    assert none.bound == 0
    assert none.cut > 0
    assert none.scope == f"every schedule within preemption bound 0, which cut {none.cut} switch points"
    one = explore(lost_update, strategy="dfs", depth=1, settings=BARE)
    assert one.verdict is Verdict.FAILED
    assert one.failures[0].preemptions == 1


def test_a_deadlock_is_found_and_replays() -> None:
    result = explore(abba, strategy="dfs", settings=BARE, keep_going=True)
    assert result.verdict is Verdict.FAILED
    assert result.exhaustive
    (witness,) = result.failures
    assert witness.failure.headline.startswith("deadlock")
    again = replay(abba, Schedule.parse(str(witness.schedule)), settings=BARE)
    assert again.failure.signature == witness.failure.signature
    assert not explore(abba, strategy="dfs", depth=0, settings=BARE).failures


def test_a_search_that_cut_nothing_has_seen_every_schedule() -> None:
    def program() -> None:
        cell = Cell()

        def work() -> None:
            cell.count += 1

        join(spawn(work), spawn(work))

    whole = explore(program, strategy="dfs", settings=BARE)
    assert (whole.exhaustive, whole.bound, whole.cut, whole.scope) == (True, None, 0, "every schedule")
    bounded = explore(program, strategy="dfs", depth=20, settings=BARE)
    assert (bounded.executions, bounded.cut, bounded.scope) == (whole.executions, 0, "every schedule")


def test_a_budget_that_ends_first_leaves_it_open() -> None:
    result = explore(locked_update, strategy="dfs", executions=10, settings=BARE)
    assert (result.verdict, result.exhaustive, result.executions) == (Verdict.INCONCLUSIVE, False, 10)
    assert result.scope == "some of the schedules"


def test_the_last_execution_of_the_budget_may_be_the_last_of_all() -> None:
    assert explore(independent(2, 1), strategy="dfs", executions=6, settings=BARE).exhaustive
    assert not explore(independent(2, 1), strategy="dfs", executions=5, settings=BARE).exhaustive


@pytest.mark.parametrize("bound", [0, 1, 2, 3])
def test_a_bound_counts_what_leaves_a_task_that_could_go_on(bound: int) -> None:
    """Against plain enumeration, whose preemptions are counted from outside: the schedules are the same."""

    def program() -> None:
        cell, sem = Cell(), RwSemaphore("s")

        def reads() -> None:
            sem.down_read()
            cell.once  # noqa: B018
            sem.up_read()

        def writes() -> None:
            sem.down_write()
            sem.up_write()

        spawn(reads)
        spawn(writes)

    every = [execution.schedule for execution in every_execution(program)]
    within = {str(one) for one in every if explored_preemptions(program, one) <= bound}
    made, cut = schedules(program, bound)
    assert len(made) == len(set(made))
    assert set(made) == within
    assert (cut > 0) == (len(within) < len(every))


def explored_preemptions(program: Callable[[], Any], schedule: Schedule) -> int:
    """How often `schedule` leaves a task that could have gone on."""
    noted = Noted(Replay(schedule))
    Simulated(noted).run(program)
    return noted.preemptions


def test_failing_allocations_are_choices_too() -> None:
    def program() -> None:
        cache = KmemCache("cell", Cell)
        first, second = cache.alloc(GFP_KERNEL), cache.alloc(GFP_KERNEL)
        got.append((first is None, second is None))

    got: list[tuple[bool, bool]] = []
    schedules(program, faults=1)
    assert sorted(got) == [(False, False), (False, True), (True, False)]


def test_an_endless_program_ends_in_a_stall() -> None:
    def program() -> None:
        cell = Cell()

        def spins() -> None:
            while not cell.once:
                pass

        spawn(spins)
        spawn(setattr, cell, "once", 1)

    result = explore(program, strategy="dfs", settings=Settings(max_steps=200), executions=2000)
    assert result.verdict is Verdict.FAILED
    assert result.failures[0].failure.headline.startswith("step limit")


def test_a_program_that_is_not_deterministic_is_refused() -> None:
    runs: list[int] = []

    def program() -> None:
        runs.append(1)
        cell = Cell()
        for _ in range(1 + len(runs)):
            spawn(setattr, cell, "once", 1)

    with pytest.raises(ConcurrencyError, match="not deterministic"):
        explore(program, strategy="dfs", settings=BARE)


def test_a_program_that_ends_early_is_refused() -> None:
    runs: list[int] = []

    def program() -> None:
        runs.append(1)
        cell = Cell()
        if len(runs) == 1:
            spawn(setattr, cell, "once", 1)
            spawn(setattr, cell, "once", 1)

    with pytest.raises(ConcurrencyError, match="not deterministic"):
        explore(program, strategy="dfs", settings=BARE)


def test_a_negative_bound_is_refused() -> None:
    with pytest.raises(ConcurrencyError, match="at least 0"):
        DepthFirst(-1)


def test_no_choice_is_one_execution() -> None:
    result = explore(lambda: check(True, "fine"), strategy="dfs", settings=BARE)
    assert (result.executions, result.exhaustive, result.verdict) == (1, True, Verdict.UNEXPLORED)
