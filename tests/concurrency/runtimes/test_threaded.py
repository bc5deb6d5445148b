"""The threaded runtime: deadlocks are found, not hung in; every way of ending ends."""

from __future__ import annotations

import sys
import threading

import pytest
from concurrency_programs import BARE, Cell, abba

from sugarbush.concurrency import (
    Failure,
    Kind,
    Mutex,
    RwSemaphore,
    Settings,
    Spinlock,
    Task,
    atomic_add_return,
    call_rcu,
    check,
    cpu_relax,
    explore,
    join,
    rcu_barrier,
    rcu_reader,
    spawn,
    synchronize_rcu,
)
from sugarbush.concurrency.lowlevel import Observer, Operation, Threaded, active, quiet


@pytest.fixture(autouse=True)
def _switch_often():  # noqa: ANN202, RUF100
    """Let the interpreter change threads as often as it can."""
    was = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(was)


def everything() -> None:
    """All primitives at once, among five tasks."""
    mutex, spin, sem, cell, root = Mutex("mutex"), Spinlock("spin"), RwSemaphore("sem"), Cell(), Cell()
    root.pointer = Cell()
    ran: list[int] = []

    def work(n: int) -> None:
        for _ in range(10):
            with mutex:
                cell.plain += 1
            with spin:
                cell.once += 1
            sem.down_read()
            sem.up_read()
            sem.down_write()
            sem.downgrade_write()
            sem.up_read()
            with rcu_reader():
                check(root.pointer is not None, "always published")
            root.pointer = Cell()
            synchronize_rcu()
            call_rcu(ran.append, n)
            atomic_add_return(cell, "count", 1)

    join(*[spawn(work, n) for n in range(5)])
    rcu_barrier()
    check(cell.plain == cell.once == cell.count == len(ran) == 50, "nothing is lost")


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_all_primitives_together(noise: float) -> None:
    runtime = Threaded(noise=noise)
    for _ in range(5):
        execution = runtime.run(everything)
        assert execution.failure is None
        assert execution.steps > 1000


def test_lost_wake_ups_do_not_happen() -> None:
    def program() -> None:
        sem = RwSemaphore("sem")

        def work(n: int) -> None:
            for _ in range(20):
                if n % 2:
                    sem.down_read()
                    sem.up_read()
                else:
                    sem.down_write()
                    sem.up_write()

        join(*[spawn(work, n) for n in range(6)])

    runtime = Threaded()
    assert all(runtime.run(program).failure is None for _ in range(5))


def test_a_deadlock_is_found_and_not_hung_in() -> None:
    """Two tasks meet with one lock each, for certain."""

    def program() -> None:
        a, b, met = Mutex("a"), Mutex("b"), Cell()

        def take(first: Mutex, second: Mutex) -> None:
            with first:
                atomic_add_return(met, "count", 1)
                while met.count < 2:
                    pass
                with second:
                    pass

        spawn(take, a, b, name="ab")
        spawn(take, b, a, name="ba")

    failure = Threaded().run(program).failure
    assert failure is not None
    assert failure.kind is Kind.DEADLOCK
    assert sorted(failure.detail.splitlines()[::2]) == [
        "ab waits in mutex_lock(b), held by ba",
        "ba waits in mutex_lock(a), held by ab",
    ]


def test_lockdep_needs_no_deadlock() -> None:
    result = explore(abba, runtime="threaded", executions=3)
    assert result.failures[0].failure.kind in (Kind.LOCKDEP, Kind.DEADLOCK)
    assert str(result.failures[0].schedule) == "s1:"


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_task_that_asks_to_exit_has_failed(error: type[BaseException]) -> None:
    def leave() -> None:
        raise error("enough")

    failure = Threaded().run(lambda: join(spawn(leave))).failure
    assert failure is not None
    assert failure.headline == f"{error.__name__}: enough"
    assert active.runtime is None


def test_a_failure_stops_tasks_that_would_run_for_ever() -> None:
    def program() -> None:
        cell = Cell()

        def forever() -> None:
            while True:
                cell.once = 1

        spawn(forever)
        spawn(forever)
        check(False, "the end")

    failure = Threaded().run(program).failure
    assert failure is not None
    assert failure.headline == "check failed: the end"


def test_a_failure_of_an_observer_cannot_be_swallowed() -> None:
    def program() -> None:
        mutex = Mutex("m")
        try:
            with mutex, mutex:
                pass
        except Exception:  # noqa: S110, RUF100
            pass

    found = explore(program, runtime="threaded", executions=1).failures
    assert found[0].failure.headline == "WARNING: possible recursive locking detected"


class Waits(Observer):
    """Hears who has to wait, and for what."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, object]] = []

    def blocked(self, task: Task, op: Operation, obj: object) -> None:
        if op.dep is not None:
            self.heard.append((task.name, obj))


def test_an_observer_hears_who_waits() -> None:
    waits = Waits()

    def program() -> None:
        mutex = Mutex("mutex")

        def take() -> None:
            with mutex:
                pass

        with mutex:
            waiter = spawn(take, name="waiter")
            while not waits.heard:
                cpu_relax()
        join(waiter)
        check(waits.heard == [("waiter", mutex)], "the lock was waited for")

    assert Threaded(seed=1, observers=[waits]).run(program).failure is None


def test_an_observer_that_looks_from_outside_disturbs_nobody() -> None:
    """Tasks keep taking locks as themselves while an observer looks at the same fields."""

    class Looks(Observer):
        def performed(self, task, op, obj, arg, result) -> None:
            with quiet():
                for _ in range(20):
                    if cells and cells[-1].plain < 0:
                        raise Failure(Kind.INVARIANT, "never")

    cells: list[Cell] = []

    def program() -> None:
        mutex, cell = Mutex("m"), Cell()
        cells.append(cell)

        def work() -> None:
            for _ in range(30):
                with mutex:
                    mutex.assert_held()
                    cell.plain += 1

        join(*[spawn(work) for _ in range(4)])
        check(cell.plain == 120, "nothing is lost")

    settings = Settings(observers=lambda: (Looks(),))
    assert not explore(program, runtime="threaded", executions=5, settings=settings).failures


def test_callbacks_of_a_task_run_in_one_task_in_order() -> None:
    def program() -> None:
        ran: list[tuple[int, int]] = []

        def work(n: int) -> None:
            for k in range(10):
                call_rcu(ran.append, (n, k))

        join(*[spawn(work, n) for n in range(4)])
        rcu_barrier()
        check(len(ran) == 40, "all have run")
        for n in range(4):
            check([k for m, k in ran if m == n] == list(range(10)), "in the order of the calls")

    runtime = Threaded()
    for _ in range(5):
        assert runtime.run(program).failure is None
        assert sum(task.name.partition("#")[0] == "rcu" for task in runtime.tasks) == 4


def test_a_thread_that_cannot_start_is_an_error_and_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    from sugarbush.concurrency import ConcurrencyError

    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("2 "):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)

    def program() -> None:
        spawn(abba)
        spawn(abba)

    with pytest.raises(ConcurrencyError, match="no thread could be started for task 2"):
        Threaded().run(program)


def test_one_runtime_runs_again_after_a_failure() -> None:
    runtime = Threaded()
    assert runtime.run(lambda: check(False, "first")).failure is not None
    assert runtime.run(lambda: None).failure is None
    assert BARE.threaded(1).run(lambda: check(False, "second")).failure is not None


def test_a_thread_that_waits_outside_the_runtime_is_a_stall_with_all_that_is_held() -> None:
    foreign = threading.Lock()
    foreign.acquire()

    def stuck() -> None:
        with Mutex("ours"):
            foreign.acquire()

    def program() -> None:
        join(spawn(stuck, name="ann"))

    try:
        settings = Settings(patience=0.2, without=frozenset({"foreign"}))
        result = explore(program, runtime="threaded", executions=1, settings=settings)
    finally:
        foreign.release()
    failure = result.failures[0].failure
    assert failure.kind is Kind.STALL
    assert failure.headline == "stall: no operation for 0.2 s"
    assert "(ann)" in failure.detail
    assert "holds ours" in failure.detail
    assert "stuck at" in failure.detail
