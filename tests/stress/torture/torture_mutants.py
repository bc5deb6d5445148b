"""One broken rule of RCU or of a lock each, as a patch of the engine, and the torture that must find it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from sugarbush.concurrency import Mutex, RwSemaphore, Spinlock, Task
from sugarbush.concurrency.cpu.irq import LOCAL_IRQ_ENABLE
from sugarbush.concurrency.locks.rwlock import WRITE_LOCK, WRITE_UNLOCK
from sugarbush.concurrency.locks.rwsem import (
    DOWN_READ,
    DOWN_READ_SLOW,
    DOWN_READ_TRYLOCK,
    DOWN_WRITE,
    DOWN_WRITE_SLOW,
    DOWNGRADE_WRITE,
    UP_READ,
)
from sugarbush.concurrency.locks.semaphore import DOWN_TRYLOCK, UP
from sugarbush.concurrency.locks.seqlock import (
    READ_SEQCOUNT_BEGIN,
    WRITE_SEQCOUNT_BEGIN,
    WRITE_SEQCOUNT_END,
    SeqLock,
)
from sugarbush.concurrency.rcu import (
    RCU_CALLBACKS,
    RCU_READ_UNLOCK,
    RCU_READ_UNLOCK_NESTED,
    RCU_WAITS,
    SRCU_READ_UNLOCK,
    GracePeriods,
    RcuDomain,
    SrcuStruct,
)
from sugarbush.concurrency.rcu.queue import CallbackQueues
from sugarbush.concurrency.rcu.tasks import TasksDomain

Patch = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Mutant:
    """A broken rule. `torture` and `values` say which test of torture meets it."""

    name: str
    torture: str
    values: dict[str, Any]
    apply: Patch


MUTANTS: list[Mutant] = []


def mutant(torture: str, **values: Any) -> Callable[[Patch], Patch]:
    """Register a patch."""

    def register(patch: Patch) -> Patch:
        MUTANTS.append(Mutant(patch.__name__, torture, values, patch))
        return patch

    return register


# -- RCU --------------------------------------------------------------------------------------------------------------


@mutant("rcutorture")
def a_grace_period_ignores_one_reader(patch: pytest.MonkeyPatch) -> None:
    readers = RcuDomain.open_readers
    patch.setattr(RcuDomain, "open_readers", lambda rcu: list(readers(rcu))[1:])


@mutant("rcutorture")
def a_grace_period_ignores_where_preemption_is_off(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RcuDomain, "open_readers", lambda rcu: list(rcu.readers))


@mutant("rcutorture")
def a_grace_period_waits_for_nobody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(GracePeriods, "over", lambda _rcu, _number: True)


@mutant("rcutorture")
def a_later_grace_period_takes_a_reader_over(patch: pytest.MonkeyPatch) -> None:
    def begin(rcu: GracePeriods[Any]) -> int:
        rcu.begun += 1
        for reader in rcu.open_readers():
            rcu.holdouts[reader] = rcu.begun
        return rcu.begun

    patch.setattr(GracePeriods, "begin", begin)


@mutant("rcutorture")
def an_unlock_with_preemption_off_ends_the_reader(patch: pytest.MonkeyPatch) -> None:
    def leave(rcu: RcuDomain, task: Task) -> None:
        del rcu.readers[task]
        rcu.holdouts.pop(task, None)

    patch.setattr(RcuDomain, "leave", leave)


@mutant("rcutorture")
def a_reader_is_never_seen_to_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RcuDomain, "leave", lambda rcu, task: rcu.readers.pop(task))


@mutant("rcutorture")
def an_unlock_wakes_no_grace_period(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RCU_READ_UNLOCK, "wakes", False)


@mutant("rcutorture")
def a_callback_comes_before_its_grace_period(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RCU_CALLBACKS.run, "ready", lambda rcu, task: rcu.served[task] in rcu.due)


@mutant("rcutorture")
def a_callback_is_lost(patch: pytest.MonkeyPatch) -> None:
    take = CallbackQueues.take

    def lose(queues: CallbackQueues, task: Task) -> Any:
        first, due = take(queues, task)
        return (first._replace(fn=lambda _: None), due) if due is None else (first, due)

    patch.setattr(CallbackQueues, "take", lose)


@mutant("rcutorture")
def a_callback_runs_twice(patch: pytest.MonkeyPatch) -> None:
    take = CallbackQueues.take

    def again(queues: CallbackQueues, task: Task) -> Any:
        first, due = take(queues, task)

        def twice(arg: Any) -> None:
            first.fn(arg)
            first.fn(arg)

        return first._replace(fn=twice), due

    patch.setattr(CallbackQueues, "take", again)


@mutant("rcutorture")
def a_barrier_waits_for_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RCU_CALLBACKS.barrier_wait, "ready", lambda _rcu, _task: True)


@mutant("rcutorture")
def a_barrier_does_not_wait_for_the_callback_that_runs(patch: pytest.MonkeyPatch) -> None:
    run, done = RCU_CALLBACKS.run.effect, RCU_CALLBACKS.done.effect
    assert run is not None
    assert done is not None

    def counted_early(rcu: Any, task: Task, arg: Any) -> Any:
        found = run(rcu, task, arg)
        whose = rcu.served[task]
        rcu.ran[whose] = rcu.ran.get(whose, 0) + 1
        return found

    def not_counted(rcu: Any, task: Task, arg: Any) -> None:
        done(rcu, task, arg)
        rcu.ran[rcu.served[task]] -= 1

    patch.setattr(RCU_CALLBACKS.run, "effect", counted_early)
    patch.setattr(RCU_CALLBACKS.run, "wakes", True)
    patch.setattr(RCU_CALLBACKS.done, "effect", not_counted)


@mutant("rcutorture")
def a_cookie_is_true_one_grace_period_early(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RCU_WAITS.poll, "effect", lambda rcu, _task, cookie: rcu.over(cookie))


@mutant("rcutorture")
def a_cookie_is_never_true(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RCU_WAITS.poll, "effect", lambda _rcu, _task, _cookie: False)


@mutant("rcutorture")
def a_started_grace_period_finds_no_readers(patch: pytest.MonkeyPatch) -> None:
    def start(rcu: RcuDomain, _task: Task, _arg: object) -> int:
        rcu.begun += 1
        return rcu.begun - 1

    patch.setattr(RCU_WAITS.start, "effect", start)


@mutant("rcutorture", torture_type="srcu")
def an_srcu_unlock_ends_the_oldest_reader(patch: pytest.MonkeyPatch) -> None:
    def unlock(ssp: SrcuStruct, _task: Task, _index: int) -> None:
        oldest = next(iter(ssp.open))
        del ssp.open[oldest]
        ssp.holdouts.pop(oldest, None)

    patch.setattr(SRCU_READ_UNLOCK, "effect", unlock)


@mutant("rcutorture", torture_type="srcu", readers=3)
def an_srcu_grace_period_waits_for_the_newest_reader_only(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SrcuStruct, "open_readers", lambda ssp: list(ssp.open)[-1:])


@mutant("rcutorture", torture_type="tasks")
def tasks_rcu_takes_any_operation_for_sleep(patch: pytest.MonkeyPatch) -> None:
    looked = TasksDomain.looked

    def always(rcu: TasksDomain, task: Task, op: Any) -> bool:
        was, task.user_mode = task.user_mode, True
        try:
            return looked(rcu, task, op)
        finally:
            task.user_mode = was

    patch.setattr(TasksDomain, "looked", always)


# -- locks ------------------------------------------------------------------------------------------------------------


def _free_for_all(op: Any, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(op, "ready", lambda _lock, _task: True)


@mutant("locktorture", lock="mutex")
def a_mutex_unlock_wakes_nobody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Mutex._unlock, "wakes", False)


@mutant("locktorture", lock="mutex")
def a_mutex_does_not_exclude(patch: pytest.MonkeyPatch) -> None:
    _free_for_all(Mutex._lock, patch)


@mutant("locktorture", lock="spin_lock")
def a_spin_trylock_lies(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Spinlock._trylock, "effect", lambda _lock, _task, _arg: True)


@mutant("locktorture", lock="spin_lock")
def a_spin_trylock_takes_a_lock_that_is_held(patch: pytest.MonkeyPatch) -> None:
    def steal(lock: Spinlock, task: Task, _arg: object) -> bool:
        lock._owner = task
        task.preempt_count += 1
        return True

    patch.setattr(Spinlock._trylock, "effect", steal)


@mutant("locktorture", lock="spin_lock_irq")
def interrupts_stay_off(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LOCAL_IRQ_ENABLE, "effect", lambda _task, _by, _arg: None)


@mutant("locktorture", lock="rwsem")
def a_rwsem_lets_two_writers_in(patch: pytest.MonkeyPatch) -> None:
    def write(sem: RwSemaphore, task: Task, _arg: object) -> bool:
        if sem._readers:
            sem._queue.append((task, True))
            return False
        sem._writer = task
        return True

    patch.setattr(DOWN_WRITE, "effect", write)


@mutant("locktorture", lock="rwsem")
def a_rwsem_lets_a_reader_in_beside_a_writer(patch: pytest.MonkeyPatch) -> None:
    def read(sem: RwSemaphore, task: Task, _arg: object) -> bool:
        sem._readers.append(task)
        return True

    patch.setattr(DOWN_READ, "effect", read)


@mutant("locktorture", lock="rwsem")
def a_rwsem_lets_a_writer_in_beside_readers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        DOWN_WRITE_SLOW, "ready", lambda sem, task: sem._writer is None and sem._queue[0][0] is task
    )


@mutant("locktorture", lock="rwsem")
def a_read_trylock_ignores_the_writer(patch: pytest.MonkeyPatch) -> None:
    def read(sem: RwSemaphore, task: Task, _arg: object) -> bool:
        sem._readers.append(task)
        return True

    patch.setattr(DOWN_READ_TRYLOCK, "effect", read)


@mutant("locktorture", lock="rwsem")
def a_downgrade_lets_a_writer_in(patch: pytest.MonkeyPatch) -> None:
    downgrade, up = DOWNGRADE_WRITE.effect, UP_READ.effect
    assert downgrade is not None
    assert up is not None

    def give_all(sem: RwSemaphore, task: Task, arg: object) -> None:
        downgrade(sem, task, arg)
        sem._readers.remove(task)

    def up_if_there(sem: RwSemaphore, task: Task, arg: object) -> None:
        if task in sem._readers:
            up(sem, task, arg)

    patch.setattr(DOWNGRADE_WRITE, "effect", give_all)
    patch.setattr(UP_READ, "effect", up_if_there)


@mutant("locktorture", lock="rwsem")
def a_downgrade_wakes_no_readers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DOWNGRADE_WRITE, "wakes", False)
    patch.setattr(UP_READ, "wakes", False)


@mutant("locktorture", lock="rwsem")
def a_reader_stays_in_the_queue(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DOWN_READ_SLOW, "effect", lambda sem, task, _arg: sem._readers.append(task))


@mutant("locktorture", lock="rwlock")
def a_rwlock_writer_ignores_readers(patch: pytest.MonkeyPatch) -> None:
    def write(lock: Any, task: Task, _arg: object) -> bool:
        lock._writer = task
        task.preempt_count += 1
        return True

    patch.setattr(WRITE_LOCK, "ready", lambda lock, _task: lock._writer is None)
    patch.setattr(WRITE_LOCK, "effect", write)


@mutant("locktorture", lock="rwlock")
def a_rwlock_wakes_nobody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(WRITE_UNLOCK, "wakes", False)


@mutant("locktorture", lock="semaphore")
def a_semaphore_forgets_to_count_down(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DOWN_TRYLOCK, "effect", lambda sem, _task, _arg: sem._count > 0)


@mutant("locktorture", lock="semaphore")
def a_semaphore_counts_up_although_somebody_was_let_in(patch: pytest.MonkeyPatch) -> None:
    up = UP.effect
    assert up is not None

    def twice(sem: Any, task: Task, arg: object) -> None:
        waiting = bool(sem._queue)
        up(sem, task, arg)
        sem._count += waiting

    patch.setattr(UP, "effect", twice)


@mutant("locktorture", lock="seqlock")
def a_sequence_does_not_move(patch: pytest.MonkeyPatch) -> None:
    for op in (WRITE_SEQCOUNT_BEGIN, WRITE_SEQCOUNT_END):
        effect = op.effect
        assert effect is not None

        def still(count: Any, task: Task, arg: object, effect: Any = effect) -> None:
            was = count._sequence
            effect(count, task, arg)
            count._sequence = was

        patch.setattr(op, "effect", still)


@mutant("locktorture", lock="seqlock")
def a_reader_never_looks_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SeqLock, "read_seqretry", lambda _lock, _start: False)


@mutant("locktorture", lock="seqlock")
def a_reader_begins_in_the_middle_of_a_write(patch: pytest.MonkeyPatch) -> None:
    _free_for_all(READ_SEQCOUNT_BEGIN, patch)


def a_nested_unlock_ends_the_reader(patch: pytest.MonkeyPatch) -> None:
    """Torture has no nested readers, so a program of three lines meets it."""

    def unlock(rcu: RcuDomain, task: Task, _arg: object) -> None:
        task.rcu_nesting -= 1
        rcu.holdouts.pop(task, None)

    patch.setattr(RCU_READ_UNLOCK_NESTED, "effect", unlock)
    patch.setattr(RCU_READ_UNLOCK_NESTED, "wakes", True)
