"""Tasks and executions: order, results, failures, limits, and what is left behind."""

from __future__ import annotations

import gc
import os
import signal
import sys
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
from concurrency_programs import (
    BARE,
    Cell,
    abba,
    clean,
    every_execution,
    first_failure,
    locked_update,
    lost_update,
    outcomes,
)
from greenlet import getcurrent

from sugarbush.concurrency import (
    STRATEGIES,
    ConcurrencyError,
    Failure,
    Kind,
    Mutex,
    Settings,
    Spinlock,
    Verdict,
    WouldBlock,
    bug_on,
    check,
    current_task,
    explore,
    join,
    rcu_reader,
    replay,
    spawn,
    synchronize_rcu,
    trace,
)
from sugarbush.concurrency.lowlevel import PCT, Observer, RandomWalk, Simulated, active
from sugarbush.concurrency.search.exploring import make_strategy


def test_join_gives_results_in_the_order_of_its_arguments(run) -> None:
    def program() -> None:
        tasks = [spawn(lambda n: n * n, n) for n in range(5)]
        check(join(*reversed(tasks)) == [16, 9, 4, 1, 0], "results in the order asked for")

    assert run(program) is None


def test_tasks_are_numbered_and_named_as_spawned(run) -> None:
    def second() -> None:
        check(current_task().name == "second", "a task knows its name")

    def program() -> None:
        check(current_task().id == 0 and current_task().name == "main", "the program is task 0")
        one, two = spawn(second, name="one"), spawn(second)
        check((one.id, one.name, two.id, two.name) == (1, "one", 2, "second"), "numbers and names")
        join(two)

    failure = run(program)
    assert failure is not None
    assert (failure.headline, failure.task) == ("check failed: a task knows its name", "one")


def test_how_deep_a_task_may_recurse_does_not_depend_on_who_ran_before_it() -> None:
    def deep(n: int, cell: Cell) -> int:
        return 0 * cell.once if n == 0 else 1 + deep(n - 1, cell)

    def program() -> None:
        cell = Cell()
        join(*[spawn(deep, 700, cell) for _ in range(5)])

    clean(program, executions=20)


def test_tasks_outlive_the_program_function(run) -> None:
    ended: list[int] = []

    def late() -> None:
        mutex = Mutex("m")
        with mutex:
            ended.append(1)

    def program() -> None:
        ended.clear()
        spawn(late)
        spawn(spawn, late)

    assert run(program) is None
    assert ended == [1, 1]


def test_an_exception_in_a_task_is_a_failure_with_its_place(run) -> None:
    def divide() -> None:
        one = 1
        one // 0

    failure = run(lambda: join(spawn(divide)))
    assert failure is not None
    assert failure.kind is Kind.EXCEPTION
    assert failure.headline.startswith("ZeroDivisionError: ")
    assert failure.task == "divide"
    assert failure.detail.splitlines()[0].startswith("divide at core/test_engine.py:")


def test_an_exception_in_the_expression_of_a_check_is_a_failure(run) -> None:
    failure = run(lambda: check({}["absent"], "never evaluated"))
    assert failure is not None
    assert failure.headline == "KeyError: 'absent'"


def test_deep_recursion_works_and_endless_recursion_is_a_failure(run) -> None:
    def deep(n: int) -> int:
        return 0 if n == 0 else 1 + deep(n - 1)

    def endless() -> None:
        endless()

    def program() -> None:
        check(join(*[spawn(deep, 400) for _ in range(3)]) == [400] * 3, "each task has its own stack")

    assert run(program) is None
    failure = run(lambda: join(spawn(endless)))
    assert failure is not None
    assert failure.headline.startswith("RecursionError")


def test_explorations_do_not_nest(run) -> None:
    with pytest.raises(ConcurrencyError, match="explorations do not nest"):
        run(lambda: explore(lost_update))
    assert active.runtime is None


def test_spawn_and_waiting_need_a_running_program() -> None:
    with pytest.raises(WouldBlock, match="inside the function given to explore"):
        spawn(lost_update)
    mutex = Mutex("m")
    with mutex, pytest.raises(WouldBlock, match="would wait for ever"):
        mutex.lock()


def test_step_limit_stops_an_endless_execution() -> None:
    def program() -> None:
        cell = Cell()
        while cell.once == 0:
            pass

    failure = first_failure(program, Settings(max_steps=500), executions=1)
    assert failure.kind is Kind.STALL
    assert failure.headline == "step limit: the execution did not end within 500 operations"
    assert failure.step == 500


@pytest.mark.parametrize("strategy", ["random", "pct"])
@pytest.mark.parametrize("settings", [Settings(max_steps=500), Settings(BARE.without, max_steps=500)])
def test_a_program_that_swallows_exceptions_cannot_escape_the_step_limit(
    strategy: str, settings: Settings
) -> None:
    def stubborn() -> None:
        cell = Cell()
        while True:
            try:
                cell.once += 1
            except Exception:
                pass

    def program() -> None:
        spawn(stubborn)
        spawn(stubborn)

    assert first_failure(program, settings, strategy=strategy).kind is Kind.STALL


def test_a_swallowed_failure_is_still_the_end() -> None:
    reached: list[str] = []

    def program() -> None:
        reached.clear()
        cell = Cell()
        try:
            bug_on(True, "kernel BUG at mm/swap.c:1!")
        except Exception:
            pass
        reached.append("after")
        spawn(reached.append, "child")
        cell.once = 1
        reached.append("never")

    failure = first_failure(program)
    assert failure.headline == "kernel BUG at mm/swap.c:1!"
    assert reached == ["after"]


def test_a_failure_of_an_observer_cannot_be_swallowed() -> None:
    class Third(Observer):
        def begin(self, runtime: object) -> None:
            self.left = 3

        def accessed(self, task: object, op: object, obj: object) -> None:
            self.left -= 1
            if not self.left:
                raise Failure(Kind.INVARIANT, "the third access")

    def program() -> None:
        cell = Cell()
        for _ in range(10):
            try:
                cell.once = 1
            except Exception:
                pass

    result = explore(program, executions=1, settings=Settings(observers=lambda: (Third(),)))
    assert [w.failure.headline for w in result.failures] == ["the third access"]
    assert result.failures[0].steps == 3


@pytest.mark.parametrize("event", ["spawned", "traced"])
def test_a_failure_of_an_observer_at_a_spawn_or_a_tracepoint_cannot_be_swallowed(event: str) -> None:
    def hear(_self: object, *what: object) -> None:
        if what[0] is not None:
            raise Failure(Kind.INVARIANT, f"heard {event}")

    observer = type("Hearing", (Observer,), {event: hear})

    def program() -> None:
        try:
            trace("a tracepoint")
            spawn(print)
        except Exception:
            pass

    result = explore(program, executions=1, settings=Settings(observers=lambda: [observer()]))
    assert [w.failure.headline for w in result.failures] == [f"heard {event}"]


def test_a_task_that_swallows_a_failure_and_ends_lets_nobody_go_on() -> None:
    seen: list[str] = []

    def other(cell: Cell) -> None:
        cell.once = 1
        seen.append("effect after the end")

    def program() -> None:
        seen.clear()
        cell = Cell()
        spawn(other, cell)
        cell.once = 2
        seen.clear()
        try:
            check(False, "this ends it")
        except Failure:
            pass

    for execution in every_execution(program):
        assert execution.failure is not None
        assert not seen


def test_finally_blocks_of_unwound_tasks_do_no_harm() -> None:
    """They hold, wait and read while the execution is over: nothing waits, fails or leaks out of it."""

    def untidy(a: Mutex, b: Mutex, spin: Spinlock, cell: Cell) -> None:
        try:
            with a, rcu_reader():
                cell.once = 1
                spin.lock()
                cell.once = 2
        finally:
            spin.lock()
            b.lock()
            synchronize_rcu()

    def program() -> None:
        a, b, spin, cell = Mutex("a"), Mutex("b"), Spinlock("s"), Cell()
        for _ in range(3):
            spawn(untidy, a, b, spin, cell)
        b.lock()
        cell.once = 1
        check(cell.once == 9, "always broken")

    settings = Settings(without=frozenset({"lockdep", "circle"}))
    for seed in range(20):
        failure = first_failure(program, settings, seed=seed, keep_going=True, executions=20)
        assert failure.kind in (Kind.CHECK, Kind.LOCKDEP)
    assert current_task().preempt_count == 0
    assert current_task().rcu_nesting == 0


def test_unwinding_adds_nothing_to_the_steps() -> None:
    def program() -> None:
        mutex = Mutex("m")
        with mutex:
            check(False, "at operation 1")

    result = explore(program, executions=1)
    assert result.failures[0].steps == result.failures[0].failure.step == 1


def test_a_task_that_raises_while_it_unwinds_does_not_hide_the_failure() -> None:
    def rude(mutex: Mutex) -> None:
        try:
            mutex.lock()
        finally:
            raise ConcurrencyError("rude")

    def program() -> None:
        mutex = Mutex("m")
        mutex.lock()
        spawn(rude, mutex)
        Cell().once = 1
        check(False, "the finding")

    for execution in every_execution(program):
        assert execution.failure is not None
        assert execution.failure.headline == "check failed: the finding"


@pytest.mark.parametrize("settings", [BARE, Settings()], ids=["bare", "all checks"])
def test_ten_thousand_tasks(settings: Settings) -> None:
    def program() -> None:
        cell = Cell()
        tasks = [spawn(setattr, cell, "count", n) for n in range(10_000)]
        join(*tasks)

    assert not explore(program, strategy="random", executions=1, settings=settings).failures


def test_interrupt_returns_what_was_found() -> None:
    def interrupt(result: object) -> None:
        if result.executions == 7:
            raise KeyboardInterrupt

    result = explore(lost_update, strategy="random", keep_going=True, executions=1000, progress=interrupt)
    assert result.interrupted
    assert result.executions == 7
    assert result.verdict is Verdict.FAILED


def test_interrupt_inside_a_task_ends_the_exploration(run) -> None:
    runs: list[int] = []

    def program() -> None:
        runs.append(1)
        if len(runs) == 3:
            spawn(interrupt)
            spawn(lost_update)

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    assert run(program) is None
    assert len(runs) == 3
    assert active.runtime is None


def test_verdict_is_never_passed_because_a_budget_ended() -> None:
    assert explore(locked_update, executions=3).verdict is Verdict.INCONCLUSIVE
    assert explore(lost_update, executions=100).verdict is Verdict.FAILED


def test_budget_in_seconds_ends() -> None:
    result = explore(locked_update, seconds=1)
    assert result.executions > 0
    assert result.verdict is Verdict.INCONCLUSIVE


def test_keep_going_keeps_one_witness_of_each_headline() -> None:
    def program() -> None:
        cell = Cell()

        def add(n: int) -> None:
            cell.once = cell.once + n

        join(spawn(add, 1), spawn(add, 2))
        check(cell.once != 1, "not one")
        check(cell.once != 2, "not two")

    result = explore(program, strategy="random", executions=200, keep_going=True)
    assert sorted(w.failure.headline for w in result.failures) == [
        "check failed: not one",
        "check failed: not two",
    ]
    assert result.executions == 200


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            lambda: explore(lost_update, strategy="best"),
            "no strategy is called 'best': there are " + ", ".join(STRATEGIES),
        ),
        (lambda: explore(lost_update, depth=0), "the depth of pct counts orderings: at least 1, not 0"),
    ],
)
def test_impossible_requests_are_refused_in_words(request_: Callable[[], object], message: str) -> None:
    with pytest.raises(ConcurrencyError) as refused:
        request_()
    assert str(refused.value) == message


def test_deadlock_names_tasks_and_holders(run) -> None:
    def certain() -> None:
        a = Mutex("a")
        a.lock()
        join(spawn(a.lock, name="waiter"))

    failure = run(certain, BARE)
    assert failure is not None
    assert failure.kind is Kind.DEADLOCK
    assert failure.headline == "deadlock: a circle of waits (main -> waiter -> main)"
    assert [line for line in failure.detail.splitlines() if " waits in " in line] == [
        "main waits in join(waiter)",
        "waiter waits in mutex_lock(a), held by main",
    ]


def test_abba_deadlock_names_both() -> None:
    failure = first_failure(abba, BARE)
    assert failure.headline == "deadlock: a circle of waits (ab -> ba -> ab)"
    assert [line for line in failure.detail.splitlines() if " waits in " in line] == [
        "ab waits in mutex_lock(b), held by ba",
        "ba waits in mutex_lock(a), held by ab",
    ]


def test_joining_oneself_and_each_other_is_a_deadlock(run) -> None:
    assert run(lambda: join(current_task())).headline == "deadlock: a circle of waits (main -> main)"


def test_every_interleaving_can_happen_and_no_other() -> None:
    def program(log: list[str]) -> None:
        cell = Cell()

        def two(name: str) -> None:
            cell.once = 1
            log.append(name)
            cell.once = 2
            log.append(name)

        join(spawn(two, "a"), spawn(two, "b"))

    assert outcomes(program) == {tuple(order) for order in ("aabb", "abab", "abba", "baab", "baba", "bbaa")}


@pytest.mark.parametrize("settings", [BARE, Settings()], ids=["bare", "all checks"])
def test_ten_thousand_executions_leave_nothing_behind(settings: Settings) -> None:
    def program() -> None:
        mutex, cell = Mutex("m"), Cell()

        def work() -> None:
            with mutex:
                cell.plain += 1

        join(spawn(work), spawn(work))

    for strategy in (PCT(1), RandomWalk(1)):
        runtime = settings.runtime(strategy)
        counts = []
        for executions in (100, 5_000):
            for _ in range(executions):
                runtime.run(program)
            gc.collect()
            counts.append(len(gc.get_objects()))
        assert counts[1] - counts[0] < 200


def test_one_runtime_runs_one_execution_after_another() -> None:
    runtime = Simulated(RandomWalk(5))
    texts = [str(runtime.run(lost_update).schedule) for _ in range(20)]
    again = Simulated(RandomWalk(5))
    assert [str(again.run(lost_update).schedule) for _ in range(20)] == texts
    assert len(set(texts)) > 5


def test_a_runtime_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConcurrencyError, match="no runtime is called 'gpu'"):
        explore(lambda: None, runtime="gpu")


def test_an_interrupt_while_a_witness_is_replayed_does_not_lose_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    def fails() -> None:
        check(False, "never")

    monkeypatch.setattr(sys.modules["sugarbush.concurrency.witness.replaying"], "replay", interrupted)
    result = explore(fails, executions=5)
    monkeypatch.undo()
    assert result.interrupted
    (witness,) = result.failures
    assert replay(fails, witness.schedule).failure.signature == witness.failure.signature


def test_nothing_of_a_task_reaches_the_tasks_of_later_executions() -> None:
    seen = ContextVar("seen", default=0)

    def task() -> None:
        check(seen.get() == 0, "a task begins with a context of its own")
        seen.set(1)

    clean(lambda: join(spawn(task), spawn(task)), executions=20)


def test_an_execution_keeps_nothing_of_its_program_alive() -> None:
    kept: list[weakref.ref[Any]] = []

    def program() -> None:
        cell = Cell()
        kept.append(weakref.ref(cell))
        kept.append(weakref.ref(getcurrent()))
        join(*[spawn(lambda: cell.once) for _ in range(3)])

    runtime = Settings().runtime(make_strategy("random", 1))
    for _ in range(3):
        runtime.run(program)
    gc.collect()
    assert not any(isinstance(ref(), Cell) for ref in kept[:-2])
    runtime.run(lambda: None)
    del runtime
    gc.collect()
    assert all(ref() is None for ref in kept)
