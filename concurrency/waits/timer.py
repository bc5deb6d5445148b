"""Timers: a function is called when the time has come, in a softirq, so it may not sleep.

Kernel: struct timer_list, include/linux/timer.h and kernel/time/timer.c, v6.6. Simpler here: all timers are those of
one CPU, so their functions are called one after another. Timers that are pending when the tasks have ended still fire.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sugarbush.concurrency.core import (
    Access,
    Dep,
    Hold,
    Operation,
    Task,
    check_ran,
    check_runs,
    current_task,
    domain,
    perform,
)
from sugarbush.concurrency.cpu import softirq
from sugarbush.concurrency.locks import lock_class_key
from sugarbush.concurrency.time import BASE, PLACE, Clock, arm, is_idle
from sugarbush.lockdep import LockMap, LockType


class Timer:
    """Calls `function(timer)` once it is set with `mod_timer` and the time has come. Kernel: timer_setup()."""

    # `dep_map` is no lock: it stands for "the function runs", which del_timer_sync() waits for. So the validator
    # finds a function that takes a lock under which somebody deletes its timer (kernel:
    # lock_map_acquire(&timer->lockdep_map)).
    __slots__ = ("dep_map", "expires", "function", "name", "number")

    def __init__(self, function: Callable[[Timer], Any], name: str = "timer") -> None:
        check_runs(function, "the function of a timer")
        self.function = function
        self.name = name
        self.expires = self.number = 0
        self.dep_map = LockMap(lock_class_key(name), name, lock_type=LockType.ANNOTATION)

    def fire(self, clock: Clock) -> None:  # noqa: ARG002
        """Call the function in a softirq, inside of the timer's `dep_map`; kernel: call_timer_fn()."""
        with softirq():
            perform(TIMER_BEGINS, self)
            if (result := self.function(self)) is not None:
                check_ran(result, "the function of a timer", self.function)
            perform(TIMER_ENDS, self)

    def __repr__(self) -> str:
        return f"<Timer {self.name}>"


def mod_timer(timer: Timer, expires: int) -> bool:
    """Have it fire at this time, in jiffies, and at no other; gives whether it was pending."""
    return arm(MOD_TIMER, domain(Clock), (timer, expires))


def timer_pending(timer: Timer) -> bool:
    """Whether it is set and has not begun to fire."""
    return bool(perform(TIMER_PENDING, domain(Clock), timer))


def del_timer(timer: Timer) -> bool:
    """Have it not fire; gives whether it was pending. Its function may be running at this moment."""
    return bool(perform(DEL_TIMER, domain(Clock), timer))


def del_timer_sync(timer: Timer) -> bool:
    """As `del_timer`, and wait until its function has returned."""
    clock = domain(Clock)
    # Of its own, since the lock validator hears of operations on the timer, and the wait is one on the clock.
    perform(DEL_TIMER_SYNC, timer)
    clock.deleting[current_task()] = timer
    return bool(perform(DEL_TIMER_SYNC_WAIT, clock, timer))


def _mod(clock: Clock, _task: Task, arg: tuple[Timer, int]) -> tuple[bool, bool, bool]:
    """The effect of mod_timer(): what `Clock.add` gives, and whether it was set for that very time already."""
    timer, expires = arg
    same = clock.has(timer) and timer.expires == expires
    return *clock.add(timer, expires), same


def _pending(clock: Clock, _task: Task, timer: Timer) -> bool:
    return clock.has(timer)


def _delete(clock: Clock, _task: Task, timer: Timer) -> bool:
    return clock.drop(timer)


def _delete_idle(clock: Clock, task: Task, timer: Timer) -> bool:
    del clock.deleting[task]
    return clock.drop(timer)


def _if_it_moves(_clock: Clock, arg: tuple[Timer, int], result: tuple[bool, bool, bool]) -> Timer | None:
    """For `orders`: nothing if it is pending for this very time; __mod_timer() looks at that without taking a lock."""
    return None if result[2] else arg[0]


def _if_it_was_pending(_clock: Clock, timer: Timer, result: bool) -> Timer | None:
    """For `orders`: nothing if it is not pending; __timer_delete() looks at that without taking a lock."""
    return timer if result else None


def _always(_clock: Clock, timer: Timer, _result: bool) -> Timer:
    """For `orders`: __try_to_del_timer_sync() always takes the lock, to see whether the function runs."""
    return timer


def _under_base_lock(name: str, **how: Any) -> Operation:
    return Operation(name, field=PLACE, wakes=True, acquires=BASE, releases=BASE, local=True, **how)


MOD_TIMER = _under_base_lock("mod_timer", effect=_mod, orders=_if_it_moves)
TIMER_PENDING = Operation("timer_pending", Access.READ_ONCE, field=PLACE, effect=_pending, local=True)
DEL_TIMER = _under_base_lock("del_timer", effect=_delete, orders=_if_it_was_pending, hold=Hold.IF_TRUE)
DEL_TIMER_SYNC = Operation("del_timer_sync", dep=Dep.WAIT_FOR, local=True)
DEL_TIMER_SYNC_WAIT = _under_base_lock("del_timer_sync", ready=is_idle, effect=_delete_idle, orders=_always)
TIMER_BEGINS = Operation("timer_begins", dep=Dep.ACQUIRE, local=True)
TIMER_ENDS = Operation("timer_ends", dep=Dep.RELEASE, local=True)
