"""Completion and semaphore: how many go on, deadlines, what is published."""

from __future__ import annotations

from typing import Any

import pytest
from concurrency_programs import Cell, every_schedule, first_failure, outcomes

from sugarbush.concurrency import (
    Completion,
    ConcurrencyError,
    Kind,
    Semaphore,
    WouldBlock,
    check,
    explore,
    jiffies,
    join,
    spawn,
)


def test_a_completion_publishes_what_came_before_it(run) -> None:
    def program() -> None:
        done, cell = Completion("done"), Cell()

        def wait() -> None:
            done.wait()
            check(cell.plain == 1, "published")

        waiter = spawn(wait)
        cell.plain = 1
        done.complete()
        join(waiter)

    assert run(program) is None
    every_schedule(program)


def test_each_complete_lets_one_waiter_go_on() -> None:
    def program(completes: int) -> Any:
        def run() -> None:
            done = Completion("done")
            for n in range(2):
                spawn(done.wait, name=f"waiter {n}")
            for _ in range(completes):
                done.complete()

        return run

    failure = first_failure(program(1), strategy="dpor")
    assert failure.kind is Kind.DEADLOCK
    assert "waits in wait_for_completion(done)" in failure.detail
    every_schedule(program(2))


def test_complete_all_is_for_everybody_until_reinit(run) -> None:
    def program() -> None:
        done = Completion()
        waiters = [spawn(done.wait) for _ in range(3)]
        check(not done.is_done() and not done.try_wait(), "nothing has happened")
        done.complete_all()
        join(*waiters)
        check(done.is_done() and done.try_wait() and done.try_wait(), "for those that come later, too")
        done.reinit()
        check(not done.try_wait(), "as new")

    assert run(program) is None


def test_a_timed_wait_gives_what_is_left_or_0() -> None:
    def program(log: list[Any]) -> None:
        done = Completion("done")
        task = spawn(done.complete)
        log.append((done.wait_timeout(10), jiffies()))
        join(task)
        log.append(done.try_wait())

    assert outcomes(program) == {((10, 0), False), ((0, 10), True), ((1, 10), False)}


def test_nobody_completes_and_the_time_is_up(run) -> None:
    def program() -> None:
        done = Completion()
        check(done.wait_timeout(3) == 0, "time is up")
        check(done.wait_timeout(0) == 0, "at once")
        done.complete()
        check(done.wait_timeout(0) == 1, "it has happened already")

    assert run(program) is None


def test_a_late_deadline_does_not_end_the_next_wait() -> None:
    """The first wait is completed while its timer fires; the second has no deadline."""

    def program() -> None:
        first, second, cell = Completion("first"), Completion("second"), Cell()

        def wait() -> None:
            first.wait_timeout(1)
            second.wait()
            check(cell.once == 1, "completed")

        waiter = spawn(wait)
        first.complete()
        cell.once = 1
        second.complete()
        join(waiter)

    every_schedule(program)


def test_so_many_are_inside_a_semaphore(run) -> None:
    def program() -> None:
        sem, inside = Semaphore(2, "sem"), Cell()
        seen: list[int] = []

        def work() -> None:
            with sem:
                inside.count += 1
                seen.append(inside.count)
                inside.count -= 1

        join(*[spawn(work) for _ in range(4)])
        check(sem.count == 2 and not sem._queue, "given back")

    assert run(program) is None


def test_a_semaphore_excludes_and_publishes() -> None:
    def program(room: int) -> Any:
        def run() -> None:
            sem, cell = Semaphore(room), Cell()

            def add() -> None:
                with sem:
                    cell.plain += 1

            join(spawn(add), spawn(add))
            check(cell.plain == 2, "both count")

        return run

    every_schedule(program(1))
    assert first_failure(program(2)).kind is Kind.DATA_RACE


def test_waiters_of_a_semaphore_go_in_in_order() -> None:
    def program(log: list[Any]) -> None:
        sem = Semaphore(0, "sem")
        came: list[str] = []

        def wait(name: str) -> None:
            sem.down()
            log.append(name)

        tasks = [spawn(wait, name, name=name) for name in "ab"]
        Cell().once = 1
        came += [task.name for task in sem._queue]
        sem.up()
        join(*[task for task in tasks if task.name in came[:1]])
        check(not came or log[0] == came[0], "the oldest first")
        sem.up()
        join(*tasks)
        log.sort()

    assert outcomes(program) == {("a", "b")}


def test_down_trylock_and_down_timeout(run) -> None:
    def program() -> None:
        sem = Semaphore(1)
        check(sem.down_trylock(), "room")
        check(not sem.down_trylock(), "no room")
        check(not sem.down_timeout(2), "nobody leaves")
        check(not sem._queue, "off the queue")
        sem.up()
        check(sem.down_timeout(2), "room again")
        sem.up()

    assert run(program) is None


def test_a_deadline_never_loses_an_up() -> None:
    """The up and the deadline meet: the task went in, or there is room for the next one."""

    def program() -> None:
        sem = Semaphore(0)

        def wait() -> bool:
            return sem.down_timeout(1)

        waiter = spawn(wait)
        sem.up()
        went_in = join(waiter)[0]
        check(sem.count == (not went_in), "one of the two")

    every_schedule(program)


def test_a_forgotten_up_is_a_deadlock() -> None:
    def program() -> None:
        sem = Semaphore(1, "sem")
        sem.down()
        sem.down()

    failure = first_failure(program)
    assert failure.kind is Kind.DEADLOCK
    assert "main waits in down_slowpath(sem)" in failure.detail


def test_outside_a_program() -> None:
    done, sem = Completion("done"), Semaphore(1)
    with pytest.raises(
        WouldBlock, match=r"wait_for_completion would wait for ever: .* <Completion done: 0 done>"
    ):
        done.wait()
    assert done.wait_timeout(5) == 0
    done.complete()
    done.wait()
    done.complete_all()
    assert repr(done) == "<Completion done: all done>"
    sem.down()
    assert repr(sem) == "<Semaphore semaphore: room for 0, 0 wait>"
    assert not sem.down_timeout(5)


def test_bad_input() -> None:
    with pytest.raises(ConcurrencyError, match="the count of a semaphore is at least 0, not -1"):
        Semaphore(-1)
    with pytest.raises(ConcurrencyError, match="a timeout is at least 0 jiffies, not -5"):
        explore(lambda: Completion().wait_timeout(-5))
