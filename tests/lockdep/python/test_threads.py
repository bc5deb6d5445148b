"""The validator on real threads."""

from __future__ import annotations

import gc
import pickle
import signal
import threading
import weakref
from collections.abc import Callable

import pytest

from sugarbush.lockdep import LockClassKey, ReportKind
from sugarbush.lockdep.engine.waiting import wait_map
from sugarbush.lockdep.model.task import TaskContext
from sugarbush.lockdep.python.threads import ThreadMonitor
from sugarbush.lockdep.reports import CircularReport
from sugarbush.lockdep.show.listings import lock_stat_text
from sugarbush.lockdep.show.lockstat import LockStat
from sugarbush.lockdep.show.snapshot import take


def run(*bodies: Callable[[], None]) -> None:
    """Runs each body to its end in a thread of its own, one after the other."""
    for index, body in enumerate(bodies):
        thread = threading.Thread(target=body, name=f"worker{index}")
        thread.start()
        thread.join()


def test_abba_is_found_though_the_threads_never_met() -> None:
    monitor = ThreadMonitor()
    a, b = monitor.Lock("a"), monitor.Lock("b")

    def forth() -> None:
        with a, b:
            pass

    def back() -> None:
        with b, a:
            pass

    run(forth, back)
    (report,) = monitor.lockdep.reports
    assert isinstance(report, CircularReport)
    assert report.task.comm == "worker1"
    assert report.stack[0].function.endswith("back")
    assert report.stack[0].file == __file__


def test_locks_of_one_line_share_a_class_and_locks_of_one_key_too() -> None:
    monitor = ThreadMonitor()
    pair = [monitor.Lock() for _ in range(2)]
    with pair[0], pair[1]:
        pass
    key = LockClassKey("account")
    first, second = monitor.Lock(key=key), monitor.Lock("account", key=key)
    with first, second:
        pass
    assert [report.kind for report in monitor.lockdep.reports] == [ReportKind.RECURSIVE] * 2
    assert "python/test_threads.py:" in monitor.lockdep.reports[0].render()


def test_lock_behaves_like_threadings() -> None:
    lock = ThreadMonitor().Lock("lock")
    assert lock.acquire()
    assert lock.locked()
    assert not lock.acquire(blocking=False)
    assert not lock.acquire(timeout=0.001)
    lock.release()
    assert not lock.locked()
    with pytest.raises(RuntimeError):
        lock.release()


def test_another_thread_may_give_a_lock_back_and_no_cycle_comes_of_it() -> None:
    monitor = ThreadMonitor()
    lock, other = monitor.Lock("lock"), monitor.Lock("other")
    lock.acquire()
    run(lock.release)
    assert not lock.locked()
    with other:
        pass
    with other, lock:
        pass
    assert monitor.lockdep.reports == []
    assert monitor.current().held == []


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_an_exception_out_of_a_wait_leaves_nothing_held(kind: str) -> None:
    class Stop(BaseException):
        pass

    monitor = ThreadMonitor()
    lock, other = getattr(monitor, kind)("lock"), monitor.Lock("other")
    holds, go = threading.Event(), threading.Event()

    def holder() -> None:
        with lock:
            holds.set()
            go.wait()

    def stop(*_: object) -> None:
        raise Stop

    thread = threading.Thread(target=holder)
    thread.start()
    holds.wait()
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    try:
        with pytest.raises(Stop):
            lock.acquire()
    finally:
        signal.signal(signal.SIGALRM, before)
        go.set()
        thread.join()
    assert monitor.current().held == []
    with other, lock:
        pass
    assert monitor.lockdep.reports == []


def test_a_condition_works_with_either_lock() -> None:
    monitor = ThreadMonitor()
    for lock in (monitor.Lock("lock"), monitor.RLock("rlock")):
        condition, ready = threading.Condition(lock), []

        def body(condition: threading.Condition = condition, ready: list[int] = ready) -> None:
            with condition:
                ready.append(1)
                condition.notify()

        with condition:
            thread = threading.Thread(target=body)
            thread.start()
            assert condition.wait_for(lambda ready=ready: ready, timeout=60)
        thread.join()
    rlock = monitor.RLock("deep")
    deep = threading.Condition(rlock)
    with rlock, deep:
        assert not deep.wait(timeout=0.001)
    with pytest.raises(RuntimeError):
        deep.notify()
    assert monitor.lockdep.reports == []
    assert monitor.current().held == []


def test_parent_and_child_are_right_with_a_subclass_a_nest_lock_or_ranks() -> None:
    monitor = ThreadMonitor()
    key = LockClassKey("node")
    parent, child = monitor.Lock("node", key=key), monitor.Lock("node", key=key, subclass=1)
    with parent, child:
        pass
    first, second = monitor.Lock("item"), monitor.Lock("item")
    with parent:
        first.acquire(nest_lock=parent)
        second.acquire(nest_lock=parent)
        second.release()
        first.release()
    with first:
        second.acquire(subclass=1)
        second.release()
    ranked = [monitor.Lock("account", rank=rank) for rank in (1, 2)]
    with ranked[0], ranked[1]:
        pass
    assert monitor.lockdep.reports == []
    with ranked[1], ranked[0]:
        pass
    assert [report.kind for report in monitor.lockdep.reports] == [ReportKind.RECURSIVE]


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_locks_are_weakly_referenced_hashed_and_refused_by_pickle_as_real_ones_are(kind: str) -> None:
    lock = getattr(ThreadMonitor(), kind)("lock")
    real = getattr(threading, kind)()
    assert weakref.ref(lock)() is lock
    assert {lock: 1}[lock] == 1
    with pytest.raises(TypeError) as raised:
        pickle.dumps(lock)
    with pytest.raises(TypeError) as expected:
        pickle.dumps(real)
    assert str(raised.value) == str(expected.value)
    assert set(dir(real)) <= set(dir(lock)) | {"__doc__"}
    for wrong in ((True, -2), (False, 1)):
        with pytest.raises(ValueError, match=r"timeout") as raised_too:
            lock.acquire(*wrong)
        with pytest.raises(ValueError, match=r"timeout") as expected_too:
            real.acquire(*wrong)
        assert str(raised_too.value) == str(expected_too.value)


def test_a_collection_in_the_middle_of_everything_finds_the_monitor_whole() -> None:
    monitor = ThreadMonitor()
    locks = [monitor.Lock(f"lock{index}") for index in range(4)]
    shared = monitor.Lock("finaliser's own")

    class Noisy:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            with shared:
                pass

    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:

        def body() -> None:
            for first in locks:
                for second in locks[locks.index(first) + 1 :]:
                    Noisy()
                    with first, second:
                        Noisy()

        run(body, body)
    finally:
        gc.set_threshold(*threshold)
    assert [report for report in monitor.lockdep.reports if report.kind is not ReportKind.CIRCULAR] == []
    assert monitor.current().held == []


def test_a_report_reaches_standard_error_at_once_in_words_of_python(
    capsys: pytest.CaptureFixture[str],
) -> None:
    monitor = ThreadMonitor()

    class Pool:
        def __init__(self) -> None:
            self.lock = monitor.Lock()
            self.free = monitor.Lock()

    pool = Pool()
    with pool.lock, pool.free:
        pass
    with pool.free, pool.lock:
        told = capsys.readouterr().err
    assert "possible deadlock" in told
    assert f"Pool.lock (made at {__file__}:" in told
    assert "with pool.free, pool.lock:" in told
    for word in ("CPU0", "{+.+.}", "tainted"):
        assert word not in told


def test_a_failed_try_leaves_nothing_held_and_a_good_one_makes_no_cycle() -> None:
    monitor = ThreadMonitor()
    a, b = monitor.Lock("a"), monitor.Lock("b")
    with a, b:
        assert not b.acquire(blocking=False)
    with b:
        assert a.acquire(blocking=False)
        a.release()
        assert a.acquire(timeout=100)
        a.release()
    assert monitor.lockdep.reports == []
    assert monitor.current().held == []


def test_rlock_may_be_taken_again_by_its_owner_only() -> None:
    monitor = ThreadMonitor()
    lock, other = monitor.RLock("lock"), monitor.Lock("other")
    refused: list[bool] = []
    with lock, other, lock:
        run(lambda: refused.append(lock.acquire(blocking=False)))
    assert refused == [False]
    with lock:
        pass
    assert monitor.lockdep.reports == []
    with pytest.raises(RuntimeError):
        lock.release()


def test_rlocks_have_an_order_too() -> None:
    monitor = ThreadMonitor()
    a, b = monitor.RLock("a"), monitor.RLock("b")
    with a, b:
        pass
    with b, a:
        pass
    assert [report.kind for report in monitor.lockdep.reports] == [ReportKind.CIRCULAR]


def test_a_thread_that_ends_with_a_lock() -> None:
    monitor = ThreadMonitor()
    lock = monitor.Lock("lock")

    def body() -> None:
        lock.acquire()
        monitor.thread_exit()

    run(body)
    assert monitor.lockdep.reports[0].headline == "WARNING: worker0/2 still has locks held!"


def test_many_threads_at_once_see_one_graph() -> None:
    monitor = ThreadMonitor()
    locks = [monitor.Lock(f"lock{index}") for index in range(6)]
    start = threading.Barrier(8)

    def body() -> None:
        start.wait()
        for first in range(5):
            for second in range(first + 1, 6):
                with locks[first], locks[second]:
                    pass

    threads = [threading.Thread(target=body) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert monitor.lockdep.reports == []
    snapshot = take(monitor.lockdep)
    assert len(snapshot.edges) == 15
    assert len(snapshot.chains) == 5 + 15


class Clock:
    """Nanoseconds that pass only when told to."""

    now = 0

    def __call__(self) -> int:
        return self.now


def test_lock_stat_counts_waits_holds_and_bounces() -> None:
    clock, tasks = Clock(), [TaskContext("one", 1), TaskContext("two", 2)]
    current = tasks[0]
    stat = LockStat(lambda: current, clock)
    lock = wait_map("lock")
    stat.acquired(lock)
    clock.now = 2_000
    current = tasks[1]
    stat.contended(lock)
    clock.now = 5_000
    current = tasks[0]
    stat.released(lock)
    clock.now = 6_000
    current = tasks[1]
    stat.acquired(lock)
    clock.now = 7_000
    stat.released(lock)
    (row,) = stat.rows()
    assert (row["name"], row["contentions"], row["acquisitions"]) == ("lock", 1, 2)
    assert (row["acq-bounces"], row["con-bounces"]) == (1, 1)
    assert (row["waittime-min"], row["waittime-max"], row["waittime-total"]) == (4.0, 4.0, 4.0)
    assert (row["holdtime-min"], row["holdtime-max"], row["holdtime-total"]) == (1.0, 5.0, 6.0)
    assert row["holdtime-avg"] == 3.0
    (waited,), (held,) = row["contention points"], row["contending points"]
    assert "test_lock_stat" in waited
    assert "test_lock_stat" in held
    stat.clear()
    assert stat.rows() == ()


def test_lock_stat_tells_readers_from_writers() -> None:
    task = TaskContext("one", 1)
    stat = LockStat(lambda: task, Clock())
    lock = wait_map("rwsem")
    for read in (0, 1, 1):
        stat.acquired(lock, read)
        stat.released(lock)
    assert {row["name"]: row["acquisitions"] for row in stat.rows()} == {"rwsem-W": 1, "rwsem-R": 2}


def test_lock_stat_of_threads_is_listed() -> None:
    monitor = ThreadMonitor(stat=True)
    lock = monitor.Lock("lock")
    with lock:
        assert monitor.lock_stat is not None
        monitor.lock_stat.contended(lock.dep_map)
        (row,) = monitor.lock_stat.rows()
        assert [site.partition(" ")[0] for site in row["contending points"]] == [
            "test_lock_stat_of_threads_is_listed"
        ]
    monitor.lock_stat.clear()
    waiting = threading.Event()

    def body() -> None:
        waiting.set()
        with lock:
            pass

    with lock:
        thread = threading.Thread(target=body)
        thread.start()
        waiting.wait()
    thread.join()
    assert lock.acquire(blocking=False)
    lock.release()
    assert monitor.lock_stat is not None
    text = lock_stat_text(take(monitor.lockdep, monitor.lock_stat.rows()))
    assert text.startswith("lock_stat version 0.4\n")
    (row,) = monitor.lock_stat.rows()
    assert row["acquisitions"] == 3
    assert f"{'lock:':>40}" in text
