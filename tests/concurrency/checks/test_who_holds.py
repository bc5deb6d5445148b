"""Who holds a lock and who only waits for it, in everything that says so; and what tasks of one name are called."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from sugarbush.concurrency import (
    Failure,
    Kind,
    Mutex,
    Plain,
    RwLock,
    RwSemaphore,
    SeqCount,
    Settings,
    Shared,
    Spinlock,
    SrcuStruct,
    check,
    cpu_relax,
    current_task,
    explore,
    join,
    spawn,
)
from sugarbush.concurrency.checks.snapshot import describe_tasks
from sugarbush.concurrency.core.failure import same_failure
from sugarbush.concurrency.core.runtime import active
from sugarbush.concurrency.core.task import Task, own_name
from sugarbush.concurrency.core.waiting import held_now
from sugarbush.concurrency.lowlevel import LockValidator, fail
from sugarbush.concurrency.rcu import srcu_reader
from sugarbush.concurrency.runtimes.simulated import Simulated
from sugarbush.concurrency.strategies.random_walk import RandomWalk
from sugarbush.lockdep.python.threads import ThreadMonitor
from sugarbush.lockdep.show.listings import held_text
from sugarbush.lockdep.show.snapshot import take


class Cell(Shared):
    value: Plain[int] = 0


def told_by(program: Callable[[], Any], strategy: str = "random") -> Failure:
    result = explore(program, strategy=strategy, executions=300)
    assert result.failures
    return result.failures[0].failure


LOCKS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any], Callable[[Any], Any]]] = {
    "mutex": (lambda: Mutex("lock"), Mutex.lock, Mutex.unlock),
    "spinlock": (lambda: Spinlock("lock"), Spinlock.lock, Spinlock.unlock),
    "down_write": (lambda: RwSemaphore("lock"), RwSemaphore.down_write, RwSemaphore.up_write),
    "down_read": (lambda: RwSemaphore("lock"), RwSemaphore.down_read, RwSemaphore.up_read),
    "write_lock": (lambda: RwLock("lock"), RwLock.write_lock, RwLock.write_unlock),
    "read_lock": (lambda: RwLock("lock"), RwLock.read_lock, RwLock.read_unlock),
}


@pytest.mark.parametrize("strategy", ["random", "pct", "dfs", "portfolio"])
@pytest.mark.parametrize("name", LOCKS)
def test_a_list_of_tasks_never_says_that_two_hold_what_one_can_hold(name: str, strategy: str) -> None:
    """At any moment, whoever runs: a lock that a task has only asked for is not among those that it holds."""
    make, take_it, give_back = LOCKS[name]
    shared = name in ("down_read", "read_lock")

    def program() -> None:
        lock, cell = make(), Cell()

        def work() -> None:
            take_it(lock)
            told = describe_tasks()
            holders = [task.name for task in lock.holders]
            for paragraph in told.split("task ")[1:]:
                who = paragraph.partition("(")[2].partition(")")[0]
                check(("holds lock" in paragraph) == (who in holders), f"{who} of {holders}: {told}")
            check(shared or told.count("holds lock") == 1, "one holder")
            if not shared:
                cell.value += 1
            give_back(lock)

        join(spawn(work), spawn(work), spawn(work))

    result = explore(program, strategy=strategy, executions=25)
    assert not result.failures, result.failures[0].failure.headline


def test_a_task_that_waits_for_what_another_holds() -> None:
    def program() -> None:
        outer, lock = Mutex("outer"), Mutex("lock")

        def waiter() -> None:
            with outer, lock:
                pass

        with lock:
            waiting = spawn(waiter)
            assert active.runtime is not None
            while not active.runtime.waits(waiting):
                cpu_relax()
            fail(Failure(Kind.CHECK, "now", describe_tasks()))

    lines = told_by(program).detail.splitlines()
    assert lines[0] == "task 0 (main): it is running"
    assert lines[1].startswith("  holds lock, taken at checks/test_who_holds.py:")
    assert lines[2] == "task 1 (waiter): it waits in mutex_lock(lock), held by main"
    assert lines[3].startswith("  holds outer, taken at ")
    assert lines[4].startswith("  is at ")


def test_what_an_artifact_lists_as_held_is_held() -> None:
    """`sugarbush lockdep` and the report page take the validator's state when the execution has ended."""

    def program() -> None:
        a, b = Mutex("a"), Mutex("b")

        def deposit() -> None:
            a.lock()
            b.lock()

        with b:
            join(spawn(deposit))

    validator = LockValidator()
    runtime = Simulated(RandomWalk(1), (validator,))
    failure = runtime.run(program).failure
    assert failure is not None
    assert failure.kind is Kind.DEADLOCK
    text = held_text(validator.snapshot())
    mine = text.partition("1 lock held by deposit/1:\n")[2].splitlines()
    assert "(a)" in mine[0]
    assert "(b)" not in mine[0]
    assert mine[1].startswith(" waits for: ")
    assert "(b)" in mine[1]
    assert [len(held_now(task)) for task in runtime.tasks] == [1, 1]


def test_threads_that_wait_hold_nothing_yet() -> None:
    monitor = ThreadMonitor()
    lock, begun = monitor.Lock("lock"), threading.Event()

    def wait() -> None:
        begun.set()
        with lock:
            pass

    with lock:
        thread = threading.Thread(target=wait, name="waiter")
        thread.start()
        begun.wait()
        while not any(row.wanted for row in take(monitor.lockdep).held):
            pass
        snapshot = take(monitor.lockdep)
    thread.join()
    rows = {row.comm: row for row in snapshot.held}
    assert rows["waiter"].locks == ()
    assert rows["waiter"].wanted.startswith("ffff")
    assert len(rows["MainThread"].locks) == 1
    assert not rows["MainThread"].wanted
    assert "no locks held by waiter/2.\n waits for: ffff" in held_text(snapshot)


def test_two_writers_of_a_sequence_counter_are_told_with_what_they_hold() -> None:
    def program() -> None:
        count = SeqCount("count")

        def write() -> None:
            with Spinlock("mine"):
                count.write_begin()
                count.write_end()

        join(spawn(write), spawn(write))

    failure = told_by(program)
    assert failure.kind is Kind.DATA_RACE
    assert "at checks/test_who_holds.py:" in failure.detail
    waiting, writing = failure.task, "write" if failure.task == "write#2" else "write#2"
    assert f"{writing} holds count, taken at" in failure.detail
    assert f"{waiting} holds count" not in failure.detail


def test_a_step_limit_tells_of_each_task_what_it_does_now() -> None:
    """The last lock that a task took is over, whatever the strategy: it is not told to wait for itself."""

    def program() -> None:
        lock, cell = Mutex("lock"), Cell()
        lock.lock()
        while True:
            cell.value += 1

    for strategy in ("random", "pct"):
        result = explore(program, strategy=strategy, executions=1, settings=Settings(max_steps=300))
        detail = result.failures[0].failure.detail
        assert detail.startswith("main runs"), detail
        assert "waits" not in detail
        assert "holds lock, taken at checks/test_who_holds.py:" in detail


def test_srcu_readers_are_held_as_often_as_they_are_open() -> None:
    def program() -> None:
        srcu = SrcuStruct("srcu")
        with srcu_reader(srcu), srcu_reader(srcu):
            fail(Failure(Kind.CHECK, "now", describe_tasks()))

    assert told_by(program).detail.count("holds srcu to read, taken at checks/test_who_holds.py:") == 2


# -- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("a b", "a b"),
        ("a a a", "a a#2 a#3"),
        ("a#2 a a", "a#2 a a#3"),
        ("a a a#2 a", "a a#2 a#2#2 a#3"),
    ],
)
def test_tasks_of_one_name_get_numbers(asked: str, given: str) -> None:
    taken: dict[str, int] = {}
    assert " ".join(own_name(name, taken) for name in asked.split()) == given


def test_no_two_tasks_have_one_name(run: Callable[..., Failure | None]) -> None:
    def work() -> str:
        return current_task().name

    def program() -> None:
        tasks: list[Task] = [spawn(work), spawn(work), spawn(work, name="work"), spawn(work, name="main")]
        names = join(*tasks)
        check(names == ["work", "work#2", "work#3", "main#2"], f"{names}")

    assert run(program) is None


def test_which_of_several_alike_tasks_it_was_is_no_other_finding() -> None:
    def failure(headline: str, kind: Kind = Kind.DEADLOCK, check: str | None = None) -> Failure:
        return Failure(kind, headline, check=check)

    one = failure("deadlock: a circle of waits (deposit -> deposit#2 -> deposit)")
    assert same_failure(one, failure("deadlock: a circle of waits (deposit#2 -> deposit#3 -> deposit#2)"))
    assert not same_failure(one, failure("deadlock: a circle of waits (main -> deposit#2 -> main)"))
    exits = [
        failure(f"WARNING: {name} still has locks held!", Kind.LOCKDEP, "lockdep")
        for name in ("t/1", "t#2/2")
    ]
    assert same_failure(*exits)
    mine = [failure(f"check failed: item#{number} is lost", Kind.CHECK) for number in (1, 2)]
    assert not same_failure(*mine)
