"""DPOR: one execution of each trace, all outcomes of plain enumeration, and closed forms."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from math import factorial
from random import Random
from typing import Any

import pytest
from concurrency_programs import BARE, NO_RACES, Cell, EverySchedule, abba, lost_update
from small_programs import BLOCKS, WAITS, Events, Machine, all_outcomes, random_program
from strategy_programs import rw_sections

from sugarbush.concurrency import (
    BadSchedule,
    KmemCache,
    Mutex,
    Once,
    Settings,
    Shared,
    Verdict,
    call_rcu,
    check,
    explore,
    join,
    rcu_reader,
    replay,
    spawn,
    synchronize_rcu,
)
from sugarbush.concurrency.core.failure import Failure, Kind
from sugarbush.concurrency.lowlevel import DPOR, Access, Observer, Operation, Simulated, active, fail, perform
from sugarbush.concurrency.strategies import Pruned
from sugarbush.lockdep.model.gfp import GFP_KERNEL

Program = Callable[[], Any]


def traces(program: Program, faults: int = 0) -> tuple[int, int, set[str]]:
    """How many executions are completed and given up, and the failures."""
    strategy = DPOR()
    runtime = Simulated(strategy, faults=faults)
    completed, given_up, failures = 0, 0, set()
    while strategy.left:
        try:
            execution = runtime.run(program)
        except Pruned:
            given_up += 1
            continue
        completed += 1
        if execution.failure is not None:
            failures.add(execution.failure.headline)
        assert completed + given_up < 100_000
    return completed, given_up, failures


def distinct(program: Program) -> int:
    """How many traces there are, by plain enumeration."""
    events = Events(EverySchedule())
    runtime = Simulated(events)
    found = set()
    while events.left:
        runtime.run(program)
        found.add(events.trace)
    return len(found)


def readers_and_writer(n: int) -> Program:
    def program() -> None:
        cell = Cell()
        for _ in range(n):
            spawn(getattr, cell, "once")
        spawn(setattr, cell, "once", 1)

    return program


def writers(n: int) -> Program:
    def program() -> None:
        cell = Cell()
        for number in range(n):
            spawn(setattr, cell, "once", number)

    return program


def independent(steps: int) -> Program:
    def work() -> None:
        cell = Cell()
        for _ in range(steps):
            cell.once += 1

    def program() -> None:
        spawn(work)
        spawn(work)

    return program


def sections(tasks: int, each: int) -> Program:
    def program() -> None:
        mutex = Mutex("m")

        def work() -> None:
            for _ in range(each):
                with mutex:
                    pass

        for _ in range(tasks):
            spawn(work)

    return program


@pytest.mark.parametrize("n", range(1, 8))
def test_n_readers_and_a_writer_are_2_to_the_n(n: int) -> None:
    assert traces(readers_and_writer(n)) == (2**n, 0, set())


@pytest.mark.parametrize("n", range(1, 6))
def test_n_writers_are_n_factorial(n: int) -> None:
    assert traces(writers(n)) == (factorial(n), 0, set())


@pytest.mark.parametrize("steps", [1, 5, 60])
def test_tasks_that_share_nothing_are_one_trace(steps: int) -> None:
    assert traces(independent(steps)) == (1, 0, set())


@pytest.mark.parametrize(
    ("tasks", "each", "count"),
    [(2, 1, 2), (3, 1, 6), (4, 1, 24), (2, 2, 6), (2, 3, 20), (2, 4, 70), (3, 2, 90)],
)
def test_locked_sections_are_the_multinomials(tasks: int, each: int, count: int) -> None:
    assert traces(sections(tasks, each)) == (count, 0, set())


@pytest.mark.parametrize("readers", [1, 2, 5])
def test_readers_of_a_rwsem_commute(readers: int) -> None:
    assert traces(rw_sections(readers, 0)) == (1, 0, set())


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (1, 2), (0, 2)])
def test_a_writer_of_a_rwsem_does_not(shape: tuple[int, int]) -> None:
    completed, _, failures = traces(rw_sections(*shape))
    assert completed == distinct(rw_sections(*shape)) > 1
    assert not failures


@pytest.mark.parametrize("readers", [2, 5])
def test_rcu_readers_commute(readers: int) -> None:
    def program() -> None:
        def reads() -> None:
            with rcu_reader():
                pass

        for _ in range(readers):
            spawn(reads)

    assert traces(program) == (1, 0, set())


def test_a_grace_period_and_a_reader() -> None:
    def program() -> None:
        def reads() -> None:
            with rcu_reader():
                pass

        spawn(reads)
        spawn(synchronize_rcu)

    completed, _, failures = traces(program)
    assert completed == distinct(program) > 1
    assert not failures


def test_an_object_that_is_freed_too_early_is_found() -> None:
    """The reader's access and the free are on one object; unpublishing comes first in every schedule."""

    def program(wait: bool) -> None:
        cache, place = KmemCache("cell", Cell), Cell()
        place.pointer = cache.alloc(GFP_KERNEL)

        def reads() -> None:
            with rcu_reader():
                found = place.pointer
                if found is not None:
                    found.once  # noqa: B018

        def removes() -> None:
            old = place._pointer
            place.pointer = None
            if wait:
                synchronize_rcu()
            cache.free(old)

        spawn(reads)
        spawn(removes)

    bad = explore(lambda: program(False), strategy="dpor", settings=NO_RACES)
    assert bad.failures[0].failure.kind is Kind.USE_AFTER_FREE
    good = explore(lambda: program(True), strategy="dpor", settings=NO_RACES)
    assert (good.verdict, good.failures) == (Verdict.PASSED, [])


def test_callbacks_run_in_a_task_of_their_own() -> None:
    def program() -> None:
        cell = Cell()

        def reads() -> None:
            with rcu_reader():
                seen.append(cell.once)

        spawn(reads)
        call_rcu(lambda _: setattr(cell, "once", 1), None)

    seen: list[int] = []
    completed, _, failures = traces(program)
    assert completed == distinct(program) > 2
    assert set(seen) == {0, 1}
    assert not failures


def test_joins_order_and_do_not_branch() -> None:
    def program() -> None:
        cell = Cell()
        first = spawn(setattr, cell, "once", 1)
        join(first)
        second = spawn(setattr, cell, "once", 2)
        join(second)
        check(cell.once == 2, "in order")

    assert traces(program) == (1, 0, set())


def test_tasks_that_tasks_start() -> None:
    """Three writers, of which one starts another one after it has written: 4!/2 orders of four writes."""

    def program() -> None:
        cell = Cell()

        def writes(n: int) -> None:
            cell.once = n
            if n == 0:
                spawn(writes, 3)

        for n in range(3):
            spawn(writes, n)

    assert traces(program)[0] == 12


def test_data_choices_multiply() -> None:
    def program() -> None:
        cell = Cell()

        def work() -> None:
            cell.once = active.runtime.choose(3, "value")
            active.runtime.choose(2, "more")

        spawn(work)
        spawn(work)

    assert traces(program)[0] == 2 * 36


def test_a_deadlock_is_one_execution_and_replays() -> None:
    assert traces(abba)[0] == 3
    result = explore(abba, strategy="dpor", settings=BARE, keep_going=True)
    assert (result.verdict, result.exhaustive, result.executions) == (Verdict.FAILED, True, 3)
    (witness,) = result.failures
    assert replay(abba, witness.schedule, settings=BARE).failure.signature == witness.failure.signature


def test_a_deadlock_that_needs_three_tasks() -> None:
    """The dining philosophers: all but one of the 2^n ways to decide who is first at each fork end well."""

    def program(n: int) -> None:
        forks = [Mutex(f"fork {k}") for k in range(n)]

        def dine(k: int) -> None:
            with forks[k], forks[(k + 1) % n]:
                pass

        for k in range(n):
            spawn(dine, k)

    for n in (2, 3, 4):
        completed, given_up, failures = traces(lambda n=n: program(n))
        assert len(failures) == 1
        assert (completed, given_up) == (2**n - 1, 0)


def test_a_lost_update_is_found() -> None:
    result = explore(lost_update, strategy="dpor", settings=BARE)
    assert result.verdict is Verdict.FAILED
    assert result.executions <= 4


def test_passed_says_how_many_traces() -> None:
    result = explore(sections(2, 2), strategy="dpor", settings=BARE)
    assert (result.verdict, result.exhaustive, result.executions) == (Verdict.PASSED, True, 6)
    assert result.scope == f"every trace (6; {result.pruned} executions were given up)"
    assert not explore(sections(2, 2), strategy="dpor", settings=BARE, executions=5).exhaustive


def test_all_checks_may_listen() -> None:
    result = explore(sections(2, 2), strategy="dpor", settings=Settings())
    assert (result.executions, result.verdict) == (6, Verdict.PASSED)


def test_failures_that_hide_each_other_are_all_found() -> None:
    """A failure ends an execution before other tasks could show theirs, though nothing is shared."""

    def program() -> None:
        def fails(n: int) -> None:
            Cell().once = 1
            fail(Failure(Kind.CHECK, f"number {n}"))

        for n in range(3):
            spawn(fails, n)

    assert traces(program)[2] == {"number 0", "number 1", "number 2"}


def test_a_task_that_fails_at_once_hides_nobody() -> None:
    def program() -> None:
        def fails(n: int) -> None:
            fail(Failure(Kind.CHECK, f"number {n}"))

        for n in range(3):
            spawn(fails, n)

    assert traces(program)[2] == {"number 0", "number 1", "number 2"}


def test_operations_that_may_reach_anything_are_never_left_out() -> None:
    """An effect on one object that changes another is seen by whoever reads that one, and may be by whoever starts."""

    def program(op: Operation) -> None:
        cell, other = Cell(), Cell()
        spawn(lambda: perform(op, other, cell))
        spawn(lambda: seen.append(cell.once))

    def reach(_obj: Cell, _task: object, cell: Cell) -> None:
        cell._once = 1

    seen: list[int] = []
    traces(lambda: program(Operation("reaches", effect=reach)))
    assert sorted(seen) == [0, 1, 1]
    assert traces(lambda: program(Operation("stays", Access.WRITE, effect=reach, local=True)))[0] == 1


def test_a_budget_of_failing_allocations_is_shared() -> None:
    def program() -> None:
        def takes(name: str) -> None:
            got.append((name, KmemCache(name, Cell).alloc(GFP_KERNEL) is None))

        join(spawn(takes, "a"), spawn(takes, "b"))

    got: list[tuple[str, bool]] = []
    settings = Settings(faults=1, without=frozenset({"leak"}))
    result = explore(program, strategy="dpor", settings=settings)
    assert result.exhaustive
    assert set(got) == {("a", False), ("a", True), ("b", False), ("b", True)}
    assert result.executions == 6


def skewed(depths: tuple[int, ...], order: tuple[int, ...]) -> Program:
    """Three tasks; the failure needs two preemptions, each at one place, behind so many rounds of work of their own."""

    def program() -> None:
        flags = [Cell(), Cell()]

        def work(which: int) -> None:
            own = Cell()
            for _ in range(depths[which]):
                own.once += 1

        def opens() -> None:
            work(0)
            flags[0].once = 1
            flags[0].once = 0

        def tests() -> None:
            work(1)
            if flags[0].once:
                flags[1].once = 1
                flags[1].once = 0

        def looks() -> None:
            work(2)
            check(not flags[1].once, "nobody looks into both windows")

        tasks = [opens, tests, looks]
        join(*[spawn(tasks[which]) for which in order])

    return program


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_windows_at_different_depths_are_found_in_ten_executions(order: tuple[int, ...]) -> None:
    result = explore(skewed((2, 8, 14), order), strategy="dpor", settings=BARE, executions=10)
    assert result.verdict is Verdict.FAILED


def test_a_program_that_is_not_deterministic_is_refused() -> None:
    runs: list[int] = []

    def program() -> None:
        runs.append(1)
        cell = Cell()
        for _ in range(1 + len(runs)):
            spawn(setattr, cell, "once", 1)

    with pytest.raises(BadSchedule, match="not deterministic"):
        explore(program, strategy="dpor", settings=BARE)


def compare(seeds: range, *, failing: bool, most: int) -> int:
    """Compare DPOR with plain enumeration on random programs of at most `most` schedules; gives how many.

    Failures end executions early, so of these not every trace is made; but none twice, and none in vain. The exception
    are deadlines, see `test_deadlines_are_complete_but_not_optimal`.
    """
    compared = 0
    for seed in seeds:
        blocks = (BLOCKS, WAITS, BLOCKS + WAITS)[seed % 3]
        tasks = random_program(Random(seed), failing=failing, blocks=blocks)
        every = all_outcomes(tasks, EverySchedule(), most)
        if every is None:
            continue
        compared += 1
        some = all_outcomes(tasks, DPOR(), most)
        assert some is not None
        assert some[0] == every[0], (seed, tasks)
        if "deadline" not in str(tasks):
            assert some[2] == 0, (seed, tasks)
            assert len(some[1]) == len(set(some[1])), (seed, tasks)
        if not any(outcome[0] == "failed" for outcome in every[0]):
            assert set(some[1]) == set(every[1]), (seed, tasks)
    return compared


@pytest.mark.parametrize("block", range(4))
@pytest.mark.parametrize("failing", [False, True], ids=["clean", "failing"])
def test_outcomes_and_traces_are_those_of_plain_enumeration(block: int, failing: bool) -> None:
    assert compare(range(1000 * block, 1000 * block + 24), failing=failing, most=400) >= 10


@pytest.mark.exhaustive
def test_deadlines_are_complete_but_not_optimal() -> None:
    """What an effect on the clock would do to a copy cannot be asked, since it needs its timer: so some tries fail."""
    tasks: list[Any] = [[("deadline",)], [("deadline",)]]
    every = all_outcomes(tasks, EverySchedule(), 20_000)
    some = all_outcomes(tasks, DPOR(), 2000)
    assert every is not None
    assert some is not None
    assert some[0] == every[0]
    assert set(some[1]) == set(every[1])
    assert len(set(some[1])) < len(some[1]) < 2 * len(set(some[1]))
    assert some[2] > 0


@pytest.mark.exhaustive
@pytest.mark.parametrize("block", range(8))
@pytest.mark.parametrize("failing", [False, True], ids=["clean", "failing"])
def test_outcomes_and_traces_of_2000_programs(block: int, failing: bool) -> None:
    assert compare(range(10_000 + 1000 * block, 10_260 + 1000 * block), failing=failing, most=300) >= 125


def test_the_random_programs_are_not_all_trivial() -> None:
    """They deadlock, fail, wait, and have several outcomes: what is compared above has something in it."""
    kinds: dict[str, int] = {}
    several = 0
    for seed in range(60):
        found = all_outcomes(random_program(Random(seed), failing=True), DPOR(), 2000)
        assert found is not None
        several += len(found[0]) > 1
        for outcome in found[0]:
            kinds[outcome[0]] = kinds.get(outcome[0], 0) + 1
    assert several >= 20
    assert kinds["done"] > 50
    assert kinds["failed"] >= 3
    assert kinds["deadlock"] >= 1


def test_the_machine_that_runs_them_sees_orders() -> None:
    machine = Machine([[("set", 0, "a", 1)], [("get", 0, "a")]])
    runtime = Simulated(EverySchedule())
    seen = set()
    while runtime._strategy.left:
        runtime.run(machine.program)
        seen.add(machine.outcome)
    assert len(seen) == 2


@pytest.mark.parametrize("event", ["announced", "performed", "blocked", "ended"])
def test_a_reduced_search_under_checks_of_the_whole_state_is_not_passed(event: str) -> None:
    """At whatever event it looks, unless it says that it only listens."""

    def program() -> None:
        cell = Cell()
        join(spawn(getattr, cell, "once"), spawn(getattr, cell, "once"))

    watcher = type("Watcher", (Observer,), {event: lambda *_: None})
    listener = type("Listener", (watcher,), {"judges": False})
    assert explore(program, strategy="dpor").verdict is Verdict.PASSED
    settings = Settings(observers=lambda: (listener(),))
    assert explore(program, strategy="dpor", settings=settings).verdict is Verdict.PASSED
    result = explore(program, strategy="dpor", settings=Settings(observers=lambda: (watcher(),)))
    assert result.exhaustive
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "checks of the whole state" in result.scope


class Places(Shared):
    """Three places that tasks read and write."""

    x: Once[int] = 0
    y: Once[int] = 0
    z: Once[int] = 0


def test_a_task_that_reads_two_places_and_writes_loses_no_trace() -> None:
    """Seven operations in straight lines: a leaf of the wakeup tree once swallowed two of the 17 traces."""

    def program() -> None:
        places = Places()

        def first() -> None:
            seen["a"] = places.y
            places.y = 1

        def second() -> None:
            seen["b"], seen["c"], seen["d"] = places.y, places.z, places.z

        def third() -> None:
            places.z = 1
            places.y = 2

        join(spawn(first), spawn(second), spawn(third))
        outcomes.add((*(seen[name] for name in "abcd"), places._y, places._z))

    seen: dict[str, int] = {}
    outcomes: set[tuple[int, ...]] = set()
    assert distinct(program) == 17
    outcomes.clear()
    assert traces(program) == (17, 0, set())
    assert (2, 0, 0, 1, 1, 1) in outcomes


@pytest.mark.parametrize("n", range(3, 8))
def test_lastzero(n: int) -> None:
    """Abdulla, Aronis, Jonsson and Sagonas (POPL 2014), figure 2: (n + 3) 2^(n - 2) traces."""

    def program() -> None:
        array = [Cell() for _ in range(n + 1)]

        def searches() -> None:
            at = n
            while array[at].once:
                at -= 1

        def counts(number: int) -> None:
            array[number].once = array[number - 1].once + 1

        spawn(searches)
        for number in range(1, n + 1):
            spawn(counts, number)

    assert traces(program) == ((n + 3) * 2 ** (n - 2), 0, set())


def test_three_tasks_with_two_locks_begin_nothing_in_vain() -> None:
    def program() -> None:
        cell, one, two = Cell(), Mutex("one"), Mutex("two")

        def work() -> None:
            with one:
                cell.once = 1
            with two:
                seen.append(cell.once)

        for _ in range(3):
            spawn(work)

    seen: list[int] = []
    assert traces(program) == (90, 0, set())


class Held:
    """An object with an ordinary attribute."""

    def __init__(self) -> None:
        self.lock = Mutex("held")


def before_the_first_operation(cell: Cell, held: Held) -> None:
    assert held.lock


def after_a_join(cell: Cell, held: Held) -> None:
    join(spawn(setattr, cell, "once", 1))
    assert held.lock


def in_a_nested_reader(cell: Cell, held: Held) -> None:
    with rcu_reader(), rcu_reader():
        assert held.lock


def after_an_allocation(cell: Cell, held: Held) -> None:
    cell.once = 1
    KmemCache("other", Cell).alloc(GFP_KERNEL)
    assert held.lock


@pytest.mark.parametrize(
    "touches", [before_the_first_operation, after_a_join, in_a_nested_reader, after_an_allocation]
)
def test_freeing_is_tried_beside_code_that_is_no_operation(touches: Callable[[Cell, Held], None]) -> None:
    """Wherever a task touches an ordinary attribute of an object that another one frees."""

    def program() -> None:
        cache = KmemCache("held", Held)
        held = cache.alloc(GFP_KERNEL)
        cell = Cell()

        def frees() -> None:
            cell.count = 1
            cache.free(held)

        spawn(touches, cell, held)
        spawn(frees)

    settings = Settings(without=frozenset({"leak"}))
    for strategy in ("dfs", "dpor"):
        result = explore(program, strategy=strategy, settings=settings)
        assert [witness.failure.kind for witness in result.failures] == [Kind.USE_AFTER_FREE], strategy
    assert traces(program)[1] == 0


def test_what_tasks_tell_each_other_without_an_operation_is_refused_in_words() -> None:
    """By an ordinary list: whether it is empty depends on the order of operations that do not depend on each other."""

    def program() -> None:
        places, told = Places(), []

        def tells() -> None:
            places.x = 1
            told.append(1)
            places.y = 1

        def hears() -> None:
            places.z = 1
            if told:
                places.x = 2
            else:
                assert places.x >= 0

        join(spawn(tells), spawn(hears), spawn(setattr, places, "z", 2))

    with pytest.raises(BadSchedule, match="without an operation"):
        explore(program, strategy="dpor")
