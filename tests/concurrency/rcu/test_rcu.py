"""RCU: readers nest, a grace period waits for exactly the readers from before, callbacks come after it in order."""

from __future__ import annotations

from typing import Any

import pytest
from concurrency_programs import BARE, NO_RACES, Cell, clean, every_execution, first_failure, outcomes

from sugarbush.concurrency import (
    Kind,
    Mutex,
    Settings,
    Spinlock,
    call_rcu,
    check,
    join,
    rcu_access_pointer,
    rcu_barrier,
    rcu_dereference_check,
    rcu_dereference_protected,
    rcu_read_lock,
    rcu_read_lock_held,
    rcu_read_unlock,
    rcu_reader,
    spawn,
    synchronize_rcu,
)
from sugarbush.concurrency.lowlevel import active, domain
from sugarbush.concurrency.rcu import RcuDomain


def test_readers_nest(run) -> None:
    def program() -> None:
        check(not rcu_read_lock_held(), "outside")
        with rcu_reader():
            with rcu_reader():
                check(rcu_read_lock_held(), "inside both")
            check(rcu_read_lock_held(), "still inside the outer one")
        check(not rcu_read_lock_held(), "outside again")

    assert run(program) is None


def test_readers_never_wait_for_each_other_or_for_updaters() -> None:
    def program(log: list[Any]) -> None:
        def read(name: str) -> None:
            with rcu_reader():
                log.append(name)

        join(spawn(read, "a"), spawn(read, "b"), spawn(synchronize_rcu))

    assert outcomes(program) == {("a", "b"), ("b", "a")}


def test_synchronize_waits_for_exactly_the_readers_from_before() -> None:
    """Over all schedules: it never ends inside a reader from before, and may end inside a later one."""
    seen: set[tuple[str, ...]] = set()

    def program() -> None:
        log: list[str] = []

        def read() -> None:
            rcu_read_lock()
            log.append("lock")
            log.append("unlock")
            rcu_read_unlock()

        def update() -> None:
            log.append("begin")
            synchronize_rcu()
            log.append("end")

        join(spawn(update), spawn(read))
        seen.add(tuple(log))

    for execution in every_execution(program):
        assert execution.failure is None
    assert seen == {
        ("begin", "end", "lock", "unlock"),
        ("lock", "unlock", "begin", "end"),
        ("begin", "lock", "unlock", "end"),
    }


def test_a_grace_period_never_ends_early_and_ends_as_early_as_it_may() -> None:
    """All schedules of an updater and up to two readers: who is open before, and who after."""
    ends: set[tuple[int, int]] = set()

    def program(*times: int) -> None:
        cell = Cell()
        inside: dict[int, int] = {}
        """Which of its readers each task is in."""

        def read(me: int, times: int) -> None:
            for number in range(times):
                with rcu_reader():
                    inside[me] = number
                    cell.once  # noqa: B018
                    del inside[me]

        def update() -> None:
            before = inside.copy()
            synchronize_rcu()
            check(not before.items() & inside.items(), "no reader from before is open")
            ends.add((len(before), len(inside)))

        join(spawn(update), *[spawn(read, me, times) for me, times in enumerate(times)])

    for execution in every_execution(lambda: program(1, 1), limit=100_000):
        assert execution.failure is None
    assert (0, 2) in ends, "it does not wait for readers that began later"
    assert (1, 1) in ends, "it waits for one reader, not for a later one"
    assert (2, 0) in ends


def test_a_grace_period_does_not_wait_for_the_next_reader_of_a_task() -> None:
    def program(log: list[str]) -> None:
        def read() -> None:
            for number in (1, 2):
                with rcu_reader():
                    log.append(f"in{number}")
                    Cell().once  # noqa: B018
                    log.append(f"out{number}")

        def update() -> None:
            log.append("begin")
            synchronize_rcu()
            log.append("end")

        join(spawn(update), spawn(read))

    orders = outcomes(program)
    assert ("in1", "begin", "out1", "in2", "end", "out2") in orders
    assert all(order.index("end") > order.index("out1") for order in orders if order[:2] == ("in1", "begin"))


def test_what_a_grace_period_protects() -> None:
    """The classic: unlink, wait, free. Without the wait a reader is caught with freed memory."""

    def program(wait: bool) -> None:
        root, old = Cell(), Cell()
        root.pointer = old
        alive = [True]

        def read() -> None:
            with rcu_reader():
                found = root.pointer
                if found is not None:
                    found.count  # noqa: B018
                    check(alive[0], "nobody reads what was freed")

        def update() -> None:
            root.pointer = None
            if wait:
                synchronize_rcu()
            alive[0] = False

        join(spawn(read), spawn(update))

    clean(lambda: program(True))
    assert first_failure(lambda: program(False)).headline == "check failed: nobody reads what was freed"


def test_callbacks_run_in_order() -> None:
    def program() -> None:
        log: list[int] = []

        def read() -> None:
            with rcu_reader():
                pass

        spawn(read)
        for n in range(3):
            call_rcu(log.append, n)
        rcu_barrier()
        check(log == [0, 1, 2], "in the order of the calls")

    clean(program)


def test_a_callback_never_runs_inside_a_reader_from_before_its_call() -> None:
    def program() -> None:
        rcu = domain(RcuDomain)

        def callback(before: set[Any]) -> None:
            check(not before & set(rcu.readers.items()), "after the grace period")

        def read() -> None:
            with rcu_reader():
                pass

        spawn(read)
        call_rcu(callback, set(rcu.readers.items()))

    assert all(execution.failure is None for execution in every_execution(program))


def test_a_callback_may_run_before_a_later_reader_ends() -> None:
    def program(log: list[Any]) -> None:
        call_rcu(lambda _: log.append("callback"), None)
        with rcu_reader():
            log.append("reader")

    assert ("callback", "reader") in outcomes(program)
    assert ("reader", "callback") in outcomes(program)


def test_rcu_barrier_waits_for_the_callbacks_queued_before_it(run) -> None:
    def program() -> None:
        ran: list[int] = []
        for n in range(3):
            call_rcu(ran.append, n)
        rcu_barrier()
        check(ran == [0, 1, 2], "all three have run")
        rcu_barrier()

    assert run(program) is None


def test_rcu_barrier_from_many_tasks(run) -> None:
    def program() -> None:
        ran: list[int] = []

        def work(n: int) -> None:
            call_rcu(ran.append, n)
            rcu_barrier()
            check(n in ran, "my own callback has run")

        join(*[spawn(work, n) for n in range(4)])
        check(len(ran) == 4, "each ran once")

    assert run(program) is None


def test_callbacks_left_at_the_end_are_run(run) -> None:
    ran: list[int] = []

    def program() -> None:
        ran.clear()
        for n in range(3):
            call_rcu(ran.append, n)

    assert run(program) is None
    assert ran == [0, 1, 2]


def test_callbacks_may_queue_callbacks(run) -> None:
    ran: list[int] = []

    def again(n: int) -> None:
        ran.append(n)
        if n < 3:
            call_rcu(again, n + 1)

    def program() -> None:
        ran.clear()
        call_rcu(again, 0)

    assert run(program) is None
    assert ran == [0, 1, 2, 3]


@pytest.mark.parametrize("wait", [synchronize_rcu, rcu_barrier])
def test_waiting_for_rcu_inside_a_reader_is_a_report(wait, run) -> None:
    def program() -> None:
        with rcu_reader():
            wait()

    failure = run(program)
    assert failure is not None
    assert failure.kind is Kind.RCU
    assert failure.headline == "WARNING: suspicious RCU usage"
    assert f"Illegal {wait.__name__}() in RCU read-side critical section!" in failure.detail
    assert "test_rcu.py:" in failure.detail


def test_sleeping_inside_a_reader_is_a_report(run) -> None:
    def program() -> None:
        with rcu_reader(), Mutex("m"):
            pass

    failure = run(program)
    assert failure is not None
    assert failure.headline.startswith("BUG: sleeping function called from invalid context")
    assert "RCU nest depth: 1" in failure.detail


def test_spinning_inside_a_reader_is_fine(run) -> None:
    def program() -> None:
        with rcu_reader(), Spinlock("s"):
            pass

    assert run(program) is None


def test_sleeping_in_a_callback_is_a_report(run) -> None:
    def sleeps(mutex: Mutex) -> None:
        with mutex:
            pass

    failure = run(lambda: call_rcu(sleeps, Mutex("m")))
    assert failure is not None
    assert failure.task == "rcu"
    assert failure.headline.startswith("BUG: sleeping function called from invalid context")


def test_synchronize_under_a_spinlock_is_a_report(run) -> None:
    def program() -> None:
        with Spinlock("s"):
            synchronize_rcu()

    assert run(program).headline.startswith("BUG: sleeping function called from invalid context")


def test_unlock_without_lock_is_a_report(run) -> None:
    failure = run(rcu_read_unlock)
    assert failure is not None
    assert failure.headline == "WARNING: bad unlock balance detected!"
    assert failure.detail.splitlines()[0] == "rcu_read_unlock() without rcu_read_lock()"


def test_ending_inside_a_reader_is_a_report(run) -> None:
    failure = run(lambda: join(spawn(rcu_read_lock, name="forgetful")))
    assert failure is not None
    assert failure.kind is Kind.RCU
    assert failure.task == "forgetful"
    assert failure.headline == "WARNING: forgetful ended inside an RCU read-side critical section"


def test_dereference_outside_a_reader_is_a_report(run) -> None:
    def program(settle: Any) -> None:
        root = Cell()
        root.pointer = Cell()
        settle(root)

    for bad in (
        lambda root: root.pointer,
        lambda root: rcu_dereference_check(root, "pointer", False),
        lambda root: rcu_dereference_protected(root, "pointer", False),
    ):
        failure = run(lambda bad=bad: program(bad))
        assert failure is not None
        assert failure.headline == "WARNING: suspicious RCU usage"
        assert "(field pointer)" in failure.detail
        assert run(lambda bad=bad: program(bad), Settings(frozenset({"rcu"}))) is None
    for good in (
        lambda root: rcu_access_pointer(root, "pointer"),
        lambda root: rcu_dereference_check(root, "pointer", True),
        lambda root: rcu_dereference_protected(root, "pointer", True),
    ):
        assert run(lambda good=good: program(good)) is None


def test_outside_a_program_everything_happens_at_once() -> None:
    ran: list[int] = []
    with rcu_reader():
        call_rcu(ran.append, 1)
        assert ran == []
    assert ran == [1]
    call_rcu(ran.append, 2)
    assert ran == [1, 2]
    synchronize_rcu()
    rcu_barrier()
    assert active.runtime is None


def test_a_reader_that_waits_for_the_updater_is_a_deadlock_with_the_reader_named() -> None:
    def program() -> None:
        gate = Spinlock("gate")

        def read() -> None:
            with rcu_reader():
                gate.lock()
                gate.unlock()

        spawn(read, name="reader")
        gate.lock()
        synchronize_rcu()
        gate.unlock()

    failure = first_failure(program, Settings(BARE.without | {"atomic-sleep"}), strategy="random")
    assert failure.kind is Kind.DEADLOCK
    assert "main waits in synchronize_rcu_wait(rcu), held by reader" in failure.detail


def test_no_rcu_report_without_a_reason() -> None:
    def program() -> None:
        root, mutex = Cell(), Mutex("update")

        def read() -> None:
            for _ in range(2):
                with rcu_reader():
                    found = root.pointer
                    if found is not None:
                        found.plain  # noqa: B018

        def update() -> None:
            with mutex:
                new = Cell()
                new.plain = 7
                old = rcu_dereference_protected(root, "pointer", mutex.held_by_me())
                root.pointer = new
            synchronize_rcu()
            if old is not None:
                old.plain = 0

        join(*[spawn(fn) for fn in (read, update, read, update)])

    clean(program)
    clean(program, NO_RACES)
