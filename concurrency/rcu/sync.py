"""Waiting for grace periods of RCU, and polling them.

Kernel: synchronize_rcu(), get_state_synchronize_rcu() and the like in kernel/rcu/tree.c, v6.6. The expedited forms
promise the same and differ in cost only, which does not exist here.

To wait is two operations: the first begins a grace period, the second is ready when that is over. One operation
could not begin the grace period before it waits. To poll is two as well: the second is the barrier of a poll that
was true, and is not made if it was false, since that orders nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sugarbush.concurrency.core import (
    ConcurrencyError,
    Fence,
    Footprint,
    Hold,
    Moment,
    Operation,
    Task,
    domain,
    might_sleep,
    perform,
)
from sugarbush.concurrency.rcu.domain import (
    COMPLETED,
    GracePeriods,
    RcuDomain,
    begin_wait,
    end_wait,
    wait_is_over,
)
from sugarbush.concurrency.rcu.report import no_reader


class WaitOperations(NamedTuple):
    """The operations of one flavour's grace periods: the two halves of a wait, and the three of a poll."""

    begin: Operation
    wait: Operation
    get_state: Operation
    start: Operation
    poll: Operation
    polled: Operation


def wait_operations(flavour: str, *, grace: bool, exact: bool = True) -> WaitOperations:
    """The operations of a flavour; `grace` as for `Operation`.

    `exact` says that grace periods wait for readers that begin and end by operations: each operation here then has
    a footprint of its own. Tasks RCU has none of that: its grace periods wait for whatever a task does, so its
    operations may touch anything.
    """

    def made(name: str, footprint: Footprint | None, **how: Any) -> Operation:
        local = True if exact and footprint is None else None
        return Operation(name, grace=grace, local=local, footprint=footprint if exact else None, **how)

    def local(name: str, footprint: Footprint, **how: Any) -> Operation:
        return Operation(
            name, local=None if exact else True, footprint=footprint if exact else None, wakes=False, **how
        )

    return WaitOperations(
        made(
            f"synchronize_{flavour}",
            Footprint.GRACE_BEGINS,
            effect=begin_wait,
            rcu=Moment.WAIT,
            before=Fence.MB,
        ),
        made(
            f"synchronize_{flavour}_wait",
            Footprint.GRACE_ENDS,
            ready=wait_is_over,
            effect=end_wait,
            rcu=Moment.WAITED,
            after=Fence.MB,
        ),
        local(
            f"get_state_synchronize_{flavour}",
            Footprint.GRACE_LOOKS,
            effect=_get_state,
            rcu=Moment.COOKIE,
            before=Fence.MB,
        ),
        made(f"start_poll_synchronize_{flavour}", None, effect=_start, rcu=Moment.COOKIE, before=Fence.MB),
        made(
            f"poll_state_synchronize_{flavour}",
            Footprint.GRACE_LOOKS,
            effect=_poll,
            wakes=False,
            rcu=Moment.POLL,
            hold=Hold.IF_TRUE if exact else None,
        ),
        # The full barrier after a poll that was true. What the poll learns of the grace period it learns itself
        # (`Moment.POLL`).
        local(f"{flavour}_grace_period_over", Footprint.NOTHING, effect=_nothing, after=Fence.MB),
    )


class Cookie(int):
    """A cookie is a number to programs, and an object of its own to the engine.

    A poll orders what came before *this* cookie was taken (`order.Flavour.cookies`); two cookies may be one number.
    """


def _get_state(rcu: GracePeriods[Any], _task: Task, _arg: object) -> Cookie:
    return Cookie(rcu.begun)


def _start(rcu: GracePeriods[Any], _task: Task, _arg: object) -> Cookie:
    # A cookie is the number of the last grace period that had begun, so that the next one, number + 1, makes it true.
    return Cookie(rcu.begin() - 1)


def _poll(rcu: GracePeriods[Any], _task: Task, cookie: int) -> bool:
    return cookie == COMPLETED or rcu.over(cookie + 1)


def _nothing(_rcu: GracePeriods[Any], _task: Task, _arg: object) -> None:
    """The effect of an operation that is a barrier only."""


RCU_WAITS = wait_operations("rcu", grace=True)


def wait_for_readers(rcu: GracePeriods[Any], ops: WaitOperations) -> None:
    """Begin a grace period of this flavour, and wait until it is over."""
    perform(ops.begin, rcu)
    perform(ops.wait, rcu)


def take_cookie(op: Operation, rcu: GracePeriods[Any]) -> int:
    """The cookie that `op` gives: the very object, since nothing is known of a copy of it."""
    taken: int = perform(op, rcu)
    return taken


def poll(rcu: GracePeriods[Any], ops: WaitOperations, cookie: int) -> bool:
    """Whether a grace period that began after `cookie` was taken is over; if so, a full barrier."""
    if not perform(ops.poll, rcu, cookie):
        return False
    perform(ops.polled, rcu)
    return True


def synchronize_rcu() -> None:
    """Wait until every reader that has begun before this call has ended."""
    no_reader("synchronize_rcu")
    might_sleep()
    wait_for_readers(domain(RcuDomain), RCU_WAITS)


def synchronize_rcu_expedited() -> None:
    """As `synchronize_rcu`."""
    no_reader("synchronize_rcu_expedited")
    might_sleep()
    wait_for_readers(domain(RcuDomain), RCU_WAITS)


def get_state_synchronize_rcu() -> int:
    """A cookie for `poll_state_synchronize_rcu`; begins no grace period."""
    return take_cookie(RCU_WAITS.get_state, domain(RcuDomain))


def get_completed_synchronize_rcu() -> int:
    """The cookie of a grace period that is over."""
    return COMPLETED


def start_poll_synchronize_rcu() -> int:
    """Begin a grace period, and give a cookie for it."""
    return take_cookie(RCU_WAITS.start, domain(RcuDomain))


def poll_state_synchronize_rcu(cookie: int) -> bool:
    """Whether a grace period that began after `cookie` was taken is over; false for ever if no task begins one."""
    return poll(domain(RcuDomain), RCU_WAITS, cookie)


def cond_synchronize_rcu(cookie: int) -> None:
    """Wait for a grace period unless one that began after `cookie` was taken is over."""
    no_reader("cond_synchronize_rcu")
    if not poll_state_synchronize_rcu(cookie):
        synchronize_rcu()


def rcu_cpu_stall_timeout(operations: int) -> None:
    """How many operations a grace period of this execution may take before it is a report (100000).

    Kernel: rcupdate.rcu_cpu_stall_timeout, in seconds. Raises `ConcurrencyError` if it is not above 0.
    """
    if operations < 1:
        raise ConcurrencyError(f"a stall timeout is at least one operation, not {operations}")
    perform(STALL_TIMEOUT, domain(RcuDomain), operations)


def _set_timeout(rcu: RcuDomain, _task: Task, operations: int | None) -> None:
    """Set the time-out. No operation waits for it, so where a search makes the effect on a copy it may do nothing."""
    if operations is not None:
        assert rcu.stalls is not None, "plain RCU looks for stalls from its beginning"
        rcu.stalls.timeout = operations


STALL_TIMEOUT = Operation("rcu_cpu_stall_timeout", effect=_set_timeout, wakes=False, local=True)
