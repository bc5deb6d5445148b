"""Callbacks of RCU: work for after a grace period.

Kernel: call_rcu(), kvfree_rcu and rcu_barrier() in kernel/rcu/tree.c, v6.6. The callbacks of one task run one at a
time and in the order of its calls, as those of one CPU do, in a daemon task named after the flavour. Nothing orders
the callbacks of two tasks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from concurrency.context import might_sleep
from concurrency.failure import Failure, Kind
from concurrency.operation import Fence, Moment, Operation
from concurrency.rcu.domain import GracePeriods, RcuDomain
from concurrency.rcu.queue import Function, Queued, RcuHead
from concurrency.rcu.report import no_reader
from concurrency.runtime import active, checked, current_task, domain, domain_so_far, fail, perform
from concurrency.site import caller
from concurrency.slab import KmemCache
from concurrency.task import OUTSIDE, Task


class CallbackOperations(NamedTuple):
    """The operations of one flavour's callbacks."""

    call: Operation
    run: Operation
    done: Operation
    barrier: Operation
    barrier_wait: Operation


def callback_operations(
    call: str, barrier: str, *, grace: bool, local: bool | None = None
) -> CallbackOperations:
    """The operations of a flavour; `grace` and `local` as for `Operation`."""
    flavour = call.removeprefix("call_")

    def made(name: str, **how: Any) -> Operation:
        return Operation(name, grace=grace, local=local, **how)

    return CallbackOperations(
        made(call, effect=_queue, wakes=True, rcu=Moment.CALL, before=Fence.MB),
        made(
            f"{flavour}_callback",
            ready=_may_run,
            effect=_run,
            rcu=Moment.CALLBACK,
            after=Fence.MB,
            region=True,
        ),
        made(f"{flavour}_callback_done", effect=_done, wakes=True, rcu=Moment.CALLED, region=True),
        Operation(barrier, effect=_begin_barrier, rcu=Moment.BARRIER),
        Operation(f"{barrier}_wait", ready=_barrier_over, effect=_end_barrier, rcu=Moment.BARRIER_OVER),
    )


def _queue(rcu: GracePeriods[Any], task: Task, callback: Queued | None) -> bool:
    """Whether this is the first callback of `task`, so that somebody has to be started who serves it."""
    if callback is not None:
        before = rcu.callbacks.keys.get(id(callback.key))
        if before is not None and checked("rcu"):
            _queued_twice(before, callback)
        rcu.callbacks.add(task, rcu.begun + 1, callback)
    rcu.due.setdefault(task, rcu.begin())
    number = rcu.posted[task] = rcu.posted.get(task, 0) + 1
    return number == 1


def _queued_twice(first: Queued, second: Queued) -> None:
    key = second.key
    name = key.name if isinstance(key, RcuHead) else type(key).__name__
    fail(
        Failure(
            Kind.RCU,
            f"call_rcu(): Double-freed CB {name}->{getattr(second.fn, '__name__', 'callback')}()!!!",
            f"ODEBUG: activate active (active state 0) object type: rcu_head\n"
            f"queued by {first.where}\nqueued again by {second.where}",
            check="rcu",
        )
    )


def _may_run(rcu: GracePeriods[Any], task: Task) -> bool:
    due = rcu.due.get(rcu.served[task])
    return due is not None and rcu.over(due)


def _run(rcu: GracePeriods[Any], task: Task, _arg: object) -> Queued:
    """A callback runs from now on, as in a softirq: it may not sleep."""
    task.preempt_count += 1
    return _take(rcu, rcu.served[task])


def _take(rcu: GracePeriods[Any], whose: Task) -> Queued:
    first, due = rcu.callbacks.take(whose)
    if due is None:
        del rcu.due[whose]
    else:
        rcu.due[whose] = due
    return first


def _done(rcu: GracePeriods[Any], task: Task, _arg: object) -> None:
    whose = rcu.served[task]
    rcu.ran[whose] = rcu.ran.get(whose, 0) + 1
    task.preempt_count -= 1


def _begin_barrier(rcu: GracePeriods[Any], task: Task, _arg: object) -> None:
    rcu.targets[task] = rcu.posted.copy()


def _barrier_over(rcu: GracePeriods[Any], task: Task) -> bool:
    return all(rcu.ran.get(whose, 0) >= number for whose, number in rcu.targets[task].items())


def _end_barrier(rcu: GracePeriods[Any], task: Task, _arg: object) -> None:
    del rcu.targets[task]


RCU_CALLBACKS = callback_operations("call_rcu", "rcu_barrier", grace=True)


def queue_callback(
    rcu: GracePeriods[Any], ops: CallbackOperations, fn: Function, arg: Any, key: object = None
) -> None:
    """Have `fn(arg)` called after a grace period of this flavour."""
    task = current_task()
    where = "" if key is None else f"{task.name} at {caller()}"
    first = perform(ops.call, rcu, Queued(fn, arg, key, where))
    rt = active.runtime
    if rt is None:
        drain(rcu)
    elif first:
        rt.spawn(_serve, (rcu, ops, task), rcu.name, True)


def wait_for_callbacks(rcu: GracePeriods[Any], ops: CallbackOperations) -> None:
    """Wait until all callbacks of this flavour that were queued before have run."""
    perform(ops.barrier, rcu)
    perform(ops.barrier_wait, rcu)


def _serve(rcu: GracePeriods[Any], ops: CallbackOperations, whose: Task) -> None:
    rcu.served[current_task()] = whose
    while True:
        callback = perform(ops.run, rcu)
        callback.fn(callback.arg)
        perform(ops.done, rcu)


def drain(rcu: GracePeriods[Any]) -> None:
    """Outside an execution: run what may run."""
    while (due := rcu.due.get(OUTSIDE)) is not None and rcu.over(due):
        callback = _take(rcu, OUTSIDE)
        callback.fn(callback.arg)
        rcu.ran[OUTSIDE] = rcu.ran.get(OUTSIDE, 0) + 1


def call_rcu(fn: Function, arg: Any, head: RcuHead | None = None) -> None:
    """Have `fn(arg)` called after a grace period, in another task; `fn` must not sleep.

    A `head` that is queued already is a report; kernel: call_rcu(head, fn).
    """
    queue_callback(domain(RcuDomain), RCU_CALLBACKS, fn, arg, head)


def kfree_rcu(cache: KmemCache[Any], obj: Any) -> None:
    """Free `obj` to its cache after a grace period; doing that twice, or after it was freed, is a report."""
    getattr(obj, "rcu_head", None)
    queue_callback(domain(RcuDomain), RCU_CALLBACKS, cache.free, obj, obj)


def kfree_rcu_mightsleep(cache: KmemCache[Any], obj: Any) -> None:
    """As `kfree_rcu`, for an object without room for a head: may wait for the grace period."""
    no_reader("kfree_rcu_mightsleep")
    might_sleep()
    kfree_rcu(cache, obj)


def rcu_barrier() -> None:
    """Wait until all callbacks queued before this call have run; not itself a grace period."""
    no_reader("rcu_barrier")
    might_sleep()
    wait_for_callbacks(domain(RcuDomain), RCU_CALLBACKS)


def init_rcu_head_on_stack(head: RcuHead) -> None:
    """Say that `head` lies on the calling task's stack, which must not end while it is queued."""
    head.stack = current_task()


def destroy_rcu_head_on_stack(head: RcuHead) -> None:
    """Undo `init_rcu_head_on_stack`; a report if it is still queued."""
    if id(head) in domain(RcuDomain).callbacks.keys:
        freed_while_queued(head)
    head.stack = None


def freed_while_queued(head: RcuHead) -> None:
    """Fail: the memory of a head goes while its callback has not run."""
    rcu = domain(RcuDomain)
    where = rcu.callbacks.keys[id(head)].where
    if checked("rcu"):
        fail(
            Failure(
                Kind.RCU,
                f"ODEBUG: free active (active state 0) object type: rcu_head hint: {head.name}",
                f"queued by {where}, its callback has not run",
                check="rcu",
            )
        )


def stack_heads(task: Task) -> list[RcuHead]:
    """The heads on the stack of `task` that are queued."""
    rcu = domain_so_far(RcuDomain)
    if rcu is None:
        return []
    keys = [queued.key for queued in rcu.callbacks.keys.values()]
    return [key for key in keys if isinstance(key, RcuHead) and key.stack is task]
