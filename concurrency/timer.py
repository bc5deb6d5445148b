"""Timers: a function is called when the time has come, in a softirq, so it may not sleep.

Kernel: struct timer_list, include/linux/timer.h and kernel/time/timer.c, v6.6. Simpler here: all timers are those of
one CPU, so their functions are called one after another. Timers that are pending when the tasks have ended still fire.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from concurrency.clock import PLACE, Clock, arm, is_idle
from concurrency.irq import softirq
from concurrency.lock import lock_class_key
from concurrency.operation import Access, Dep, Operation
from concurrency.runtime import current_task, domain, perform
from concurrency.task import Task
from concurrency.unrun import check_ran, check_runs
from lockdep import LockMap, LockType


class Timer:
    """Calls `function(timer)` once it is set with `mod_timer` and the time has come. Kernel: timer_setup()."""

    __slots__ = ("dep_map", "expires", "function", "name", "number")

    def __init__(self, function: Callable[[Timer], Any], name: str = "timer") -> None:
        check_runs(function, "the function of a timer")
        self.function = function
        self.name = name
        self.expires = self.number = 0
        self.dep_map = LockMap(lock_class_key(name), name, lock_type=LockType.ANNOTATION)

    def fire(self, clock: Clock) -> None:  # noqa: ARG002
        """See `clock.Entry`; kernel: call_timer_fn()."""
        with softirq():
            perform(TIMER_BEGINS, self)
            if (result := self.function(self)) is not None:
                check_ran(result, "the function of a timer", self.function)
            perform(TIMER_ENDS, self)

    def __repr__(self) -> str:
        return f"<Timer {self.name}>"


def mod_timer(timer: Timer, expires: int) -> bool:
    """Have it fire at this time, in jiffies, and at no other; whether it was pending. One in the past fires at once."""
    return arm(MOD_TIMER, domain(Clock), (timer, expires))


def timer_pending(timer: Timer) -> bool:
    """It is set and has not begun to fire."""
    return bool(perform(TIMER_PENDING, domain(Clock), timer))


def del_timer(timer: Timer) -> bool:
    """It does not fire; whether it was pending. Its function may be running."""
    return bool(perform(DEL_TIMER, domain(Clock), timer))


def del_timer_sync(timer: Timer) -> bool:
    """As `del_timer`, and wait until its function has returned."""
    clock = domain(Clock)
    perform(DEL_TIMER_SYNC, timer)
    clock.deleting[current_task()] = timer
    return bool(perform(DEL_TIMER_SYNC_WAIT, clock, timer))


def _mod(clock: Clock, _task: Task, arg: tuple[Timer, int]) -> tuple[bool, bool]:
    return clock.add(*arg)


def _pending(clock: Clock, _task: Task, timer: Timer) -> bool:
    return clock.has(timer)


def _delete(clock: Clock, _task: Task, timer: Timer) -> bool:
    return clock.drop(timer)


def _delete_idle(clock: Clock, task: Task, timer: Timer) -> bool:
    del clock.deleting[task]
    return clock.drop(timer)


MOD_TIMER = Operation("mod_timer", field=PLACE, effect=_mod, wakes=True, releases=("timers",), local=True)
TIMER_PENDING = Operation("timer_pending", Access.READ_ONCE, field=PLACE, effect=_pending, local=True)
DEL_TIMER = Operation("del_timer", field=PLACE, effect=_delete, wakes=True, local=True)
DEL_TIMER_SYNC = Operation("del_timer_sync", dep=Dep.WAIT_FOR, local=True)
DEL_TIMER_SYNC_WAIT = Operation(
    "del_timer_sync",
    field=PLACE,
    ready=is_idle,
    effect=_delete_idle,
    wakes=True,
    acquires=("ran",),
    local=True,
)
TIMER_BEGINS = Operation("timer_begins", dep=Dep.ACQUIRE, local=True)
TIMER_ENDS = Operation("timer_ends", dep=Dep.RELEASE, local=True)
