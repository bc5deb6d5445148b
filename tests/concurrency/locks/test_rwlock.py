"""rwlock and sequence counters: who waits for whom, what the validator sees, what readers may see."""

from __future__ import annotations

from typing import Any

import pytest
from concurrency_programs import BARE, Cell, every_schedule, first_failure, outcomes

from sugarbush.concurrency import (
    Kind,
    Plain,
    RwLock,
    SeqCount,
    SeqLock,
    Settings,
    Shared,
    Spinlock,
    check,
    explore,
    hardirq,
    join,
    msleep,
    spawn,
)


def test_readers_exclude_writers_and_not_each_other(run) -> None:
    def program(kinds: str) -> None:
        lock, cell = RwLock("lock"), Cell()

        def write() -> None:
            with lock.write():
                lock.assert_held_write()
                cell.plain += 1

        def read() -> None:
            with lock.read():
                value = cell.plain
                with lock.read():
                    check(cell.plain == value, "nothing changes under a reader")

        join(*[spawn(write if kind == "w" else read) for kind in kinds])
        check(lock.free, "given back")

    assert run(lambda: program("wrwr")) is None
    every_schedule(lambda: program("wr"))


def test_readers_commute_for_the_reduced_search() -> None:
    def program() -> None:
        lock = RwLock()

        def read() -> None:
            with lock.read():
                pass

        for _ in range(3):
            spawn(read)

    assert explore(program, strategy="dpor").executions == 1


def test_a_reader_does_not_wait_for_a_writer_that_waits() -> None:
    """Nested readers with a writer between: a deadlock with a rw_semaphore, none here."""

    def program() -> None:
        lock = RwLock("lock")

        def write() -> None:
            lock.write_lock()
            lock.write_unlock()

        spawn(write)
        lock.read_lock()
        lock.read_lock()
        lock.read_unlock()
        lock.read_unlock()

    every_schedule(program)


def test_trylocks(run) -> None:
    def program() -> None:
        lock = RwLock("lock")
        check(lock.read_trylock() and lock.read_trylock(), "readers together")
        check(not lock.write_trylock(), "a reader holds it")
        lock.read_unlock()
        lock.read_unlock()
        check(lock.write_trylock(), "free")
        check(not lock.read_trylock() and not lock.write_trylock(), "a writer holds it")
        lock.write_unlock()

    assert run(program) is None


def test_its_holder_may_not_sleep(run) -> None:
    for take in ("read_lock", "write_lock"):

        def program(take: str = take) -> None:
            getattr(RwLock(), take)()
            msleep(1)

        assert run(program).headline.startswith("BUG: sleeping function called from invalid context")


@pytest.mark.parametrize("operation", ["read_unlock", "write_unlock"])
@pytest.mark.parametrize("settings", [Settings(), BARE], ids=["all checks", "bare"])
def test_unbalanced_releases_are_reports(operation: str, settings: Settings, run) -> None:
    failure = run(getattr(RwLock(), operation), settings)
    assert failure.headline == "WARNING: bad unlock balance detected!"
    assert operation in failure.detail


def test_the_validator_sees_read_and_write_holds_in_two_orders() -> None:
    def program(second_is_read: bool) -> None:
        lock, spin = RwLock("lock"), Spinlock("spin")
        with lock.read(), spin:
            pass
        if second_is_read:
            with spin, lock.read():
                pass
        else:
            with spin, lock.write():
                pass

    failure = first_failure(lambda: program(False), executions=1)
    assert failure.headline == "WARNING: possible circular locking dependency detected"
    assert not explore(lambda: program(True), executions=1).failures


class Pair(Shared):
    """Two fields that a writer changes together."""

    one: Plain[int] = 0
    two: Plain[int] = 0


def test_a_seqlock_reader_never_keeps_a_half_changed_pair(run) -> None:
    def program(writers: int, retry: bool = True) -> None:
        lock, pair = SeqLock("lock"), [Cell(), Cell()]

        def write() -> None:
            with lock.write():
                pair[0].once += 1
                pair[1].once += 1

        def read() -> None:
            while True:
                start = lock.read_seqbegin()
                one, two = pair[0].once, pair[1].once
                if not (retry and lock.read_seqretry(start)):
                    break
            check(one == two, "both or neither")

        join(spawn(read), *[spawn(write) for _ in range(writers)])

    assert run(lambda: program(2)) is None
    every_schedule(lambda: program(1))
    for strategy in ("dfs", "dpor", "random"):
        failure = first_failure(lambda: program(1, retry=False), strategy=strategy)
        assert failure.headline == "check failed: both or neither"


def test_plain_fields_behind_a_sequence_counter_race() -> None:
    def program() -> None:
        lock, pair = SeqLock("lock"), Pair()

        def write() -> None:
            with lock.write():
                pair.one += 1

        def read() -> int:
            start = lock.read_seqbegin()
            return pair.one if lock.read_seqretry(start) else 0

        def whole() -> int:
            lock.read_seqlock_excl()
            value = pair.one
            lock.read_sequnlock_excl()
            return value

        join(spawn(write), spawn(whole))
        join(spawn(write), spawn(read))

    failure = first_failure(program)
    assert failure.headline.startswith("BUG: KCSAN: data-race in Pair.one: ")


def test_two_writers_at_once_are_a_race_on_the_counter() -> None:
    def program() -> None:
        count = SeqCount("count")

        def write() -> None:
            count.write_begin()
            count.write_end()

        spawn(write, name="a")
        spawn(write, name="b")

    failure = first_failure(program)
    assert failure.kind is Kind.DATA_RACE
    assert failure.headline.startswith("BUG: KCSAN: data-race in count.sequence: write_seqcount_begin by ")


def test_a_reader_in_an_interrupt_of_the_writer_is_reported() -> None:
    """With the interrupts on, the handler would wait for the writer that it has interrupted."""

    def program(interrupted: bool) -> None:
        lock = SeqLock("lock")
        with hardirq():
            lock.read_seqbegin()
        with lock.write():
            if interrupted:
                with hardirq():
                    lock.read_seqbegin()

    assert first_failure(lambda: program(False), executions=1).headline == "WARNING: inconsistent lock state"
    failure = first_failure(lambda: program(True), BARE, executions=1)
    assert failure.kind is Kind.DEADLOCK
    assert "main waits in read_seqcount_begin(lock.seqcount), held by main" in failure.detail


def test_an_end_without_a_begin_is_a_report(run) -> None:
    assert run(SeqCount().write_end).headline == "WARNING: bad unlock balance detected!"
    assert run(SeqCount().write_end, BARE).headline == "WARNING: bad unlock balance detected!"


def test_a_writer_may_not_sleep(run) -> None:
    def program() -> None:
        SeqCount().write_begin()
        msleep(1)

    assert run(program).headline.startswith("BUG: sleeping function called from invalid context")


def test_a_reader_sees_every_whole_state() -> None:
    def program(log: list[Any]) -> None:
        count, cell = SeqCount(), Cell()

        def write() -> None:
            for value in (1, 2):
                count.write_begin()
                cell.once = value
                count.write_end()

        writer = spawn(write)
        start = count.read_begin()
        value = cell.once
        log.append((value, count.read_retry(start)))
        join(writer)

    assert outcomes(program) == {((value, again),) for value in range(3) for again in (False, True)}
