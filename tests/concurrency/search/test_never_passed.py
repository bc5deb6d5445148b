"""What was not explored is never passed: code that never ran, tasks that never met, threads and locks of others."""

from __future__ import annotations

import _thread
import contextlib
import functools
import logging
import os
import queue
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from concurrency_programs import Cell, lost_update

from sugarbush.concurrency import (
    ConcurrencyError,
    KmemCache,
    Mutex,
    Settings,
    Timer,
    Verdict,
    WaitQueue,
    call_rcu,
    check,
    explore,
    join,
    minimise,
    mod_timer,
    msleep,
    rcu_reader,
    replay,
    smp_mb,
    spawn,
    synchronize_rcu,
)
from sugarbush.concurrency.core.interrupts import from_outside
from sugarbush.concurrency.plugins.hypothesis_support import Choices, run


async def coroutine(*_: object) -> None:
    """Nobody awaits it."""


def generator(*_: object) -> Any:
    yield


async def asynchronous(*_: object) -> Any:
    yield


class Called:
    def __call__(self, *_: object) -> Any:
        yield

    def method(self, *_: object) -> Any:
        yield


UNRUN: dict[str, Callable[..., Any]] = {
    "generator": generator,
    "coroutine": coroutine,
    "asynchronous generator": asynchronous,
    "partial": functools.partial(generator, 1),
    "object": Called(),
    "method": Called().method,
    "lambda": lambda *_: generator(),
    "lambda of a coroutine": lambda *_: coroutine(),
}


def beside(others: Callable[[], Any]) -> Callable[[], None]:
    """A program of two tasks that meet, beside something else."""

    def program() -> None:
        cell = Cell()

        def use() -> None:
            cell.once = cell.once + 1

        tasks = [spawn(use), spawn(use)]
        others()
        join(*tasks)

    return program


ROLES: dict[str, Callable[[Callable[..., Any]], Any]] = {
    "task": spawn,
    "callback": lambda fn: call_rcu(fn, 1),
    "timer": lambda fn: mod_timer(Timer(fn), 1),
    "condition": lambda fn: WaitQueue().wait_event(fn),
    "checked": lambda fn: check(fn(), "what a coroutine would say"),
}


@pytest.mark.parametrize(
    ("kind", "runtime"), [*((kind, "simulated") for kind in UNRUN), ("lambda of a coroutine", "threaded")]
)
def test_code_that_nobody_runs_is_refused(kind: str, runtime: str) -> None:
    with pytest.raises(ConcurrencyError, match="write a plain function"):
        explore(UNRUN[kind], executions=3)
    with pytest.raises(ConcurrencyError, match="write a plain function"):
        run(UNRUN[kind], Choices())
    for role, use in ROLES.items():
        with pytest.raises(ConcurrencyError, match="write a plain function"):
            explore(beside(lambda use=use: use(UNRUN[kind])), executions=3, runtime=runtime)
        assert role


def test_a_program_that_swallows_the_refusal_is_refused_all_the_same() -> None:
    def swallow() -> None:
        with contextlib.suppress(Exception):
            spawn(generator)

    with pytest.raises(ConcurrencyError, match="generator"):
        explore(beside(swallow), executions=3)


def test_what_was_called_already_is_refused() -> None:
    for wrong in (None, 5, generator()):
        with pytest.raises(ConcurrencyError, match=r"write explore\(program\), not explore\(program\(\)\)"):
            explore(wrong)  # type: ignore[arg-type]
    with pytest.raises(ConcurrencyError, match=r"write spawn\(work, 1\), not spawn\(work\(1\)\)"):
        explore(beside(lambda: spawn(None)))  # type: ignore[arg-type]
    with pytest.raises(ConcurrencyError, match="without arguments"):
        explore(ROLES["task"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {"executions": 0},
        {"executions": -1},
        {"executions": 2.5},
        {"seconds": -1},
        {"seconds": 0},
        {"seconds": float("nan")},
        {"seconds": "1"},
        {"seed": "x"},
        {"jobs": 0},
        {"jobs": "2"},
        {"depth": -1},
        {"depth": "a"},
        {"strategy": 3},
        {"settings": 3},
    ],
    ids=str,
)
def test_a_budget_under_which_nothing_is_explored_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConcurrencyError):
        explore(lost_update, **options)


@pytest.mark.parametrize(
    "wrong",
    [{"max_steps": 0}, {"faults": -1}, {"spins": "9"}, {"patience": 0}, {"without": "lockdep"}],
    ids=str,
)
def test_settings_under_which_nothing_is_explored_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConcurrencyError, match=next(iter(wrong))):
        Settings(**wrong)


# -- tasks that exit ----------------------------------------------------------------------------------------------


class Leaving(BaseException):
    """Not even an Exception."""


LEAVES = (SystemExit, KeyboardInterrupt, GeneratorExit, Leaving)


@pytest.mark.parametrize("error", LEAVES)
@pytest.mark.parametrize("how", [{}, {"runtime": "threaded"}, {"settings": Settings(memory="weak")}], ids=str)
def test_a_task_that_leaves_has_failed(error: type[BaseException], how: dict[str, Any]) -> None:
    def leave() -> None:
        raise error("enough")

    failure = explore(beside(lambda: spawn(leave)), executions=5, **how).failures[0].failure
    assert failure.headline == f"{error.__name__}: enough"
    assert "leave at" in failure.detail


def leaving() -> None:
    beside(lambda: spawn(raise_exit))()


def raise_exit() -> None:
    raise SystemExit(0)


def test_a_task_that_leaves_has_failed_in_other_processes_and_when_it_is_replayed() -> None:
    result = explore(leaving, executions=20, jobs=2)
    witness = result.failures[0]
    assert witness.failure.headline == "SystemExit: 0"
    assert replay(leaving, witness.schedule).failure.headline == "SystemExit: 0"
    assert minimise(leaving, witness).failure.headline == "SystemExit: 0"


@pytest.mark.parametrize("runtime", ["simulated", "threaded"])
def test_ctrl_c_is_no_failure_of_the_task_that_runs(runtime: str) -> None:
    def program() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        lost_update()

    result = explore(program, executions=5, runtime=runtime)
    assert result.interrupted
    assert not result.failures


def test_a_handler_of_a_signal_is_no_failure_of_the_task_that_runs() -> None:
    def handler(*_: object) -> None:
        raise Leaving

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(Leaving):
            explore(beside(lambda: os.kill(os.getpid(), signal.SIGUSR1)), executions=5)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_who_turns_ctrl_c_into_an_exit_was_interrupted() -> None:
    def interrupted() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            raise SystemExit(1) from None

    with pytest.raises(SystemExit) as error:
        interrupted()
    assert from_outside(error.value)
    with pytest.raises(SystemExit) as error:
        raise_exit()
    assert not from_outside(error.value)


# -- tasks that never meet ----------------------------------------------------------------------------------------


class Ordinary:
    """Shared in a way that nobody sees."""

    def __init__(self) -> None:
        self.value = 0


def twice(work: Callable[[], Any]) -> None:
    join(spawn(work), spawn(work))


def add(one: Any) -> None:
    one.value += 1


def in_reader(one: Ordinary) -> None:
    with rcu_reader():
        one.value += 1


def alone_in_lock(one: Ordinary) -> None:
    with Mutex("my own"):
        smp_mb()
        one.value += 1


def after_a_nap(one: Ordinary) -> None:
    msleep(1)
    one.value += 1


def with_an_object(_: Ordinary) -> None:
    cache = KmemCache("cell", Cell)
    cell = cache.alloc(0)
    cell.once = 1
    cache.free(cell)


APART = (add, in_reader, alone_in_lock, after_a_nap, with_an_object)


@pytest.mark.parametrize("strategy", ["pct", "dfs", "dpor"])
def test_tasks_that_never_meet_are_not_passed(strategy: str) -> None:
    def alone() -> None:
        Cell().once = 1

    for work in APART:

        def program(work: Callable[[Ordinary], None] = work) -> None:
            one = Ordinary()
            twice(lambda: work(one))

        result = explore(program, strategy=strategy, executions=50)
        assert result.verdict is Verdict.UNEXPLORED
        assert "no two tasks touched a common place in any execution" in result.unexplored
        assert result.scope.startswith("nothing")
    assert explore(alone, strategy=strategy, executions=5).verdict is Verdict.UNEXPLORED


@pytest.mark.parametrize(
    "how",
    [
        {"runtime": "threaded"},
        {"settings": Settings(memory="weak")},
        {"settings": Settings(without={"data-race"})},
    ],
    ids=str,
)
def test_tasks_that_never_meet_are_seen_by_every_runtime(how: dict[str, Any]) -> None:
    assert explore(lambda: twice(lambda: None), executions=3, **how).verdict is Verdict.UNEXPLORED
    assert explore(beside(lambda: None), executions=3, **how).verdict is Verdict.INCONCLUSIVE


def meeting_late() -> None:
    """Two tasks of which the second one touches the place only if the first one has not ended by then."""
    one, cell = Ordinary(), Cell()

    def first() -> None:
        Cell().once = 1
        one.value = 1
        cell.once = 1

    def second() -> None:
        Cell().once = 1
        if not one.value:
            cell.once = 2

    spawn(first)
    spawn(second)


def test_one_meeting_in_any_execution_is_enough() -> None:
    first = explore(meeting_late, strategy="dfs", executions=1)
    assert first.verdict is Verdict.UNEXPLORED
    assert explore(meeting_late, strategy="dfs").verdict is Verdict.PASSED
    assert explore(meeting_late, strategy="dfs", jobs=2).verdict is Verdict.PASSED


def test_readers_of_a_field_meet_and_so_do_a_reader_and_a_grace_period() -> None:
    def readers() -> None:
        cell = Cell()
        twice(lambda: cell.once)

    def grace() -> None:
        spawn(in_reader, Ordinary())
        synchronize_rcu()

    def whole() -> None:
        cache = KmemCache("cell", Cell)
        cell = cache.alloc(0)
        join(spawn(lambda: cell.once))
        cache.free(cell)

    for program in (readers, grace, whole):
        assert explore(program, strategy="dfs").verdict is Verdict.PASSED


def test_one_task_with_allocations_that_may_fail_is_explored() -> None:
    def program() -> None:
        cache = KmemCache("cell", Cell)
        cell = cache.alloc(0)
        if cell is not None:
            cache.free(cell)

    assert explore(program, strategy="dfs", settings=Settings(faults=1)).verdict is Verdict.PASSED
    assert explore(program, strategy="dfs").verdict is Verdict.UNEXPLORED


def test_hypothesis_hears_that_nothing_was_explored() -> None:
    with pytest.raises(ConcurrencyError, match="nothing was explored"):
        run(lambda: twice(lambda: None), Choices())
    run(beside(lambda: None), Choices())


# -- threads and locks of the operating system ---------------------------------------------------------------------

LOCK, RLOCK, CONDITION, EVENT = threading.Lock(), threading.RLock(), threading.Condition(), threading.Event()
SEMAPHORE, QUEUE, SIMPLE = threading.Semaphore(), queue.Queue[int](), queue.SimpleQueue[int]()


def entered(lock: Any) -> None:
    with lock:
        pass


def on_a_stack() -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(LOCK)


def swallowed() -> None:
    with contextlib.suppress(Exception):
        threading.Thread(target=int).start()


def pooled() -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int)


FOREIGN: dict[str, tuple[Callable[[], Any], str]] = {
    "lock": (lambda: entered(LOCK), "Mutex"),
    "acquire": (lambda: LOCK.acquire() and LOCK.release(), "Mutex"),
    "made here": (lambda: entered(threading.Lock()), "Mutex"),
    "rlock": (lambda: entered(RLOCK), "Mutex"),
    "condition": (lambda: entered(CONDITION), r"concurrency\.Condition"),
    "event": (lambda: EVENT.set() or EVENT.wait(), "Completion"),
    "method": (EVENT.set, "Completion"),
    "method of a lock": (LOCK.locked, "Mutex"),
    "semaphore": (lambda: entered(SEMAPHORE), r"concurrency\.Semaphore"),
    "queue": (lambda: QUEUE.put(1), "Condition"),
    "simple queue": (lambda: SIMPLE.put(1), "Condition"),
    "exit stack": (on_a_stack, "Mutex"),
    "thread": (lambda: threading.Thread(target=int).start(), "spawn"),
    "timer": (lambda: threading.Timer(0, int).start(), "spawn"),
    "swallowed": (swallowed, "spawn"),
    "raw thread": (lambda: _thread.start_new_thread(int, ()), "spawn"),
    "executor": (pooled, "spawn"),
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("runtime", ["simulated", "threaded"])
def test_threads_and_locks_of_the_operating_system_are_refused(kind: str, runtime: str) -> None:
    use, instead = FOREIGN[kind]
    with pytest.raises(ConcurrencyError, match=f"nobody explores it: .*{instead}"):
        explore(beside(lambda: join(spawn(use))), executions=3, runtime=runtime)
    assert not LOCK.locked()


def test_a_thread_is_refused_in_every_execution_and_starts_again_afterwards() -> None:
    runs: list[int] = []

    def program() -> None:
        lost = beside(lambda: len(runs) == 40 and threading.Thread(target=int).start())
        runs.append(1)
        lost()

    with pytest.raises(ConcurrencyError, match="starts a Thread"):
        explore(program, executions=100)
    assert len(runs) == 40
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()


class Cached:
    @functools.cached_property
    def value(self) -> int:
        return 1


def test_locks_of_libraries_are_nobodys_business() -> None:
    logger = logging.getLogger("never passed")
    logger.addHandler(logging.NullHandler())

    def library() -> None:
        logger.warning("said")
        print(end="")
        threading.Lock()
        threading.current_thread()
        assert Cached().value == 1

    assert explore(beside(library), executions=3).verdict is Verdict.INCONCLUSIVE


def test_what_is_allowed_is_not_refused() -> None:
    allowed = Settings(without=frozenset({"foreign"}))
    for kind in ("lock", "event", "thread"):
        assert not explore(beside(FOREIGN[kind][0]), executions=3, settings=allowed).failures
