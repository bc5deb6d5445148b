"""rw_semaphore: readers together, a writer alone, the queue, downgrade, trylocks."""

from __future__ import annotations

from typing import Any, cast

import pytest
from concurrency_programs import BARE, Cell, first_failure, outcomes

from sugarbush.concurrency import Kind, Mutex, RwSemaphore, Settings, check, join, spawn
from sugarbush.concurrency.core.operation import Operation
from sugarbush.concurrency.core.task import Task
from sugarbush.concurrency.locks.rwsem import (
    DOWN_READ,
    DOWN_READ_TRYLOCK,
    DOWN_WRITE,
    DOWN_WRITE_TRYLOCK,
    is_in_vain,
)


def test_readers_exclude_writers_and_not_each_other(run) -> None:
    def program() -> None:
        sem, cell = RwSemaphore("sem"), Cell()

        def write() -> None:
            sem.down_write()
            check(cell.count == 0, "no other writer")
            cell.count = 1
            cell.plain += 1
            cell.count = 0
            sem.up_write()

        def read() -> None:
            sem.down_read()
            check(cell.count == 0, "no writer beside a reader")
            value = cell.plain
            check(cell.plain == value, "nothing changes under a reader")
            sem.up_read()

        join(*[spawn(fn) for fn in (write, read, write, read)])
        check(sem.free, "given back")

    assert run(program) is None


def test_readers_can_hold_it_together() -> None:
    def program(log: list[Any]) -> None:
        sem = RwSemaphore("sem")

        def read() -> None:
            sem.down_read()
            log.append(len(sem._readers))
            sem.up_read()

        join(spawn(read), spawn(read))

    assert (1, 2) in outcomes(program)


def test_a_queued_writer_stops_new_readers() -> None:
    """A reader that asks after a writer has queued never gets in before that writer."""

    def program(log: list[Any]) -> None:
        sem = RwSemaphore("sem")
        sem.down_read()

        def write() -> None:
            sem.down_write()
            log.append("write")
            sem.up_write()

        def read() -> None:
            queued = any(writes for _, writes in sem._queue)
            sem.down_read()
            log.append("overtook" if queued and "write" not in log else "read")
            sem.up_read()

        tasks = [spawn(write), spawn(read)]
        sem.up_read()
        join(*tasks)

    seen = outcomes(program)
    assert seen == {("write", "read"), ("read", "write")}


def test_a_reader_inside_a_reader_deadlocks_when_a_writer_waits_between() -> None:
    def program() -> None:
        sem = RwSemaphore("sem")

        def write() -> None:
            sem.down_write()
            sem.up_write()

        writer = spawn(write, name="writer")
        sem.down_read()
        sem.down_read()
        sem.up_read()
        sem.up_read()
        join(writer)

    failure = first_failure(program, BARE, strategy="random")
    assert failure.kind is Kind.DEADLOCK
    assert failure.headline == "deadlock: a circle of waits (main -> writer -> main)"
    assert "main waits in down_read_slowpath(sem), queued behind writer" in failure.detail
    assert "writer waits in down_write_slowpath(sem), held by main" in failure.detail
    assert first_failure(program, executions=1).headline == "WARNING: possible recursive locking detected"


def test_the_queue_is_first_come_first_served() -> None:
    def program(log: list[Any]) -> None:
        sem = RwSemaphore("sem")
        came: list[str] = []
        sem.down_read()

        def write(name: str) -> None:
            sem.down_write()
            log.append(name)
            sem.up_write()

        tasks = [spawn(write, name, name=name) for name in "ab"]
        Cell().once = 1
        came += [task.name for task, _ in sem._queue]
        sem.up_read()
        join(*tasks)
        check(len(came) < 2 or came == log, "served in the order of the queue")
        log.sort()

    assert outcomes(program) == {("a", "b")}


def test_downgrade_lets_no_writer_in_between(run) -> None:
    def program() -> None:
        sem, cell = RwSemaphore("sem"), Cell()

        def change() -> None:
            sem.down_write()
            cell.plain += 1
            value = cell.plain
            sem.downgrade_write()
            check(cell.plain == value, "nobody wrote since the downgrade")
            check(sem.held_by_me(), "still held")
            sem.up_read()

        join(*[spawn(change) for _ in range(3)])
        check(cell.plain == 3, "each wrote once")

    assert run(program) is None


def test_downgrade_lets_readers_in() -> None:
    def program(log: list[Any]) -> None:
        sem = RwSemaphore("sem")

        def read() -> None:
            sem.down_read()
            log.append(len(sem._readers))
            sem.up_read()

        sem.down_write()
        reader = spawn(read)
        sem.downgrade_write()
        sem.up_read()
        join(reader)

    assert outcomes(program) == {(1,), (2,)}


def test_trylocks(run) -> None:
    def program() -> None:
        sem = RwSemaphore("sem")
        check(sem.down_read_trylock(), "free: read")
        check(join(spawn(reads_and_ends))[0] is None, "readers together")
        check(not sem.down_write_trylock(), "a reader holds it")
        sem.up_read()
        check(sem.down_write_trylock(), "free: write")
        check(not sem.down_read_trylock() and not sem.down_write_trylock(), "the writer holds it")
        sem.up_write()

    def reads_and_ends() -> None:
        pass

    assert run(program) is None


def test_trylocks_fail_while_anybody_waits() -> None:
    def program(log: list[Any]) -> None:
        sem, cell = RwSemaphore("sem"), Cell()

        def write() -> None:
            sem.down_write()
            sem.up_write()

        sem.down_read()
        writer = spawn(write)
        cell.once = 1
        waited = bool(sem._queue)
        got = sem.down_read_trylock()
        if got:
            sem.up_read()
        sem.up_read()
        join(writer)
        log.append((waited, got))

    assert outcomes(program) == {((True, False),), ((False, True),), ((False, False),)}


@pytest.mark.parametrize("operation", ["up_read", "up_write", "downgrade_write"])
@pytest.mark.parametrize("settings", [Settings(), BARE], ids=["all checks", "bare"])
def test_unbalanced_releases_are_reports(operation: str, settings: Settings, run) -> None:
    failure = run(getattr(RwSemaphore("sem"), operation), settings)
    assert failure is not None
    assert failure.headline == "WARNING: bad unlock balance detected!"
    assert operation in failure.detail


def test_the_wrong_release_is_a_report(run) -> None:
    def program() -> None:
        sem = RwSemaphore("sem")
        sem.down_read()
        sem.up_write()

    assert run(program).headline == "WARNING: bad unlock balance detected!"


def test_assert_held_and_assert_held_write(run) -> None:
    def program(write: bool) -> None:
        sem = RwSemaphore("sem")
        (sem.down_write if write else sem.down_read)()
        sem.assert_held()
        sem.assert_held_write()
        sem.up_write()

    assert run(lambda: program(True)) is None
    assert run(lambda: program(False)).headline == (
        "WARNING: lockdep_assert_held_write(sem): not held by main"
    )


def test_no_wake_up_is_lost() -> None:
    """Every mix of three readers and writers ends under every schedule."""
    for kinds in ("rrw", "rww", "www"):

        def program(log: list[Any], kinds: str = kinds) -> None:
            sem = RwSemaphore("sem")

            def take(kind: str) -> None:
                (sem.down_read if kind == "r" else sem.down_write)()
                (sem.up_read if kind == "r" else sem.up_write)()

            for kind in kinds:
                spawn(take, kind)

        assert outcomes(program) == {()}


def test_a_deadlock_names_all_readers() -> None:
    def program() -> None:
        sem = RwSemaphore("sem")
        gate = Mutex("gate")
        gate.lock()

        def read() -> None:
            sem.down_read()
            gate.lock()

        spawn(read, name="reader1")
        spawn(read, name="reader2")
        cell = Cell()
        while len(sem._readers) < 2:
            cell.once = 1
        sem.down_write()

    failure = first_failure(program, BARE, strategy="random")
    assert failure.detail.splitlines()[0] in (
        "main waits in down_write_slowpath(sem), held by reader1, reader2",
        "main waits in down_write_slowpath(sem), held by reader2, reader1",
    )


class _Nobody:
    """Stands for tasks, as far as a rw_semaphore asks."""

    def __init__(self, number: int) -> None:
        self.id = number


@pytest.mark.parametrize(
    "attempt", [DOWN_READ, DOWN_WRITE, DOWN_READ_TRYLOCK, DOWN_WRITE_TRYLOCK], ids=lambda op: op.name
)
def test_an_attempt_is_in_vain_if_its_effect_takes_nothing(attempt: Operation) -> None:
    """In all states of two holders and two that wait: the rule that others ask is that of the effect."""
    one, two, three, four = [cast(Task, _Nobody(number)) for number in range(4)]
    answers = set()
    for writer, readers in ((None, []), (one, []), (None, [one]), (None, [one, two])):
        for queue in ([], [(three, False)], [(three, True)], [(three, False), (four, True)]):
            sem = RwSemaphore("sem")
            sem._writer, sem._readers, sem._queue = writer, [*readers], [*queue]
            in_vain = is_in_vain(attempt, sem)
            assert attempt.effect is not None
            assert attempt.effect(sem, cast(Task, _Nobody(9)), None) is not in_vain
            answers.add(in_vain)
    assert answers == {True, False}
