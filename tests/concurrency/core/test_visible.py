"""Whatever a result depends on is an operation: a search that leaves out orders finds what plain enumeration finds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from concurrency_programs import Cell

from sugarbush.concurrency import (
    Barrier,
    ConcurrencyError,
    Condition,
    KmemCache,
    Mutex,
    Once,
    RcuHead,
    Result,
    RwLock,
    RwSemaphore,
    Semaphore,
    SeqCount,
    Shared,
    SrcuStruct,
    Verdict,
    WaitQueue,
    call_rcu,
    call_srcu,
    check,
    cleanup_srcu_struct,
    destroy_rcu_head_on_stack,
    explore,
    init_rcu_head_on_stack,
    join,
    kfree_rcu,
    rcu_cpu_stall_timeout,
    rcu_reader,
    spawn,
    srcu_read_lock,
    srcu_read_unlock,
    synchronize_rcu,
    wake_up_process,
)
from sugarbush.concurrency.lowlevel import Operation, domain, peek, perform
from sugarbush.concurrency.memory.pressure import Pressure
from sugarbush.lockdep.model.gfp import GFP_KERNEL

Program = Callable[[], Any]


class Node(Shared):
    value: Once[int] = 0


class Two(Shared):
    a: Once[int] = 0
    b: Once[int] = 0


def by(strategy: str, program: Program, **how: Any) -> Result:
    return explore(program, strategy=strategy, executions=20_000, **how)


def nothing(_arg: object) -> None:
    """What a callback does."""


# -- one task touches its own field first, so that nothing else orders it ------------------------------------


def cleanup_beside_a_reader() -> None:
    ssp, two = SrcuStruct("domain"), Two()

    def clean() -> None:
        two.a = 1
        cleanup_srcu_struct(ssp)

    def reader() -> None:
        two.b = 1
        srcu_read_unlock(ssp, srcu_read_lock(ssp))

    spawn(clean)
    spawn(reader)


def head_on_a_stack_that_ends() -> None:
    two = Two()

    def task() -> None:
        head = RcuHead()
        init_rcu_head_on_stack(head)
        call_rcu(nothing, None, head)
        two.a = 1

    spawn(task)


def head_destroyed() -> None:
    two = Two()

    def task() -> None:
        head = RcuHead()
        init_rcu_head_on_stack(head)
        call_rcu(nothing, None, head)
        two.a = 1
        destroy_rcu_head_on_stack(head)

    spawn(task)


def head_queued_by_another_task() -> None:
    head, two = RcuHead(), Two()

    def owner() -> None:
        two.a = 1
        init_rcu_head_on_stack(head)

    def other() -> None:
        two.b = 1
        call_rcu(nothing, None, head)

    spawn(owner)
    spawn(other)


def head_freed_beside_kfree_rcu() -> None:
    cache, two = KmemCache("node", Node, stepped=True), Two()
    node = cache.alloc(GFP_KERNEL)

    def frees_later() -> None:
        two.a = 1
        kfree_rcu(cache, node)

    def frees_now() -> None:
        two.b = 1
        cache.free(node)

    spawn(frees_later)
    spawn(frees_now)


def lock_looked_at() -> None:
    lock, two = Mutex("lock"), Two()

    def takes() -> None:
        with lock:
            pass

    def looks() -> None:
        two.a = 1
        check(not lock.is_locked(), "nobody holds it")

    spawn(looks)
    spawn(takes)


def semaphore_looked_at() -> None:
    lock, two = RwSemaphore("lock"), Two()

    def takes() -> None:
        lock.down_read()
        lock.up_read()

    def looks() -> None:
        two.a = 1
        check(lock.free, "nobody holds it")

    spawn(looks)
    spawn(takes)


def attribute_looked_at(number: int) -> None:
    """Each attribute tells what another task does."""
    two = Two()
    mutex, rwsem, rwlock = Mutex("lock"), RwSemaphore("rwsem"), RwLock("rwlock")
    semaphore, seqcount, barrier = Semaphore(), SeqCount(), Barrier(2)

    def acts() -> int:
        with mutex, semaphore:
            rwsem.down_read()
            rwsem.up_read()
            rwlock.write_lock()
            rwlock.write_unlock()
        seqcount.write_begin()
        seqcount.write_end()
        barrier.abort()
        return 1

    def looks() -> None:
        two.a = 1
        check(not attributes[number](), "nobody has done anything")

    task = spawn(acts)
    attributes: list[Callable[[], object]] = [
        lambda: mutex.owner,
        lambda: rwsem.readers,
        lambda: rwlock.writer,
        lambda: semaphore.count == 0,
        lambda: seqcount.sequence % 2,
        lambda: barrier.broken,
        lambda: task.done,
        lambda: task.result,
    ]
    spawn(looks)


def about_to_sleep() -> None:
    queue, lock, two = WaitQueue("queue"), Mutex("lock"), Two()

    def sleeper() -> None:
        queue.prepare_to_wait()
        two.a = 1
        with lock:
            pass
        queue.finish_wait()

    spawn(sleeper)
    spawn(queue.wake_up_all)


def callback_of_srcu_is_waited_for() -> None:
    ssp, two = SrcuStruct("domain"), Two()

    def callback(_arg: object) -> None:
        two.a = 1
        two.a = 2

    def waits() -> None:
        synchronize_rcu()
        check(two.a != 1, "no callback is half done")

    spawn(call_srcu, ssp, callback, None)
    spawn(waits)


@pytest.mark.parametrize(
    ("program", "headline"),
    [
        (cleanup_beside_a_reader, "WARNING: cleanup_srcu_struct(): active srcu_struct domain"),
        (head_on_a_stack_that_ends, "ODEBUG: free active"),
        (head_destroyed, "ODEBUG: free active"),
        (head_queued_by_another_task, "ODEBUG: init active"),
        (head_queued_by_another_task, "ODEBUG: free active"),
        (head_freed_beside_kfree_rcu, "BUG: KASAN: slab-use-after-free in node.rcu_head"),
        (head_freed_beside_kfree_rcu, "BUG: KASAN: double-free of node"),
        (lock_looked_at, "check failed: nobody holds it"),
        (semaphore_looked_at, "check failed: nobody holds it"),
        *[
            (partial(attribute_looked_at, number), "check failed: nobody has done anything")
            for number in range(8)
        ],
        (about_to_sleep, "WARNING: do not call blocking ops when !TASK_RUNNING"),
        (callback_of_srcu_is_waited_for, "check failed: no callback is half done"),
    ],
)
@pytest.mark.parametrize("strategy", ["dpor", "dfs"])
def test_what_another_task_decides_is_found_in_every_order(
    strategy: str, program: Program, headline: str
) -> None:
    result = by(strategy, program, keep_going=True)
    assert any(witness.failure.headline.startswith(headline) for witness in result.failures)


@pytest.mark.parametrize("strategy", ["dpor", "dfs"])
def test_waking_a_task_that_may_be_on_a_queue_is_refused_in_every_order(strategy: str) -> None:
    def program() -> None:
        queue, two = WaitQueue("queue"), Two()

        def sleeper() -> None:
            queue.prepare_to_wait()
            queue.finish_wait()

        task = spawn(sleeper)

        def waker() -> None:
            two.a = 1
            wake_up_process(task)

        spawn(waker)

    with pytest.raises(ConcurrencyError, match="waits on a queue"):
        by(strategy, program)


@pytest.mark.parametrize("strategy", ["dpor", "dfs"])
@pytest.mark.parametrize("waits", [True, False])
def test_a_head_that_has_run_may_go(strategy: str, waits: bool) -> None:
    def program() -> None:
        head = RcuHead()
        done = WaitQueue("done")
        two = Two()

        def callback(_arg: object) -> None:
            two.a = 1
            done.wake_up()

        init_rcu_head_on_stack(head)
        call_rcu(callback, None, head)
        if waits:
            done.wait_event(lambda: two.a)
            destroy_rcu_head_on_stack(head)

    assert by(strategy, program).verdict is (Verdict.PASSED if waits else Verdict.FAILED)


# -- what counts in operations of all tasks has no order of its own ------------------------------------------


def other_work(timeout: int) -> None:
    """A grace period that stalls if another task's work comes while a reader is open, which nothing orders."""
    two = Two()
    rcu_cpu_stall_timeout(timeout)

    def reader() -> None:
        with rcu_reader():
            pass

    def other() -> None:
        for number in range(timeout):
            two.a = number

    spawn(other)
    spawn(reader)
    spawn(synchronize_rcu)


def short_time_out() -> None:
    other_work(6)


def test_a_search_that_leaves_out_orders_does_not_pass_what_may_stall() -> None:
    """It has seen every trace, and in none of those the work came in time."""
    result = explore(short_time_out, strategy="dpor")
    assert result.exhaustive
    assert not result.failures
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "stalls of RCU, which are counted in operations" in result.scope
    found = explore(short_time_out, strategy="random", executions=300).failures[0]
    assert found.failure.headline.startswith("INFO: rcu_preempt detected stalls")


@pytest.mark.parametrize("jobs", [1, 2])
def test_doubt_comes_from_other_processes_too(jobs: int) -> None:
    assert explore(short_time_out, strategy="dpor", jobs=jobs).doubts
    assert jobs > 1 or explore(no_time_out, strategy="dpor").verdict is Verdict.PASSED


def no_time_out() -> None:
    """An execution that is shorter than the time-out cannot stall, in whatever order."""
    with rcu_reader():
        pass
    spawn(synchronize_rcu)


# -- one number for all tasks --------------------------------------------------------------------------------


def test_which_allocation_reclaims_is_seen_in_every_order() -> None:
    def program() -> None:
        pressure, two = domain(Pressure), Two()
        pressure.chances, pressure.reclaim = 1, lambda: setattr(two, "a", two.a + 1)
        cache = KmemCache("node", Node)

        def task() -> None:
            two.b = 1
            cache.free(cache.alloc(GFP_KERNEL))

        join(spawn(task), spawn(task))
        check(two.a == 0, "nobody reclaims")

    result = by("dpor", program, keep_going=True)
    assert result.exhaustive
    assert [one.failure.headline for one in result.failures] == ["check failed: nobody reclaims"]
    # Either task reclaims, or neither.
    assert result.executions - result.times.total() >= 1


def test_how_many_are_notified_is_decided_in_the_operation() -> None:
    """The number that wait changes as they wake, which needs no lock."""

    def program() -> None:
        condition, two = Condition(name="condition"), Two()

        def waiter() -> None:
            with condition:
                two.a += 1
                condition.wait()

        def notifier() -> None:
            with condition:
                if two.a == 2:
                    condition.notify(1)
                    two.b = 1
                    condition.notify(2)
                else:
                    two.b = 2

        spawn(waiter)
        spawn(waiter)
        spawn(notifier)

    headlines = {
        strategy: {
            one.failure.headline for one in by(strategy, program, keep_going=True, depth=depth).failures
        }
        for strategy, depth in (("dpor", None), ("dfs", 1))
    }
    assert headlines["dpor"] == headlines["dfs"] != set()


# -- who waits is told ---------------------------------------------------------------------------------------


class Box:
    name = "box"

    def __init__(self) -> None:
        self.full = False


def _fill(box: Box, _task: object, _arg: object) -> None:
    box.full = True


def _is_full(box: Box, _task: object) -> bool:
    return box.full


WAIT = Operation("wait", ready=_is_full, local=True)
FILL = Operation("fill", effect=_fill, local=True)
FILL_SILENTLY = Operation("fill", effect=_fill, local=True, wakes=False)
STRATEGIES = ["dfs", "dpor", "random", "pct", "pos", "surw"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_who_forgets_to_say_that_it_wakes_wakes(strategy: str) -> None:
    def program() -> None:
        box = Box()
        spawn(perform, WAIT, box)
        spawn(perform, FILL, box)

    result = explore(program, strategy=strategy, executions=30)
    assert not result.failures
    assert (result.verdict is Verdict.PASSED) == (strategy in ("dfs", "dpor"))


@pytest.mark.parametrize("runtime", ["simulated", "threaded"])
@pytest.mark.parametrize("strategy", ["dfs", "dpor"])
def test_who_says_that_it_does_not_wake_and_does_makes_no_deadlock_but_doubt(
    strategy: str, runtime: str
) -> None:
    def program() -> None:
        box = Box()
        spawn(perform, WAIT, box)
        spawn(perform, FILL_SILENTLY, box)

    result = explore(program, strategy=strategy, executions=20, runtime=runtime)
    assert not result.failures
    assert result.verdict is Verdict.INCONCLUSIVE
    assert runtime == "threaded" or "wakes=True" in result.scope


@pytest.mark.parametrize("strategy", ["dfs", "dpor"])
def test_a_field_that_is_waited_for_makes_no_false_deadlock(strategy: str) -> None:
    """A store is a step, after which nobody is asked again."""
    waits = Operation("wait", ready=lambda two, _task: peek(two, "a") == 1)

    def program() -> None:
        two = Two()
        spawn(perform, waits, two)
        two.a = 1

    result = by(strategy, program)
    assert not result.failures
    assert result.verdict is Verdict.INCONCLUSIVE or not result.doubts


def test_an_ordering_that_nobody_hands_on_is_refused_when_the_next_program_runs() -> None:
    Operation("wrlock", effect=_fill, acquires=("tetrahedron",))
    Operation("wrunlock", effect=_fill, releases=("tetrahedorn",))
    with pytest.raises(
        ConcurrencyError, match=r"wrlock acquires .*'tetrahedron'.*did you mean 'tetrahedorn'"
    ):
        explore(Cell, executions=1)
    with pytest.raises(ConcurrencyError, match=r"wrunlock releases the ordering 'tetrahedorn', which no"):
        explore(Cell, executions=1)
    assert explore(Cell, executions=1).executions == 1


def test_the_index_of_a_reader_tells_nothing_of_others() -> None:
    """Readers are independent, so what one gets must not depend on how many came before."""

    def program() -> None:
        ssp = SrcuStruct("domain")
        seen: dict[str, int] = {}

        def reader(name: str) -> None:
            seen[name] = srcu_read_lock(ssp)
            srcu_read_unlock(ssp, seen[name])

        join(spawn(reader, "a"), spawn(reader, "b"))
        found.add(tuple(sorted(seen.items())))

    for strategy in ("dfs", "dpor"):
        found: set[Any] = set()
        assert by(strategy, program).exhaustive
        assert len(found) == 1
