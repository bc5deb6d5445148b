"""The data race detector: what it reports, what it does not, and what its report says."""

from __future__ import annotations

import pytest
from concurrency_programs import Cell, clean, every_execution, first_failure

from sugarbush.concurrency import (
    READ_ONCE,
    WRITE_ONCE,
    Kind,
    Mutex,
    RwSemaphore,
    Settings,
    Spinlock,
    Task,
    atomic_add_return,
    atomic_dec_and_test,
    call_rcu,
    check,
    cmpxchg,
    explore,
    join,
    rcu_barrier,
    rcu_reader,
    smp_load_acquire,
    smp_store_release,
    spawn,
    synchronize_rcu,
    xchg,
)
from sugarbush.concurrency.lowlevel import Observer, Operation, RaceDetector


def read(cell: Cell) -> int:
    return cell.plain


def write(cell: Cell) -> None:
    cell.plain = 1


def mark_read(cell: Cell) -> int:
    return READ_ONCE(cell, "plain")


def mark_write(cell: Cell) -> None:
    WRITE_ONCE(cell, "plain", 1)


def modify(cell: Cell) -> None:
    xchg(cell, "plain", 1)


RACES = [
    (write, write),
    (read, write),
    (mark_read, write),
    (mark_write, write),
    (mark_write, read),
    (modify, read),
]
NO_RACES = [
    (read, read),
    (mark_read, mark_write),
    (mark_write, mark_write),
    (mark_read, read),
    (modify, modify),
]


def side_by_side(*parts):
    def program() -> None:
        cell = Cell()
        join(*[spawn(part, cell) for part in parts])

    return program


@pytest.mark.parametrize("parts", RACES, ids=lambda parts: "-".join(part.__name__ for part in parts))
def test_unordered_pairs_with_a_plain_access_race_in_every_schedule(parts) -> None:
    for execution in every_execution(side_by_side(*parts), (RaceDetector(),)):
        assert execution.failure is not None
        assert execution.failure.kind is Kind.DATA_RACE


@pytest.mark.parametrize("parts", NO_RACES, ids=lambda parts: "-".join(part.__name__ for part in parts))
def test_reads_and_marked_pairs_do_not_race(parts) -> None:
    for execution in every_execution(side_by_side(*parts), (RaceDetector(),)):
        assert execution.failure is None


@pytest.mark.parametrize("field", ["once", "count"])
def test_fields_declared_marked_do_not_race(field: str) -> None:
    clean(side_by_side(*[lambda cell: setattr(cell, field, getattr(cell, field) + 1)] * 3))


def test_the_report_has_both_stacks_and_the_place() -> None:
    failure = first_failure(side_by_side(read, write), strategy="random", seed=3)
    assert failure.headline.startswith("BUG: KCSAN: data-race in Cell.plain: ")
    first, second, end = failure.detail.split("\n\n")
    for part in (first, second):
        lines = part.splitlines()
        name = "write" if lines[0].startswith("write") else "read"
        assert lines[0].startswith(f"{name} of Cell.plain by task ")
        assert lines[1].startswith(f"  {name} at checks/test_races.py:")
    assert end == "no lock, release/acquire pair or join orders the two"


def test_the_check_can_be_switched_off() -> None:
    clean(side_by_side(write, write), Settings(frozenset({"data-race"})))


@pytest.mark.parametrize("lock_type", [Mutex, Spinlock])
def test_a_lock_orders(lock_type) -> None:
    def program() -> None:
        lock, cell = lock_type("l"), Cell()

        def work() -> None:
            with lock:
                cell.plain += 1

        def try_work() -> None:
            if lock.trylock():
                cell.plain += 1
                lock.unlock()

        join(spawn(work), spawn(work), spawn(try_work))
        check(cell.plain >= 2, "no lost update")

    clean(program)


def test_a_trylock_that_fails_does_not_order() -> None:
    def program() -> None:
        lock, cell = Mutex("l"), Cell()

        def holder() -> None:
            cell.plain = 1
            with lock:
                pass
            lock.lock()
            lock.unlock()

        def hasty() -> None:
            if not lock.trylock():
                cell.plain = 2
            else:
                lock.unlock()

        join(spawn(holder), spawn(hasty))

    assert first_failure(program, strategy="random").kind is Kind.DATA_RACE


def test_two_locks_do_not_order() -> None:
    def program() -> None:
        cell = Cell()

        def work(name: str) -> None:
            with Mutex(name):
                cell.plain += 1

        join(spawn(work, "a"), spawn(work, "b"))

    assert first_failure(program, executions=1).kind is Kind.DATA_RACE


def rwsem_program(changes_while_reading: bool, downgrades: bool = False):
    def program() -> None:
        sem, cell = RwSemaphore("sem"), Cell()

        def reads() -> None:
            sem.down_read()
            if changes_while_reading:
                cell.plain += 1
            else:
                cell.plain  # noqa: B018
            sem.up_read()

        def writes() -> None:
            sem.down_write()
            cell.plain += 1
            if downgrades:
                sem.downgrade_write()
                cell.plain  # noqa: B018
                sem.up_read()
            else:
                sem.up_write()

        join(*[spawn(fn) for fn in (reads, writes, reads, writes)])

    return program


def test_an_rwsem_orders_writers_and_readers_and_not_readers_among_themselves() -> None:
    clean(rwsem_program(False))
    clean(rwsem_program(False, downgrades=True))
    assert first_failure(rwsem_program(True)).kind is Kind.DATA_RACE


def test_spawn_and_join_order() -> None:
    def program() -> None:
        cell = Cell()
        cell.plain = 1
        join(spawn(read, cell), spawn(read, cell))
        cell.plain = 2
        join(spawn(write, cell))
        cell.plain = 3

    clean(program)


def test_work_of_the_parent_after_the_spawn_is_not_ordered() -> None:
    def program() -> None:
        cell = Cell()
        spawn(read, cell)
        cell.plain = 1

    assert first_failure(program, executions=1).kind is Kind.DATA_RACE


def publish(store, load):
    def program() -> None:
        data, flag = Cell(), Cell()

        def producer() -> None:
            data.plain = 42
            store(flag)

        def consumer() -> None:
            if load(flag):
                check(data.plain == 42, "published")

        join(spawn(producer), spawn(consumer))

    return program


def release(flag: Cell) -> None:
    smp_store_release(flag, "once", 1)


def acquire(flag: Cell) -> int:
    return smp_load_acquire(flag, "once")


def once_store(flag: Cell) -> None:
    flag.once = 1


def once_load(flag: Cell) -> int:
    return flag.once


def test_release_and_acquire_order_and_neither_alone_does() -> None:
    clean(publish(release, acquire))
    for store, load in ((once_store, once_load), (release, once_load), (once_store, acquire)):
        assert first_failure(publish(store, load)).kind is Kind.DATA_RACE


def test_an_atomic_orders_like_release_and_acquire() -> None:
    clean(publish(lambda f: atomic_add_return(f, "count", 1), lambda f: atomic_add_return(f, "count", 0)))
    clean(publish(lambda f: atomic_add_return(f, "count", 1), lambda f: smp_load_acquire(f, "count")))


def test_the_last_reference_may_tear_down() -> None:
    def program() -> None:
        cell = Cell(count=2)

        def put() -> None:
            cell.plain  # noqa: B018
            if atomic_dec_and_test(cell, "count"):
                cell.plain = -1

        join(spawn(put), spawn(put))

    clean(program)


def test_a_plain_store_over_a_release_hides_it_from_an_acquire() -> None:
    """An acquire that reads from a later WRITE_ONCE is not ordered after the release before that."""

    def program() -> None:
        data, flag = Cell(), Cell()

        def producer() -> None:
            data.plain = 42
            smp_store_release(flag, "once", 1)

        def other() -> None:
            if flag.once == 1:
                flag.once = 2

        def consumer() -> None:
            if smp_load_acquire(flag, "once") == 2:
                data.plain  # noqa: B018

        for task in (producer, other, consumer):
            spawn(task)

    assert first_failure(program).kind is Kind.DATA_RACE


def test_an_atomic_over_a_release_keeps_it() -> None:
    def program() -> None:
        data, flag = Cell(), Cell()

        def producer() -> None:
            data.plain = 42
            smp_store_release(flag, "count", 1)

        def consumer() -> None:
            if smp_load_acquire(flag, "count") == 2:
                data.plain  # noqa: B018

        for task in (producer, lambda: atomic_add_return(flag, "count", 1), consumer):
            spawn(task)

    clean(program)


def test_a_marked_access_hides_no_plain_one_before_it() -> None:
    """The plain read races with the marked write of the other task, although a marked read came after it."""

    def reads(cell: Cell) -> None:
        cell.plain  # noqa: B018
        with Mutex("own"):
            pass
        READ_ONCE(cell, "plain")

    def writes(cell: Cell) -> None:
        cell.plain = 1
        WRITE_ONCE(cell, "plain", 2)

    for first in (reads, writes):
        for execution in every_execution(side_by_side(first, mark_write), (RaceDetector(),)):
            assert execution.failure is not None


def test_publishing_through_rcu_orders() -> None:
    def program() -> None:
        root = Cell()

        def update() -> None:
            new = Cell()
            new.plain = 5
            root.pointer = new

        def reads() -> None:
            with rcu_reader():
                found = root.pointer
                if found is not None:
                    check(found.plain == 5, "initialised before it was published")

        join(spawn(update), spawn(reads), spawn(reads))

    clean(program)


@pytest.mark.parametrize("wait", [True, False])
def test_reuse_after_a_grace_period_is_ordered_and_without_one_it_races(wait: bool) -> None:
    def program() -> None:
        root, old = Cell(), Cell()
        old.plain = 1
        root.pointer = old

        def reads() -> None:
            with rcu_reader():
                found = root.pointer
                if found is not None:
                    found.plain  # noqa: B018

        def update() -> None:
            root.pointer = None
            if wait:
                synchronize_rcu()
            old.plain = 2

        join(spawn(reads), spawn(update))

    if wait:
        clean(program)
    else:
        assert first_failure(program).kind is Kind.DATA_RACE


def test_a_callback_is_ordered_after_the_readers_before_it_and_a_barrier_after_the_callback() -> None:
    def program() -> None:
        root, old = Cell(), Cell()
        root.pointer = old

        def reads() -> None:
            with rcu_reader():
                found = root.pointer
                if found is not None:
                    found.plain  # noqa: B018

        reader = spawn(reads)
        old.once = 1
        root.pointer = None
        call_rcu(write, old)
        rcu_barrier()
        check(old.plain == 1, "the callback has run")
        join(reader)

    clean(program)


class Begun(Observer):
    """Which began first: the reader, or the grace period."""

    def begin(self, runtime: object) -> None:
        self.order: list[str] = []

    def performed(self, task: Task, op: Operation, obj: object, arg: object, result: object) -> None:
        self.order.append(op.name)

    @property
    def reader_first(self) -> bool:
        return self.order.index("rcu_read_lock") < [*self.order, "synchronize_rcu"].index("synchronize_rcu")


def test_a_grace_period_is_not_ordered_after_readers_that_it_need_not_wait_for() -> None:
    """A reader that began late but ended early was not waited for: only one that began before the grace period was."""

    def program() -> None:
        cell = Cell()

        def reads() -> None:
            with rcu_reader():
                cell.plain = 1

        def update() -> None:
            synchronize_rcu()
            cell.plain = 2

        join(spawn(reads), spawn(update))

    for execution in every_execution(program, (RaceDetector(), begun := Begun())):
        assert (execution.failure is None) is begun.reader_first


def test_what_came_before_a_grace_period_is_ordered_before_later_readers() -> None:
    """A marked flag carries no ordering, so without the grace period the message races."""

    def program(wait: bool) -> None:
        data, ready = Cell(), Cell()

        def update() -> None:
            data.plain = 1
            if wait:
                synchronize_rcu()
            ready.once = 1

        def reads() -> None:
            with rcu_reader():
                if ready.once:
                    data.plain  # noqa: B018

        join(spawn(update), spawn(reads))

    assert first_failure(lambda: program(False)).kind is Kind.DATA_RACE
    assert all(done.failure is None for done in every_execution(lambda: program(True), (RaceDetector(),)))


def test_a_failed_cmpxchg_orders_nothing() -> None:
    assert (
        first_failure(publish(lambda f: xchg(f, "count", 1), lambda f: cmpxchg(f, "count", 5, 6))).kind
        is Kind.DATA_RACE
    )
    clean(publish(lambda f: xchg(f, "count", 1), lambda f: cmpxchg(f, "count", 1, 1)))


def test_limit_the_threaded_runtime_looks_for_no_data_races() -> None:
    assert not explore(side_by_side(write, write), runtime="threaded", executions=3).failures
