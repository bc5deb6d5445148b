"""Programs that use every primitive, by several tasks each: what the audit runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from declared_in_tests import audited

from sugarbush.concurrency import (
    TASK_UNINTERRUPTIBLE,
    Atomic,
    Barrier,
    Completion,
    Condition,
    Flag,
    KmemCache,
    Mutex,
    Once,
    RcuHead,
    RcuPtr,
    RwLock,
    RwSemaphore,
    Semaphore,
    SeqCount,
    SeqLock,
    Shared,
    Spinlock,
    SrcuStruct,
    Timer,
    Unshared,
    WaitQueue,
    atomic_dec_and_test,
    atomic_inc,
    call_rcu,
    call_rcu_tasks,
    call_srcu,
    cleanup_srcu_struct,
    cmpxchg,
    cond_resched,
    cond_resched_tasks_rcu_qs,
    cond_synchronize_rcu,
    cpu_relax,
    del_timer,
    del_timer_sync,
    destroy_rcu_head_on_stack,
    get_state_synchronize_rcu,
    get_state_synchronize_srcu,
    hardirq,
    init_rcu_head_on_stack,
    jiffies,
    join,
    kfree_rcu,
    local_bh_disable,
    local_bh_enable,
    local_irq_disable,
    local_irq_enable,
    mdelay,
    mod_timer,
    msleep,
    poll_state_synchronize_rcu,
    poll_state_synchronize_srcu,
    preempt_disable,
    preempt_enable,
    rcu_assign_pointer,
    rcu_barrier,
    rcu_barrier_tasks,
    rcu_cpu_stall_timeout,
    rcu_dereference,
    rcu_read_lock_bh,
    rcu_read_lock_sched,
    rcu_read_unlock_bh,
    rcu_read_unlock_sched,
    rcu_reader,
    schedule,
    schedule_timeout,
    set_current_state,
    smp_load_acquire,
    smp_mb,
    smp_rmb,
    smp_store_release,
    smp_wmb,
    softirq,
    spawn,
    srcu_barrier,
    srcu_down_read,
    srcu_reader,
    srcu_up_read,
    start_poll_synchronize_rcu,
    start_poll_synchronize_srcu,
    synchronize_rcu,
    synchronize_rcu_tasks,
    synchronize_srcu,
    timer_pending,
    user_mode,
    wake_up_process,
    xchg,
)
from sugarbush.concurrency.lowlevel import domain
from sugarbush.concurrency.memory.pressure import Pressure
from sugarbush.lockdep.model.gfp import GFP_KERNEL


class Two(Shared):
    a: Once[int] = 0
    b: Once[int] = 0


class Node(Shared):
    value: Once[int] = 0
    count: Atomic[int] = 0
    next: RcuPtr[Any] = None
    plain: Unshared[int] = 0


def start(*tasks: Callable[[], Any]) -> None:
    for task in tasks:
        spawn(task)


def nothing(_arg: object) -> None:
    """What a callback does."""


def semaphores() -> None:
    sem = Semaphore(1)

    def waits() -> None:
        sem.down()
        sem.up()

    def tries() -> None:
        if sem.down_timeout(3):
            sem.up()
        if sem.down_trylock():
            sem.up()

    start(waits, tries, waits)


def locks() -> None:
    mutex, spin, two = Mutex("mutex"), Spinlock("spin"), Two()

    def takes() -> None:
        with mutex:
            two.a = 1
        with spin.irq():
            two.a = 2
        with spin.bh():
            pass

    def tries() -> None:
        for lock in (mutex, spin):
            if lock.trylock():
                lock.assert_held()
                lock.unlock()
        mutex.is_locked()
        mutex.owner  # noqa: B018
        mutex.held_by_me()

    start(takes, takes, tries, tries)


def shared_locks() -> None:
    sem, lock = RwSemaphore("sem"), RwLock("lock")

    def reads() -> None:
        sem.down_read()
        sem.up_read()
        with lock.read():
            pass

    def writes() -> None:
        sem.down_write()
        sem.downgrade_write()
        sem.up_read()
        sem.down_write()
        sem.up_write()
        with lock.write():
            pass

    def tries() -> None:
        if sem.down_read_trylock():
            sem.up_read()
        if sem.down_write_trylock():
            sem.up_write()
        if lock.read_trylock():
            lock.read_unlock()
        if lock.write_trylock():
            lock.write_unlock()

    start(reads, reads, writes, writes, tries)


def rcu() -> None:
    two = Two()
    rcu_cpu_stall_timeout(10_000)

    def reader() -> None:
        with rcu_reader(), rcu_reader():
            two.a  # noqa: B018
        rcu_read_lock_bh()
        rcu_read_unlock_bh()
        rcu_read_lock_sched()
        rcu_read_unlock_sched()

    def updater() -> None:
        two.a = 1
        synchronize_rcu()
        call_rcu(nothing, None)
        poll_state_synchronize_rcu(start_poll_synchronize_rcu())
        cond_synchronize_rcu(get_state_synchronize_rcu())
        rcu_barrier()

    start(reader, reader, updater, updater)


def heads() -> None:
    def task() -> None:
        head = RcuHead()
        init_rcu_head_on_stack(head)
        call_rcu(nothing, None, head)
        rcu_barrier()
        destroy_rcu_head_on_stack(head)

    start(task, task)


def srcu() -> None:
    ssp = SrcuStruct("domain")

    def reader() -> None:
        srcu_up_read(ssp, srcu_down_read(ssp))
        with srcu_reader(ssp):
            pass

    def updater() -> None:
        synchronize_srcu(ssp)
        call_srcu(ssp, nothing, None)
        poll_state_synchronize_srcu(ssp, start_poll_synchronize_srcu(ssp))
        get_state_synchronize_srcu(ssp)

    join(*map(spawn, (reader, reader, updater, updater)))
    srcu_barrier(ssp)
    cleanup_srcu_struct(ssp)


def tasks_rcu() -> None:
    mutex = Mutex("mutex")

    def task() -> None:
        with mutex:
            pass
        cond_resched_tasks_rcu_qs()
        with user_mode():
            pass
        cond_resched()

    def updater() -> None:
        synchronize_rcu_tasks()
        call_rcu_tasks(nothing, None)
        rcu_barrier_tasks()

    start(task, task, updater)


def queues() -> None:
    queue, two = WaitQueue("queue"), Two()

    def waits() -> None:
        queue.wait_event(lambda: two.a)

    def waits_alone() -> None:
        queue.wait_event(lambda: two.a, exclusive=True)
        queue.wait_event_timeout(lambda: two.b, 3)

    def sleeps() -> None:
        set_current_state(TASK_UNINTERRUPTIBLE)
        schedule()
        set_current_state(TASK_UNINTERRUPTIBLE)
        schedule_timeout(5)
        msleep(3)
        jiffies()
        mdelay(1)

    sleeper = spawn(sleeps)

    def wakes() -> None:
        two.a = 1
        queue.active()
        queue.wake_up()
        queue.wake_up_all()
        wake_up_process(sleeper)
        set_current_state(TASK_UNINTERRUPTIBLE)
        set_current_state(0)

    start(waits, waits_alone, wakes)


def signals() -> None:
    completion, flag, barrier = Completion("completion"), Flag("flag"), Barrier(2, "barrier")

    def waits() -> None:
        completion.wait()
        completion.wait_timeout(5)
        flag.wait(0.002)
        flag.wait()
        barrier.wait()
        barrier.reset()

    def makes() -> None:
        completion.complete()
        completion.is_done()
        completion.try_wait()
        completion.complete_all()
        flag.set()
        flag.is_set()
        barrier.wait(1)

    start(waits, makes)


def more_signals() -> None:
    completion, flag, barrier = Completion("completion"), Flag("flag"), Barrier(2, "barrier")

    def one() -> None:
        completion.complete_all()
        completion.reinit()
        flag.clear()
        barrier.abort()

    start(one, one)


def conditions() -> None:
    condition = Condition(name="condition")

    def waits() -> None:
        with condition:
            condition.wait()

    def waits_a_while() -> None:
        with condition:
            condition.wait(0.003)

    def notifies() -> None:
        for _ in range(3):
            with condition:
                condition.notify(2)
            with condition:
                condition.notify_all()

    start(waits, waits_a_while, notifies)


def sequences() -> None:
    lock, count, two = SeqLock(), SeqCount(), Two()

    def writes() -> None:
        with lock.write():
            two.a += 1
        lock.read_seqlock_excl()
        # Its writers exclude each other by a lock of their own.
        count.write_begin()
        count.write_end()
        lock.read_sequnlock_excl()

    def reads() -> None:
        while True:
            begun = lock.read_seqbegin()
            count.read_begin()
            two.a  # noqa: B018
            if not lock.read_seqretry(begun):
                return

    start(writes, writes, reads)


def timers() -> None:
    two = Two()
    timer = Timer(lambda _timer: setattr(two, "a", 1))

    def sets() -> None:
        mod_timer(timer, 5)
        timer_pending(timer)

    def deletes() -> None:
        del_timer(timer)
        mod_timer(timer, 7)
        del_timer_sync(timer)

    start(sets, deletes)


def fields() -> None:
    node = Node()

    def task() -> None:
        atomic_inc(node, "count")
        atomic_dec_and_test(node, "count")
        xchg(node, "count", 3)
        cmpxchg(node, "count", 3, 4)
        node.count = 5
        smp_store_release(node, "value", 1)
        smp_load_acquire(node, "value")
        smp_mb()
        smp_wmb()
        smp_rmb()
        rcu_assign_pointer(node, "next", node)
        with rcu_reader():
            rcu_dereference(node, "next")

    start(task, task)


def contexts() -> None:
    def task() -> None:
        local_irq_disable()
        local_irq_enable()
        local_bh_disable()
        local_bh_enable()
        preempt_disable()
        preempt_enable()
        with hardirq():
            pass
        with softirq():
            pass
        synchronize_rcu()

    start(task, task)


def slabs() -> None:
    pressure = domain(Pressure)
    pressure.chances, pressure.reclaim = 1, lambda: None
    for options in ({}, {"stepped": True}, {"typesafe_by_rcu": True}):
        cache = KmemCache("node", Node, **options)
        node = cache.alloc(GFP_KERNEL)

        def task(cache: KmemCache[Node] = cache) -> None:
            mine = cache.alloc(GFP_KERNEL)
            mine.value = 1
            cache.free(mine)

        join(spawn(task), spawn(task))
        if options.get("typesafe_by_rcu"):
            cache.free(node)
        else:
            kfree_rcu(cache, node)
    rcu_barrier()


def spinning() -> None:
    two = Two()

    def spins() -> None:
        while not two.a:
            cpu_relax()

    def ends_it() -> None:
        # Long enough for somebody to look in vain.
        for number in (0, 0, 0, 1):
            two.a = number

    start(spins, ends_it)


PROGRAMS = (
    semaphores,
    locks,
    shared_locks,
    rcu,
    heads,
    srcu,
    tasks_rcu,
    queues,
    signals,
    more_signals,
    conditions,
    sequences,
    timers,
    fields,
    contexts,
    slabs,
    spinning,
    *audited(),
)
