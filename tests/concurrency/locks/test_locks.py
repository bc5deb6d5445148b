"""Mutex and spinlock, in both runtimes."""

from __future__ import annotations

import pytest
from concurrency_programs import BARE, NO_RACES, Cell, abba, clean, every_execution, first_failure, outcomes

from sugarbush.concurrency import Failure, Kind, Mutex, Settings, Spinlock, check, join, might_sleep, spawn
from sugarbush.concurrency.lowlevel import Operation, perform, quiet

LOCKS = [Mutex, Spinlock]


@pytest.mark.parametrize("lock_type", LOCKS)
def test_one_holder_at_a_time(lock_type, run) -> None:
    def program() -> None:
        lock, cell = lock_type("lock"), Cell()

        def work() -> None:
            for _ in range(5):
                with lock:
                    check(cell.count == 0, "alone inside")
                    cell.count = 1
                    cell.plain += 1
                    cell.count = 0

        join(*[spawn(work) for _ in range(3)])
        check(cell.plain == 15, "no update is lost")

    assert run(program) is None


@pytest.mark.parametrize("lock_type", LOCKS)
def test_trylock_never_waits(lock_type, run) -> None:
    def program() -> None:
        lock = lock_type("lock")
        check(lock.trylock(), "it was free")
        check(lock.is_locked() and lock.held_by_me(), "now it is held")
        check(join(spawn(lock.trylock))[0] is False if lock_type is Mutex else True, "held by another")
        lock.unlock()
        check(lock.free and not lock.held_by_me(), "given back")

    assert run(program) is None


@pytest.mark.parametrize("lock_type", LOCKS)
@pytest.mark.parametrize("settings", [Settings(), BARE], ids=["all checks", "bare"])
def test_unlock_by_somebody_else_is_a_report(lock_type, settings: Settings, run) -> None:
    def program() -> None:
        lock = lock_type("pte")
        lock.unlock()

    failure = run(program, settings)
    assert failure is not None
    assert failure.kind is Kind.LOCKDEP
    assert failure.headline == "WARNING: bad unlock balance detected!"
    assert "trying to release lock (pte)" in failure.detail


@pytest.mark.parametrize("lock_type", LOCKS)
def test_assert_held(lock_type, run) -> None:
    def program(held: bool) -> None:
        lock = lock_type("pte")
        if held:
            lock.lock()
        lock.assert_held()
        lock.assert_held_write()
        lock.unlock()

    assert run(lambda: program(True)) is None
    failure = run(lambda: program(False))
    assert failure is not None
    assert failure.headline == "WARNING: lockdep_assert_held(pte): not held by main"
    failure = run(lambda: program(False), Settings(frozenset({"lockdep"})))
    assert failure is not None
    assert failure.headline == "WARNING: bad unlock balance detected!", "the assertion was switched off"


def test_assert_held_by_another_task_is_not_enough() -> None:
    def program() -> None:
        mutex = Mutex("m")
        with mutex:
            join(spawn(mutex.assert_held, name="other"))

    failure = first_failure(program)
    assert failure.headline == "WARNING: lockdep_assert_held(m): not held by other"
    assert failure.detail.startswith("held by main, taken at locks/test_locks.py:")


def test_nobody_holds_anything_seen_from_outside(run) -> None:
    def program() -> None:
        mutex = Mutex("m")
        with quiet():
            mutex.assert_held()

    assert run(program) is None


def test_taking_a_lock_twice_is_a_report_and_without_lockdep_a_deadlock(run) -> None:
    def program() -> None:
        mutex = Mutex("m")
        with mutex, mutex:
            pass

    assert run(program).headline == "WARNING: possible recursive locking detected"
    failure = run(program, BARE)
    assert failure.kind is Kind.DEADLOCK
    assert failure.headline == "deadlock: a circle of waits (main -> main)"
    assert failure.detail.startswith("main waits in mutex_lock(m), held by main\n  at locks/test_locks.py:")


def test_sleeping_under_a_spinlock_is_a_report(run) -> None:
    def program() -> None:
        with Spinlock("pte"):
            Mutex("m").lock()

    failure = run(program)
    assert failure is not None
    assert failure.headline.startswith(
        "BUG: sleeping function called from invalid context at locks/test_locks.py:"
    )
    assert "in_atomic(): 1" in failure.detail


def test_might_sleep_speaks_up_without_any_wait(run) -> None:
    def program() -> None:
        might_sleep()
        with Spinlock("pte"), Spinlock("other"):
            might_sleep()

    assert "in_atomic(): 2" in run(program).detail
    assert run(program, Settings(frozenset({"atomic-sleep"}))) is None


def test_any_waiter_may_win() -> None:
    def program(log: list[str]) -> None:
        mutex = Mutex("m")

        def work(name: str) -> None:
            with mutex:
                log.append(name)

        join(*[spawn(work, name) for name in "abc"])

    assert len(outcomes(program)) == 6


def test_locked_sections_interleave_like_the_multinomials() -> None:
    """Two tasks of two locked sections: 6 orders; three tasks of two: 90."""

    def sections(tasks: int):
        def program(log: list[str]) -> None:
            mutex = Mutex("m")

            def work(name: str) -> None:
                for _ in range(2):
                    with mutex:
                        log.append(name)

            for name in "abc"[:tasks]:
                spawn(work, name)

        return program

    assert len(outcomes(sections(2))) == 6


def test_trylock_may_fail_and_may_succeed() -> None:
    def program(log: list[bool]) -> None:
        mutex = Mutex("m")
        holder = spawn(lambda: (mutex.lock(), mutex.unlock()))
        log.append(mutex.trylock())
        if log[0]:
            mutex.unlock()
        join(holder)

    assert outcomes(program) == {(True,), (False,)}


def test_lockdep_reports_an_inverted_order_in_any_schedule() -> None:
    def one_after_the_other() -> None:
        a, b = Mutex("a"), Mutex("b")
        with a, b:
            pass
        with b, a:
            pass

    failure = first_failure(one_after_the_other, executions=1)
    assert failure.kind is Kind.LOCKDEP
    assert failure.headline == "WARNING: possible circular locking dependency detected"
    for seed in range(10):
        assert first_failure(abba, NO_RACES, seed=seed, executions=1).kind is Kind.LOCKDEP


def test_a_subclass_makes_an_order_of_two_locks_of_one_class() -> None:
    def program(subclass: int) -> None:
        parent, child = Mutex("inode"), Mutex("inode")
        parent.lock()
        child.lock(subclass)
        child.unlock()
        parent.unlock()

    clean(lambda: program(1), executions=2)
    assert first_failure(lambda: program(0)).headline == "WARNING: possible recursive locking detected"


def test_ending_with_a_lock_held_is_a_report(run) -> None:
    failure = run(lambda: Mutex("m").lock())
    assert isinstance(failure, Failure)
    assert failure.kind is Kind.LOCKDEP
    assert "lock" in failure.headline


class Sleeper:
    """A task that sleeps until it is woken; waking one that does not sleep does nothing."""

    name = "sleeper"
    asleep = False


GO_TO_SLEEP = Operation(
    "set_current_state", effect=lambda sleeper, _task, _arg: setattr(sleeper, "asleep", True)
)
SCHEDULE = Operation("schedule", ready=lambda sleeper, _task: not sleeper.asleep)
WAKE = Operation(
    "wake_up_process", effect=lambda sleeper, _task, _arg: setattr(sleeper, "asleep", False), wakes=True
)


@pytest.mark.parametrize("lost", [True, False])
def test_a_lost_wake_up_is_a_deadlock_at_once(lost: bool) -> None:
    """The waiter must say that it sleeps before it looks; if it looks first, the wake-up fits in between."""

    def program() -> None:
        cell, sleeper = Cell(), Sleeper()

        def waiter() -> None:
            if lost:
                if cell.once:
                    return
                perform(GO_TO_SLEEP, sleeper)
            else:
                perform(GO_TO_SLEEP, sleeper)
                if cell.once:
                    return
            perform(SCHEDULE, sleeper)

        def waker() -> None:
            cell.once = 1
            perform(WAKE, sleeper)

        spawn(waiter, name="waiter")
        spawn(waker, name="waker")

    if lost:
        failure = first_failure(program)
        assert failure.headline == "deadlock: no task can go on (waiter)"
        wait, place, why = failure.detail.splitlines()
        assert wait == "waiter waits in schedule(sleeper)"
        assert place.startswith("  at locks/test_locks.py:")
        assert why == "  nobody is left who could wake it"
    else:
        assert all(execution.failure is None for execution in every_execution(program))
