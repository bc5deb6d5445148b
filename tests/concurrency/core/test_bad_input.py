"""What goes wrong around a program, and what is too large: a clear word, never a hang."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import pytest
from concurrency_programs import BARE, Cell, first_failure

from sugarbush.concurrency import (
    ConcurrencyError,
    Kind,
    Mutex,
    Settings,
    check,
    explore,
    join,
    minimise,
    replay,
    spawn,
)
from sugarbush.concurrency.lowlevel import Observer, Simulated, active
from sugarbush.concurrency.strategies import PCT

# A lock of threading is refused, unless one allows it: these tests are about what happens to who does.
HASTY = Settings(patience=0.2, without=frozenset({"foreign"}))
hangs: list[int] = []


def fails_or_hangs() -> None:
    while hangs:
        pass
    check(False, "it hangs")


class InThisThread(Executor):
    """Does at once what it is given."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **named))
        except Exception as error:
            done.set_exception(error)
        return done


def test_a_task_that_waits_for_a_real_lock_is_named() -> None:
    def program() -> None:
        lock, cell = threading.Lock(), Cell()

        def take() -> None:
            with lock:
                cell.once = 1
                cell.once = 2

        spawn(take, name="ann")
        spawn(take, name="bob")

    with pytest.raises(ConcurrencyError) as error:
        explore(program, settings=HASTY, strategy="random")
    said = str(error.value)
    assert said.startswith(
        ("ann has done no operation for 0.2 seconds, at ", "bob has done no operation for ")
    )
    assert "core/test_bad_input.py:" in said
    assert "a lock of threading" in said
    assert active.runtime is None


def test_a_loop_without_operations_is_named() -> None:
    def program() -> None:
        while True:
            pass

    with pytest.raises(ConcurrencyError, match=r"main has done no operation for 0\.2 seconds, at core/test_"):
        explore(program, settings=HASTY)


def test_outside_the_main_thread_the_watchdog_can_only_say_so(capfd: Any) -> None:
    gate = threading.Lock()
    gate.acquire()
    said: list[str] = []

    def program() -> None:
        with Mutex("mutex"):
            gate.acquire()

    def run() -> None:
        explore(program, settings=HASTY, executions=1)

    thread = threading.Thread(target=run)
    thread.start()
    while "no operation" not in "".join(said):
        said.append(capfd.readouterr().err)
    gate.release()
    thread.join()
    assert "main has done no operation for 0.2 seconds" in "".join(said)
    assert "holds mutex, taken at" in "".join(said)


def test_replay_minimise_and_workers_name_it_too() -> None:
    found = explore(fails_or_hangs, executions=5).failures[0]
    hangs.append(1)
    try:
        for again in (
            lambda: replay(fails_or_hangs, found.schedule, settings=HASTY),
            lambda: minimise(fails_or_hangs, found, HASTY),
            lambda: explore(fails_or_hangs, settings=HASTY, jobs=1, executor=InThisThread()),
        ):
            with pytest.raises(ConcurrencyError, match=r"^main has done no operation for 0\.2 seconds, at "):
                again()
            assert active.runtime is None
    finally:
        hangs.clear()


def test_an_interrupt_of_the_user_is_not_taken_for_the_watchdogs() -> None:
    def program() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    assert explore(program, settings=HASTY).interrupted


@pytest.mark.parametrize("strategy", ["random", "pct", "dfs", "dpor"])
def test_a_recursion_too_deep_is_the_same_failure_under_every_schedule(strategy: str) -> None:
    def program() -> None:
        cell = Cell()

        def deep(n: int) -> int:
            cell.once = n
            return deep(n + 1) + 1

        def other() -> None:
            for n in range(3):
                cell.once = n

        spawn(deep, 0, name="deep")
        spawn(other)

    result = explore(program, strategy=strategy, executions=5, keep_going=True)
    assert [witness.failure.headline for witness in result.failures] == [
        "RecursionError: maximum recursion depth exceeded"
    ]
    witness = result.failures[0]
    assert witness.failure.kind is Kind.EXCEPTION
    assert witness.failure.task == "deep"
    again = replay(program, str(witness.schedule)).failure
    assert (again.headline, again.task) == (witness.failure.headline, "deep")
    assert minimise(program, witness, tries=20).failure.headline == again.headline


def broken(method: str) -> type[Observer]:
    """A check with a bug: one of its methods fails."""

    def fail(self: Observer, *_: object) -> None:
        raise ZeroDivisionError("division by zero")

    return type("Coverage", (Observer,), {method: fail})


@pytest.mark.parametrize("method", ["announced", "accessed", "performed", "blocked", "ended", "finished"])
@pytest.mark.parametrize("strategy", ["random", "dpor"])
def test_an_exception_in_a_check_names_the_check(method: str, strategy: str) -> None:
    """Also if the program swallows whatever comes."""

    def program() -> None:
        cell, mutex = Cell(), Mutex("mutex")

        def work() -> None:
            with mutex:
                cell.once = 1

        def swallow() -> None:
            try:
                work()
            except Exception:
                cell.once = 2

        join(spawn(swallow), spawn(swallow))

    settings = Settings(observers=lambda: (broken(method)(),))
    failure = first_failure(program, settings, strategy=strategy)
    assert failure.kind is Kind.EXCEPTION
    assert failure.headline == "the check Coverage raised ZeroDivisionError: division by zero"
    assert "core/test_bad_input.py:" in failure.detail.splitlines()[0]


def test_an_exception_in_a_check_on_threads() -> None:
    settings = Settings(observers=lambda: (broken("performed")(),))
    result = explore(lambda: Mutex("m").lock(), runtime="threaded", executions=1, settings=settings)
    assert result.failures[0].failure.headline.startswith("the check Coverage raised ZeroDivisionError")


def test_an_exception_of_the_program_is_not_the_checks() -> None:
    class Listening(Observer):
        def announced(self, *_: object) -> None:
            pass

    def program() -> None:
        Cell().once = 1
        raise ZeroDivisionError("of the program")

    failure = first_failure(program, Settings(observers=lambda: (Listening(),)))
    assert failure.headline == "ZeroDivisionError: of the program"


def test_ten_million_operations_in_one_execution() -> None:
    def program() -> None:
        cell = Cell()

        def work() -> None:
            for _ in range(1_000_000):
                cell.once = cell.once = cell.once = cell.once = cell.once = 1

        join(spawn(work), spawn(work))

    runtime = Simulated(PCT(1, 3), max_steps=30_000_000)
    execution = runtime.run(program)
    assert execution.failure is None
    assert execution.steps > 10_000_000
    assert execution.schedule.switches < 10
    assert BARE.max_steps < execution.steps
