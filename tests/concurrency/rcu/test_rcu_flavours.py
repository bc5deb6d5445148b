"""bh and sched readers, SRCU, Tasks RCU, polled grace periods, heads: what each waits for, and what each reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from concurrency_programs import BARE, NO_RACES, Cell, clean, every_execution, first_failure, outcomes

from sugarbush.concurrency import (
    ConcurrencyError,
    Kind,
    KmemCache,
    Mutex,
    RcuHead,
    Settings,
    Shared,
    Spinlock,
    SrcuStruct,
    Unshared,
    call_rcu,
    call_rcu_tasks,
    call_srcu,
    check,
    cleanup_srcu_struct,
    cond_resched_tasks_rcu_qs,
    cond_synchronize_rcu,
    destroy_rcu_head_on_stack,
    explore,
    get_completed_synchronize_rcu,
    get_state_synchronize_rcu,
    get_state_synchronize_srcu,
    hardirq,
    init_rcu_head_on_stack,
    join,
    kfree_rcu,
    kfree_rcu_mightsleep,
    local_bh_disable,
    local_bh_enable,
    local_irq_disable,
    local_irq_enable,
    poll_state_synchronize_rcu,
    poll_state_synchronize_srcu,
    preempt_disable,
    preempt_enable,
    rcu_barrier,
    rcu_barrier_tasks,
    rcu_cpu_stall_timeout,
    rcu_read_lock,
    rcu_read_lock_any_held,
    rcu_read_lock_bh,
    rcu_read_lock_bh_held,
    rcu_read_lock_held,
    rcu_read_lock_sched,
    rcu_read_lock_sched_held,
    rcu_read_unlock,
    rcu_read_unlock_bh,
    rcu_read_unlock_sched,
    rcu_reader,
    softirq,
    spawn,
    srcu_barrier,
    srcu_read_lock,
    srcu_read_lock_held,
    srcu_read_unlock,
    srcu_reader,
    start_poll_synchronize_rcu,
    start_poll_synchronize_srcu,
    synchronize_rcu,
    synchronize_rcu_expedited,
    synchronize_rcu_tasks,
    synchronize_srcu,
    synchronize_srcu_expedited,
    user_mode,
)
from sugarbush.lockdep.model.gfp import GFP_KERNEL

BALANCE = "WARNING: bad unlock balance detected!"
SUSPICIOUS = "WARNING: suspicious RCU usage"


@contextmanager
def between(begin: Callable[[], Any], end: Callable[[], Any]) -> Iterator[None]:
    begin()
    yield
    end()


STRETCHES: dict[str, Callable[[], Any]] = {
    "rcu": rcu_reader,
    "bh": lambda: between(rcu_read_lock_bh, rcu_read_unlock_bh),
    "sched": lambda: between(rcu_read_lock_sched, rcu_read_unlock_sched),
    "preempt": lambda: between(preempt_disable, preempt_enable),
    "bottom halves": lambda: between(local_bh_disable, local_bh_enable),
    "interrupts": lambda: between(local_irq_disable, local_irq_enable),
    "hardirq": hardirq,
    "softirq": softirq,
    "spinlock": lambda: Spinlock("s"),
}


def order_of(enter: Callable[[], Any], wait: Callable[[], Any]) -> set[tuple[str, ...]]:
    """In which order a reader and a grace period may begin and end, over all schedules."""

    def program(log: list[str]) -> None:
        cell = Cell()

        def read() -> None:
            with enter():
                log.append("reader")
                cell.once  # noqa: B018
                log.append("over")

        def update() -> None:
            cell.once  # noqa: B018
            log.append("begin")
            wait()
            log.append("end")

        join(spawn(read), spawn(update))

    return outcomes(program)


@pytest.mark.parametrize("wait", [synchronize_rcu, synchronize_rcu_expedited])
@pytest.mark.parametrize("stretch", list(STRETCHES))
def test_one_grace_period_waits_for_every_kind_of_reader(stretch: str, wait: Callable[[], Any]) -> None:
    orders = order_of(STRETCHES[stretch], wait)
    assert ("reader", "begin", "end", "over") not in orders, "it waits for a reader from before"
    assert ("reader", "begin", "over", "end") in orders
    assert ("begin", "reader", "end", "over") in orders, "it does not wait for a later one"
    assert all(order.index("begin") < order.index("end") for order in orders)


def test_stretches_that_overlap_are_one_reader() -> None:
    """rcu_read_unlock() with preemption off ends nothing, and the other way round."""

    def program(log: list[str]) -> None:
        cell = Cell()

        def read() -> None:
            rcu_read_lock()
            log.append("reader")
            preempt_disable()
            rcu_read_unlock()
            local_bh_disable()
            preempt_enable()
            cell.once  # noqa: B018
            log.append("over")
            local_bh_enable()

        def update() -> None:
            log.append("begin")
            synchronize_rcu()
            log.append("end")

        join(spawn(read), spawn(update))

    orders = outcomes(program)
    assert ("reader", "begin", "end", "over") not in orders
    assert ("reader", "begin", "over", "end") in orders


def test_a_callback_waits_for_the_stretch_in_which_it_was_queued(run) -> None:
    def program() -> None:
        ran: list[int] = []
        with Spinlock("s"):
            call_rcu(ran.append, 1)
            Cell().once  # noqa: B018
            check(not ran, "the caller itself is a reader")
        rcu_barrier()
        check(ran == [1], "it has run")

    assert run(program) is None


def test_who_holds_what(run) -> None:
    def program() -> None:
        check(not rcu_read_lock_any_held(), "outside")
        with rcu_reader():
            check(rcu_read_lock_held() and rcu_read_lock_any_held(), "rcu")
            check(not rcu_read_lock_bh_held() and not rcu_read_lock_sched_held(), "preemptible")
        rcu_read_lock_bh()
        check(rcu_read_lock_bh_held() and rcu_read_lock_sched_held() and not rcu_read_lock_held(), "bh")
        rcu_read_unlock_bh()
        rcu_read_lock_sched()
        check(rcu_read_lock_sched_held() and not rcu_read_lock_bh_held(), "sched")
        rcu_read_unlock_sched()
        with Spinlock("s"):
            check(rcu_read_lock_any_held() and not rcu_read_lock_held(), "a spinlock")
        check(not rcu_read_lock_any_held(), "outside again")

    assert run(program) is None


@pytest.mark.parametrize(
    ("unlock", "words"),
    [
        (rcu_read_unlock, "rcu_read_unlock() without rcu_read_lock()"),
        (rcu_read_unlock_bh, "rcu_read_unlock_bh() without rcu_read_lock_bh()"),
        (rcu_read_unlock_sched, "rcu_read_unlock_sched() without rcu_read_lock_sched()"),
    ],
)
def test_unlock_without_lock(run, unlock: Callable[[], Any], words: str) -> None:
    failure = run(unlock)
    assert (failure.kind, failure.headline, failure.detail.splitlines()[0]) == (Kind.RCU, BALANCE, words)


def test_a_bh_reader_is_not_ended_by_a_sched_unlock(run) -> None:
    def program() -> None:
        rcu_read_lock_bh()
        rcu_read_unlock_sched()

    assert run(program).detail.startswith("rcu_read_unlock_sched() without rcu_read_lock_sched()\nat ")


@pytest.mark.parametrize(
    ("lock", "flavour"), [(rcu_read_lock, ""), (rcu_read_lock_bh, "-bh"), (rcu_read_lock_sched, "-sched")]
)
def test_ending_inside_a_reader(run, lock: Callable[[], Any], flavour: str) -> None:
    failure = run(lambda: join(spawn(lock, name="forgetful")))
    assert failure.headline == f"WARNING: forgetful ended inside an RCU{flavour} read-side critical section"
    assert failure.task == "forgetful"


@pytest.mark.parametrize("lock", [rcu_read_lock, rcu_read_lock_bh, rcu_read_lock_sched])
@pytest.mark.parametrize(
    "wait",
    [synchronize_rcu, synchronize_rcu_expedited, rcu_barrier, synchronize_rcu_tasks, rcu_barrier_tasks],
)
def test_no_waiting_inside_a_reader(run, lock: Callable[[], Any], wait: Callable[[], Any]) -> None:
    def program() -> None:
        lock()
        wait()

    failure = run(program)
    assert (failure.kind, failure.headline) == (Kind.RCU, SUSPICIOUS)
    assert f"Illegal {wait.__name__}() in RCU read-side critical section!" in failure.detail


@pytest.mark.parametrize("lock", [rcu_read_lock_bh, rcu_read_lock_sched, preempt_disable])
def test_no_sleeping_inside_a_reader(run, lock: Callable[[], Any]) -> None:
    def program() -> None:
        lock()
        Mutex("m").lock()

    assert run(program).headline.startswith("BUG: sleeping function called from invalid context")


def test_preempt_enable_without_disable(run) -> None:
    assert run(preempt_enable).headline == "WARNING: preempt_enable() without preempt_disable()"


# -- SRCU -------------------------------------------------------------------------------------------------------------


def test_srcu_readers_may_sleep_and_only_their_domain_waits() -> None:
    def orders(same: bool) -> set[tuple[str, ...]]:
        def program(log: list[str]) -> None:
            mine, other, mutex = SrcuStruct("mine"), SrcuStruct("other"), Mutex("m")

            def read() -> None:
                with srcu_reader(mine), mutex:
                    log.append("reader")
                    Cell().once  # noqa: B018
                    log.append("over")

            def update() -> None:
                log.append("begin")
                synchronize_srcu(mine if same else other)
                log.append("end")

            join(spawn(read), spawn(update))

        return outcomes(program)

    early = ("reader", "begin", "end", "over")
    assert early not in orders(same=True)
    assert ("begin", "reader", "end", "over") in orders(same=True)
    assert early in orders(same=False)


def test_rcu_does_not_wait_for_srcu_readers() -> None:
    orders = order_of(lambda: srcu_reader(SrcuStruct("s")), synchronize_rcu)
    assert ("reader", "begin", "end", "over") in orders


def test_synchronize_rcu_inside_an_srcu_reader_is_fine(run) -> None:
    def program() -> None:
        with srcu_reader(SrcuStruct("s")):
            synchronize_rcu()

    assert run(program) is None


@pytest.mark.parametrize("wait", [synchronize_srcu, synchronize_srcu_expedited, srcu_barrier])
@pytest.mark.parametrize("reader", ["same", "rcu", "other"])
def test_waiting_for_srcu_inside_readers(run, wait: Callable[[SrcuStruct], Any], reader: str) -> None:
    def program() -> None:
        mine, other = SrcuStruct("mine"), SrcuStruct("other")
        enter = {"same": lambda: srcu_reader(mine), "rcu": rcu_reader, "other": lambda: srcu_reader(other)}
        with enter[reader]():
            check(srcu_read_lock_held(mine) == (reader == "same"), "held")
            wait(mine)

    failure = run(program)
    if reader == "other":
        assert failure is None
        return
    assert failure.headline == SUSPICIOUS
    assert (
        f"Illegal {wait.__name__}() in same-type SRCU (or in RCU) read-side critical section!"
        in failure.detail
    )


def test_waiting_for_ones_own_srcu_reader_never_ends() -> None:
    def program() -> None:
        ssp = SrcuStruct("mine")
        with srcu_reader(ssp):
            synchronize_srcu(ssp)

    failure = first_failure(program, Settings(without=frozenset({"rcu", "lockdep"})))
    assert failure.kind is Kind.DEADLOCK
    assert "main waits in synchronize_srcu_wait(mine), held by main" in failure.detail
    assert "main: SRCU reader of mine, index" in failure.detail


@pytest.mark.parametrize("mistake", ["other index", "other domain", "twice", "literal"])
def test_a_wrong_srcu_index(run, mistake: str) -> None:
    def program() -> None:
        ssp, other = SrcuStruct("mine"), SrcuStruct("other")
        index, foreign = srcu_read_lock(ssp), srcu_read_lock(other)
        check(index != foreign, "indices tell of their domain")
        if mistake == "twice":
            srcu_read_unlock(ssp, index)
        srcu_read_unlock(
            ssp, {"other index": index + 1, "other domain": foreign, "literal": 0}.get(mistake, index)
        )

    failure = run(program, Settings(without=frozenset({"lockdep"})))
    assert failure.headline == BALANCE
    assert "main has no reader of this domain with that index" in failure.detail


def test_another_task_cannot_end_an_srcu_reader(run) -> None:
    def program() -> None:
        ssp = SrcuStruct("mine")
        index = srcu_read_lock(ssp)
        join(spawn(srcu_read_unlock, ssp, index, name="thief"))

    failure = run(program)
    assert failure.headline == BALANCE
    assert failure.task == "thief"


def test_srcu_readers_of_one_task_may_overlap(run) -> None:
    def program() -> None:
        ssp = SrcuStruct("mine")
        one, two = srcu_read_lock(ssp), srcu_read_lock(ssp)
        srcu_read_unlock(ssp, one)
        srcu_read_unlock(ssp, two)
        synchronize_srcu(ssp)
        cleanup_srcu_struct(ssp)

    assert run(program) is None


def test_ending_inside_an_srcu_reader_is_a_lock_that_is_held(run) -> None:
    failure = run(lambda: join(spawn(srcu_read_lock, SrcuStruct("mine"), name="forgetful")))
    assert failure.headline == "WARNING: forgetful/1 still has locks held!"
    assert "mine" in failure.detail


def test_srcu_and_a_mutex_in_both_orders_is_a_cycle() -> None:
    def program() -> None:
        ssp, mutex = SrcuStruct("mine"), Mutex("m")

        def read() -> None:
            with srcu_reader(ssp), mutex:
                pass

        def update() -> None:
            with mutex:
                synchronize_srcu(ssp)

        join(spawn(read), spawn(update))

    failure = first_failure(program)
    assert failure.headline == "WARNING: possible circular locking dependency detected"
    assert "-> #1 (mine)" in failure.detail or "-> #0 (mine)" in failure.detail
    assert first_failure(program, BARE).kind is Kind.DEADLOCK


def test_srcu_callbacks(run) -> None:
    def program() -> None:
        ssp, ran = SrcuStruct("mine"), []
        with srcu_reader(ssp):
            for n in range(3):
                call_srcu(ssp, ran.append, n)
            rcu_barrier()
            check(not ran, "not while the reader is open")
        srcu_barrier(ssp)
        check(ran == [0, 1, 2], "all, in order")
        cleanup_srcu_struct(ssp)

    assert run(program) is None


@pytest.mark.parametrize("left", ["reader", "callback"])
def test_cleaning_up_a_domain_in_use(run, left: str) -> None:
    def program() -> None:
        ssp = SrcuStruct("mine")
        index = srcu_read_lock(ssp)
        if left == "callback":
            call_srcu(ssp, lambda _: None, None)
            srcu_read_unlock(ssp, index)
        cleanup_srcu_struct(ssp)
        if left == "reader":
            srcu_read_unlock(ssp, index)

    failure = run(program)
    assert failure.headline == "WARNING: cleanup_srcu_struct(): active srcu_struct mine"
    first, place, *_ = failure.detail.splitlines()
    assert first == ("main is a reader" if left == "reader" else "1 callbacks have not run")
    assert place.startswith("at rcu/test_rcu_flavours.py:")


# -- Tasks RCU --------------------------------------------------------------------------------------------------------


def orders_of_tasks_rcu(pause: Callable[[Mutex], Any]) -> set[tuple[str, ...]]:
    """A task that is inside a trampoline until it pauses, and one that waits before it frees that."""

    def program(log: list[str]) -> None:
        cell, mutex = Cell(), Mutex("m")

        def jump() -> None:
            cell.once  # noqa: B018
            log.append("in")
            cell.once  # noqa: B018
            log.append("out")
            pause(mutex)
            cell.once  # noqa: B018
            log.append("later")

        def free() -> None:
            log.append("begin")
            synchronize_rcu_tasks()
            log.append("end")

        join(spawn(jump), spawn(free))

    return outcomes(program)


@pytest.mark.parametrize(
    "pause",
    [lambda mutex: mutex.lock() or mutex.unlock(), lambda _mutex: cond_resched_tasks_rcu_qs()],
    ids=["sleeps", "says so"],
)
def test_tasks_rcu_waits_until_a_task_sleeps(pause: Callable[[Mutex], Any]) -> None:
    orders = orders_of_tasks_rcu(pause)
    assert ("in", "begin", "end", "out", "later") not in orders
    assert ("in", "begin", "out", "end", "later") in orders


def test_tasks_rcu_takes_no_spinning_for_sleep() -> None:
    def program(log: list[str]) -> None:
        cell = Cell()

        def jump() -> None:
            cell.once  # noqa: B018
            log.append("in")
            cell.once  # noqa: B018
            with Spinlock("s"), rcu_reader():
                cell.once  # noqa: B018
            log.append("out")

        def free() -> None:
            log.append("begin")
            synchronize_rcu_tasks()
            log.append("end")

        join(spawn(jump), spawn(free))

    orders = outcomes(program)
    assert ("in", "begin", "end", "out") not in orders
    assert ("in", "begin", "out", "end") in orders


def test_tasks_rcu_waits_for_nobody_in_user_mode_or_asleep(run) -> None:
    def program() -> None:
        mutex, cell = Mutex("m"), Cell()

        def sleeper() -> None:
            with mutex:
                pass

        def user() -> None:
            with user_mode():
                while not cell.once:
                    pass

        mutex.lock()
        tasks = [spawn(sleeper), spawn(user)]
        synchronize_rcu_tasks()
        cell.once = 1
        mutex.unlock()
        join(*tasks)

    assert run(program) is None


def test_what_a_grace_period_of_tasks_rcu_orders() -> None:
    """What a task did before it slept or ended comes before what follows the grace period."""

    def program(wait: bool) -> None:
        cell, mutex = Cell(), Mutex("m")

        def jump(ends: bool) -> None:
            cell.plain  # noqa: B018
            if not ends:
                mutex.lock()
                mutex.unlock()
                cell.once  # noqa: B018

        tasks = [spawn(jump, True), spawn(jump, False)]
        if wait:
            synchronize_rcu_tasks()
        cell.plain = 1
        cell.once = 1
        join(*tasks)

    assert first_failure(lambda: program(False), strategy="random").kind is Kind.DATA_RACE
    clean(lambda: program(True))


def test_tasks_rcu_callbacks(run) -> None:
    def program() -> None:
        ran: list[int] = []
        call_rcu_tasks(ran.append, 1)
        rcu_barrier_tasks()
        check(ran == [1], "it has run")

    assert run(program) is None


def test_no_reader_in_user_mode_and_no_user_mode_in_a_reader(run) -> None:
    def inside() -> None:
        with user_mode():
            rcu_read_lock()

    def around() -> None:
        with rcu_reader(), user_mode():
            pass

    assert "rcu_read_lock() used illegally while idle!" in run(inside).detail
    assert "Illegal idle entry in RCU read-side critical section!" in run(around).detail


# -- polled grace periods ---------------------------------------------------------------------------------------------


def test_the_law_of_cookies() -> None:
    """Taken inside a reader, no cookie is true before it ends; after a full grace period every one is."""

    def program() -> None:
        cell = Cell()

        def read() -> None:
            rcu_read_lock()
            cookie = get_state_synchronize_rcu()
            cell.once  # noqa: B018
            check(not poll_state_synchronize_rcu(cookie), "not in the reader")
            rcu_read_unlock()

        def update() -> None:
            cookie = get_state_synchronize_rcu()
            synchronize_rcu()
            check(poll_state_synchronize_rcu(cookie), "after a grace period")

        join(spawn(read), spawn(update))

    assert all(execution.failure is None for execution in every_execution(program))


def test_a_cookie_alone_starts_nothing(run) -> None:
    def program() -> None:
        cookie = get_state_synchronize_rcu()
        check(not poll_state_synchronize_rcu(cookie), "nobody has begun a grace period")
        started = start_poll_synchronize_rcu()
        check(poll_state_synchronize_rcu(started), "no reader, so it is over")
        check(poll_state_synchronize_rcu(cookie), "and the older cookie profits")
        check(not poll_state_synchronize_rcu(get_state_synchronize_rcu()), "a newer one does not")
        check(poll_state_synchronize_rcu(get_completed_synchronize_rcu()), "always")

    assert run(program) is None


def test_a_started_grace_period_waits_for_its_readers() -> None:
    polled: set[tuple[bool, bool]] = set()

    def program() -> None:
        cell = Cell()
        state = ["before"]

        def read() -> None:
            with rcu_reader():
                state[0] = "inside"
                cell.once  # noqa: B018
                state[0] = "after"

        def update() -> None:
            began_inside = state[0] == "inside"
            cookie = start_poll_synchronize_rcu()
            cell.count  # noqa: B018
            over = poll_state_synchronize_rcu(cookie)
            check(not (began_inside and over and state[0] == "inside"), "not before the reader ends")
            polled.add((began_inside, over))

        join(spawn(read), spawn(update))

    assert all(execution.failure is None for execution in every_execution(program))
    assert polled == {(False, True), (False, False), (True, False), (True, True)}


def test_cond_synchronize_waits_only_if_it_must() -> None:
    def program() -> None:
        cell = Cell()

        def update(early: bool) -> None:
            cookie = get_state_synchronize_rcu()
            if early:
                synchronize_rcu()
            cond_synchronize_rcu(cookie)
            cell.plain += 1

        def read() -> None:
            with rcu_reader():
                cell.once  # noqa: B018

        reader = spawn(read)
        update(True)
        update(False)
        join(reader)

    clean(program)


def test_cookies_of_srcu(run) -> None:
    def program() -> None:
        ssp = SrcuStruct("mine")
        with srcu_reader(ssp):
            cookie = start_poll_synchronize_srcu(ssp)
            check(not poll_state_synchronize_srcu(ssp, cookie), "the reader is open")
        check(poll_state_synchronize_srcu(ssp, cookie), "it has ended")
        check(
            not poll_state_synchronize_srcu(ssp, get_state_synchronize_srcu(ssp)), "nobody began another one"
        )

    assert run(program) is None


def test_what_a_polled_grace_period_orders() -> None:
    """Plain accesses of readers are before what follows a poll that says yes, and race with what follows a no."""

    def program(heed: bool) -> None:
        cell = Cell()

        def read() -> None:
            with rcu_reader():
                cell.plain  # noqa: B018

        def update() -> None:
            cookie = start_poll_synchronize_rcu()
            if poll_state_synchronize_rcu(cookie) or not heed:
                cell.once = 1

        join(spawn(read), spawn(update))

    assert explore(lambda: program(False), strategy="dfs").failures == []
    clean(lambda: program(True), NO_RACES)


# -- callbacks and heads ----------------------------------------------------------------------------------------------


def test_callbacks_of_two_tasks_come_in_any_order_and_of_one_in_its_order() -> None:
    orders: set[str] = set()

    def program() -> None:
        log: list[str] = []

        def post(name: str) -> None:
            call_rcu(log.append, f"{name}1")
            call_rcu(log.append, f"{name}2")

        join(spawn(post, "a"), spawn(post, "b"))
        rcu_barrier()
        orders.add("".join(log))

    clean(program)
    assert orders == {"a1a2b1b2", "a1b1a2b2", "a1b1b2a2", "b1b2a1a2", "b1a1b2a2", "b1a1a2b2"}


class Node(Shared):
    """Something that is freed."""

    value: Unshared[Any] = 0


def test_a_head_can_wait_once_at_a_time(run) -> None:
    def program() -> None:
        head, ran = RcuHead("foo.rcu"), []
        call_rcu(ran.append, 1, head)
        rcu_barrier()
        call_rcu(ran.append, 2, head)
        with rcu_reader():
            call_rcu(ran.append, 3)
            call_rcu(ran.append, 4, head)

    failure = run(program)
    if failure is not None:
        assert failure.headline == "call_rcu(): Double-freed CB foo.rcu->append()!!!"

    def twice() -> None:
        head = RcuHead("foo.rcu")
        with rcu_reader():
            call_rcu(print, None, head)
            call_rcu(print, None, head)

    failure = run(twice)
    assert (failure.kind, failure.headline) == (Kind.RCU, "call_rcu(): Double-freed CB foo.rcu->print()!!!")
    assert "queued by main at " in failure.detail
    assert "queued again by main at " in failure.detail


@pytest.mark.parametrize("free", [kfree_rcu, kfree_rcu_mightsleep])
def test_kfree_rcu(run, free: Callable[[Any, Any], Any]) -> None:
    def program() -> None:
        nodes = KmemCache("node", Node)
        free(nodes, nodes.alloc(GFP_KERNEL))
        rcu_barrier()

    assert run(program) is None


def test_kfree_rcu_of_an_object_twice_and_after_free(run) -> None:
    def twice() -> None:
        nodes = KmemCache("node", Node)
        node = nodes.alloc(GFP_KERNEL)
        with rcu_reader():
            kfree_rcu(nodes, node)
            kfree_rcu(nodes, node)

    def late() -> None:
        nodes = KmemCache("node", Node)
        node = nodes.alloc(GFP_KERNEL)
        nodes.free(node)
        kfree_rcu(nodes, node)

    assert run(twice).headline == "call_rcu(): Double-freed CB Node->free()!!!"
    assert run(late).headline.startswith("BUG: KASAN: slab-use-after-free in node.rcu_head by main")


@pytest.mark.parametrize("ending", ["ends", "destroys", "waits"])
def test_a_head_on_the_stack(run, ending: str) -> None:
    def program() -> None:
        def post() -> None:
            head = RcuHead("onstack")
            init_rcu_head_on_stack(head)
            call_rcu(lambda _: None, None, head)
            if ending == "waits":
                rcu_barrier()
            if ending != "ends":
                destroy_rcu_head_on_stack(head)

        with rcu_reader():
            task = spawn(post, name="poster")
            if ending != "waits":
                while not task.done:
                    Cell().once  # noqa: B018
        join(task)

    failure = run(program)
    if ending == "waits":
        assert failure is None
        return
    assert failure.headline == "ODEBUG: free active (active state 0) object type: rcu_head hint: onstack"
    assert failure.task == "poster"


# -- stalls -----------------------------------------------------------------------------------------------------------


def test_a_stall_names_who_and_where() -> None:
    def program() -> None:
        rcu_cpu_stall_timeout(200)
        cell = Cell()

        def read() -> None:
            with rcu_reader(), rcu_reader():
                while not cell.once:
                    pass

        spawn(read, name="looper")
        cell.count = 1
        synchronize_rcu()
        cell.once = 1

    failure = first_failure(program, strategy="random")
    assert failure.kind is Kind.STALL
    assert failure.headline == "INFO: rcu_preempt detected stalls on CPUs/tasks: { looper }"
    assert (
        "looper: RCU nest depth 2, preempt_count 0, irqs_disabled 0, at rcu/test_rcu_flavours.py:"
        in failure.detail
    )
    assert "(detected by looper, t=200 operations, g=1, q=0)" in failure.detail


def test_a_stall_can_be_looked_past() -> None:
    def program() -> None:
        rcu_cpu_stall_timeout(50)
        cell = Cell()

        def read() -> None:
            with rcu_reader():
                for _ in range(500):
                    cell.once  # noqa: B018

        spawn(read)
        synchronize_rcu()

    assert first_failure(program, strategy="random").kind is Kind.STALL
    clean(program, Settings(without=frozenset({"rcu-stall"})), executions=20)


def test_one_grace_period_after_another_is_no_stall() -> None:
    def program() -> None:
        rcu_cpu_stall_timeout(60)
        cell = Cell()

        def read() -> None:
            for _ in range(60):
                with rcu_reader():
                    cell.once  # noqa: B018

        reader = spawn(read)
        for _ in range(30):
            synchronize_rcu()
        join(reader)

    clean(program, executions=40)


def test_a_stall_of_tasks_rcu() -> None:
    from sugarbush.concurrency.lowlevel import domain
    from sugarbush.concurrency.rcu.tasks import TasksDomain

    def program() -> None:
        domain(TasksDomain).stalls.timeout = 100
        cell = Cell()

        def loop() -> None:
            while not cell.once:
                pass

        spawn(loop, name="looper")
        synchronize_rcu_tasks()
        cell.once = 1

    failure = first_failure(program, strategy="random")
    assert failure.headline == "INFO: rcu_tasks detected stalls on CPUs/tasks: { looper }"


def test_a_stall_on_threads() -> None:
    def program() -> None:
        rcu_cpu_stall_timeout(500)
        cell = Cell()

        def read() -> None:
            with rcu_reader():
                while not cell.once:
                    pass

        spawn(read, name="looper")
        while not cell.count:
            cell.count = 1
        synchronize_rcu()
        cell.once = 1

    found = explore(program, runtime="threaded", executions=20)
    assert found.failures[0].failure.headline == "INFO: rcu_preempt detected stalls on CPUs/tasks: { looper }"


def test_a_timeout_of_nothing_is_refused() -> None:
    with pytest.raises(ConcurrencyError, match="at least one operation"):
        rcu_cpu_stall_timeout(0)


def test_grace_periods_leave_nothing_behind(run) -> None:
    """What an RCU domain keeps depends on who is inside, not on how often."""
    from sugarbush.concurrency.lowlevel import domain
    from sugarbush.concurrency.rcu import RcuDomain

    def program() -> None:
        ssp, rcu = SrcuStruct("mine"), domain(RcuDomain)
        for n in range(200):
            with srcu_reader(ssp), rcu_reader():
                call_rcu(lambda _: None, n)
            synchronize_rcu()
            start_poll_synchronize_rcu()
            synchronize_srcu(ssp)
        rcu_barrier()
        for kept in (rcu, ssp):
            check(not kept.holdouts, "no holdouts")
            check(not kept.waiting, "nobody waits")
            check(not kept.callbacks_left and not kept.callbacks.keys, "no callbacks")
        check(not rcu.readers and not ssp.open, "no readers")

    assert run(program) is None
