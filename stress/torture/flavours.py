"""The flavours of RCU that rcutorture can drive, also those whose grace periods are broken on purpose.

Kernel: struct rcu_torture_ops in kernel/rcu/rcutorture.c, v6.6. A test of a busted flavour must fail: that is the test
of the test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sugarbush.concurrency import (
    Spinlock,
    SrcuStruct,
    call_rcu,
    call_rcu_tasks,
    call_srcu,
    cond_resched_tasks_rcu_qs,
    get_state_synchronize_rcu,
    get_state_synchronize_srcu,
    poll_state_synchronize_rcu,
    poll_state_synchronize_srcu,
    rcu_barrier,
    rcu_barrier_tasks,
    rcu_read_lock,
    rcu_read_unlock,
    srcu_barrier,
    srcu_read_lock,
    srcu_read_unlock,
    start_poll_synchronize_rcu,
    start_poll_synchronize_srcu,
    synchronize_rcu,
    synchronize_rcu_expedited,
    synchronize_rcu_tasks,
    synchronize_srcu,
    synchronize_srcu_expedited,
)
from sugarbush.stress.torture.tables import of_table


def _nothing(*_: object) -> None:
    """Where a flavour has nothing to do."""


@dataclass(frozen=True, slots=True)
class Flavour:
    """What a test needs of a flavour; None where it has no such thing.

    `delay` is done by readers inside a section, `between` between two. `segments` says that stretches without
    preemption are readers of this flavour, too.
    """

    name: str
    read_lock: Callable[[], Any]
    read_unlock: Callable[[Any], None]
    sync: Callable[[], None]
    expedited: Callable[[], None] | None
    call: Callable[[Callable[[Any], object], Any], None]
    barrier: Callable[[], None] | None
    get_state: Callable[[], int] | None = None
    start_poll: Callable[[], int] | None = None
    poll: Callable[[int], bool] | None = None
    delay: Callable[[], None] = _nothing
    between: Callable[[], None] = _nothing
    segments: bool = False


def _rcu() -> Flavour:
    return Flavour(
        "rcu",
        rcu_read_lock,
        lambda _token: rcu_read_unlock(),
        synchronize_rcu,
        synchronize_rcu_expedited,
        call_rcu,
        rcu_barrier,
        get_state_synchronize_rcu,
        start_poll_synchronize_rcu,
        poll_state_synchronize_rcu,
        segments=True,
    )


def _srcu() -> Flavour:
    ssp = SrcuStruct("srcu_ctl")
    return Flavour(
        "srcu",
        partial(srcu_read_lock, ssp),
        partial(srcu_read_unlock, ssp),
        partial(synchronize_srcu, ssp),
        partial(synchronize_srcu_expedited, ssp),
        partial(call_srcu, ssp),
        partial(srcu_barrier, ssp),
        partial(get_state_synchronize_srcu, ssp),
        partial(start_poll_synchronize_srcu, ssp),
        partial(poll_state_synchronize_srcu, ssp),
    )


def _tasks() -> Flavour:
    """Its readers spin, which is no sleep."""
    lock = Spinlock("torture_trampoline")

    def spin() -> None:
        with lock:
            pass

    return Flavour(
        "tasks",
        _nothing,
        _nothing,
        synchronize_rcu_tasks,
        None,
        call_rcu_tasks,
        rcu_barrier_tasks,
        delay=spin,
        between=cond_resched_tasks_rcu_qs,
    )


def _call_at_once(fn: Callable[[Any], object], arg: Any) -> None:
    """A callback that waits for nobody."""
    fn(arg)


def _busted() -> Flavour:
    """Its grace periods do nothing at all."""
    return Flavour(
        "busted",
        rcu_read_lock,
        lambda _token: rcu_read_unlock(),
        _nothing,
        _nothing,
        _call_at_once,
        None,
    )


def _busted_srcu() -> Flavour:
    """Its grace periods wait for the readers of another domain."""
    other = SrcuStruct("other_ctl")
    return replace(
        _srcu(),
        name="busted_srcu",
        sync=partial(synchronize_srcu, other),
        expedited=partial(synchronize_srcu_expedited, other),
        call=partial(call_srcu, other),
        barrier=partial(srcu_barrier, other),
        get_state=None,
        start_poll=None,
        poll=None,
    )


FLAVOURS: dict[str, Callable[[], Flavour]] = {
    "rcu": _rcu,
    "srcu": _srcu,
    "tasks": _tasks,
    "busted": _busted,
    "busted_srcu": _busted_srcu,
}


def make_flavour(name: str) -> Flavour:
    """The flavour of this name, for one execution; raises `ConcurrencyError` if there is none."""
    return of_table(FLAVOURS, "torture type", name)()
