"""Callbacks of RCU: work for after a grace period.

Kernel: call_rcu(), kvfree_rcu and rcu_barrier() in kernel/rcu/tree.c, v6.6. The callbacks of one task run one at a
time and in the order of its calls, as those of one CPU do, in a daemon task named after the flavour. Nothing orders
the callbacks of two tasks.

Each task that calls has a task of its own that runs its callbacks. One for all would have to choose which queue is
next, and a reduced search would have to try each choice; so the choice is which task goes on, as everywhere else.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sugarbush.concurrency.core import (
    OUTSIDE,
    Failure,
    Fence,
    Footprint,
    Kind,
    Moment,
    Operation,
    Task,
    active,
    caller,
    check_ran,
    check_runs,
    checked,
    current_task,
    domain,
    fail,
    might_sleep,
    perform,
)
from sugarbush.concurrency.memory import KmemCache
from sugarbush.concurrency.rcu.domain import GracePeriods, RcuDomain
from sugarbush.concurrency.rcu.queue import Function, Queued, RcuHead
from sugarbush.concurrency.rcu.report import no_reader


class CallbackOperations(NamedTuple):
    """The operations of one flavour's callbacks."""

    call: Operation
    run: Operation
    done: Operation
    barrier: Operation
    barrier_wait: Operation


def callback_operations(call: str, barrier: str, *, grace: bool, local: bool = True) -> CallbackOperations:
    """The operations of a flavour; `grace` and `local` as for `Operation`.

    The barriers: what is before call_rcu() has reached every task when its callback runs, and the callback sees it.
    """
    flavour = call.removeprefix("call_")

    def made(name: str, footprint: Footprint, **how: Any) -> Operation:
        return Operation(name, grace=grace, **_place(footprint), **how)

    def _place(footprint: Footprint) -> dict[str, Any]:
        # Told apart for plain RCU only, whose readers and grace periods have footprints that these go by.
        return {"footprint": footprint} if grace and local else {"local": local}

    return CallbackOperations(
        made(call, Footprint.CALLS, effect=_queue, wakes=True, rcu=Moment.CALL, before=Fence.MB),
        made(
            f"{flavour}_callback",
            Footprint.CALLBACK_BEGINS,
            ready=_may_run,
            effect=_run,
            rcu=Moment.CALLBACK,
            after=Fence.MB,
            # A callback runs with preemption off: a grace period of RCU waits for it, of whatever flavour it is.
            region=True,
        ),
        made(
            f"{flavour}_callback_done",
            Footprint.CALLBACK_ENDS,
            effect=_done,
            wakes=True,
            rcu=Moment.CALLED,
            region=True,
        ),
        Operation(barrier, effect=_begin_barrier, rcu=Moment.BARRIER, **_place(Footprint.BARRIER_BEGINS)),
        Operation(
            f"{barrier}_wait",
            ready=_barrier_over,
            effect=_end_barrier,
            rcu=Moment.BARRIER_OVER,
            **_place(Footprint.BARRIER_ENDS),
        ),
    )


def _queue(rcu: GracePeriods[Any], task: Task, callback: Queued | None) -> bool:
    """Gives whether this is the first callback of `task`, so that a task must be started that runs its callbacks."""
    # None where a search makes the effect on a copy: then only the numbers change.
    if callback is not None:
        before = rcu.callbacks.keys.get(id(callback.key))
        if before is not None and checked("rcu"):
            _queued_twice(before, callback)
        rcu.callbacks.add(task, rcu.begun + 1, callback)
    rcu.due.setdefault(task, rcu.begin())
    number = rcu.posted[task] = rcu.posted.get(task, 0) + 1
    return number == 1


def _queued_twice(first: Queued, second: Queued) -> None:
    """Report a head that is queued while it is queued already, in the words of debug objects."""
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
    # A search never makes this effect on a copy, which would take from the true queue: it changes all of its
    # domain, so it is ordered after whatever operation on that the search would leave out.
    task.preempt_count += 1
    return _take(rcu, rcu.served[task])


def _take(rcu: GracePeriods[Any], whose: Task) -> Queued:
    """Take the first callback of a task out of its queue, and note what the next one waits for."""
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
    check_runs(fn, f"the function given to {ops.call.name}()")
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
        if (result := callback.fn(callback.arg)) is not None:
            check_ran(result, f"the function given to {ops.call.name}()", callback.fn)
        perform(ops.done, rcu)


def drain(rcu: GracePeriods[Any]) -> None:
    """Outside of executions: run the callbacks whose grace periods are over."""
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
    # The head is a part of the object, which another task may have freed: so its touch is an operation on the object.
    perform(KFREE_RCU, obj)
    queue_callback(domain(RcuDomain), RCU_CALLBACKS, cache.free, obj, obj)


def kfree_rcu_mightsleep(cache: KmemCache[Any], obj: Any) -> None:
    """As `kfree_rcu`, for an object without room for a head: in the kernel it may wait for the grace period.

    Here it never does, but may only be called where waiting is allowed.
    """
    no_reader("kfree_rcu_mightsleep")
    might_sleep()
    kfree_rcu(cache, obj)


def rcu_barrier() -> None:
    """Wait until all callbacks queued before this call have run; not itself a grace period."""
    no_reader("rcu_barrier")
    might_sleep()
    wait_for_callbacks(domain(RcuDomain), RCU_CALLBACKS)


def init_rcu_head_on_stack(head: RcuHead) -> None:
    """Say that `head` lies on the calling task's stack, which must not end while it is queued.

    A report if it is queued already; kernel: debug_object_init_on_stack().
    """
    task = current_task()
    perform(INIT_ON_STACK, domain(RcuDomain), head)
    if active.runtime is not None and not task.farewells:
        task.farewells = (_leave_stack,)


def _leave_stack() -> None:
    """Look for queued heads before the task ends: an operation, since other tasks run and queue callbacks."""
    perform(STACK_ENDS, domain(RcuDomain))


def destroy_rcu_head_on_stack(head: RcuHead) -> None:
    """Undo `init_rcu_head_on_stack`; a report if it is still queued."""
    perform(DESTROY_ON_STACK, domain(RcuDomain), head)


def _must_not_be_queued(rcu: RcuDomain, head: RcuHead, what: str) -> None:
    """Fail if the callback of a head has not run; `what` is said to happen to its memory ("init", "free")."""
    queued = rcu.callbacks.keys.get(id(head))
    if queued is not None and checked("rcu"):
        fail(
            Failure(
                Kind.RCU,
                f"ODEBUG: {what} active (active state 0) object type: rcu_head hint: {head.name}",
                f"queued by {queued.where}, its callback has not run",
                check="rcu",
            )
        )


# A reduced search makes effects on copies without an argument. These then do nothing, which is right: they change
# nothing that an operation waits for (`wakes=False`).


def _init_on_stack(rcu: RcuDomain, task: Task, head: RcuHead | None) -> None:
    if head is not None:
        _must_not_be_queued(rcu, head, "init")
        head.stack = task


def _destroy_on_stack(rcu: RcuDomain, _task: Task, head: RcuHead | None) -> None:
    if head is not None:
        _must_not_be_queued(rcu, head, "free")
        head.stack = None


def _stack_ends(rcu: RcuDomain, task: Task, _arg: object) -> None:
    keys = [queued.key for queued in rcu.callbacks.keys.values()]
    for key in keys:
        if isinstance(key, RcuHead) and key.stack is task:
            _must_not_be_queued(rcu, key, "free")


def _touch_head(obj: Any, _task: Task, _arg: object) -> None:
    # The name does not matter: an object that was freed fails at any access (`memory.slab._poisoned`). A name that
    # is no field is taken, since to read a field would be an operation inside of this one.
    getattr(obj, "_rcu_head", None)


INIT_ON_STACK = Operation("init_rcu_head_on_stack", effect=_init_on_stack, wakes=False, local=True)
DESTROY_ON_STACK = Operation("destroy_rcu_head_on_stack", effect=_destroy_on_stack, wakes=False, local=True)
STACK_ENDS = Operation("debug_check_no_obj_freed", effect=_stack_ends, wakes=False, local=True)
KFREE_RCU = Operation("kfree_rcu", field="rcu_head", effect=_touch_head, wakes=False, local=True)
