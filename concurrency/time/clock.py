"""Time: a clock that goes on when a timer fires, and waits that have a deadline.

Under the simulated runtime time is virtual. It stands still but for the daemon task ``clock``, which the first timer
starts: that task can go on whenever a timer is pending, and then it is as late as the earliest one says. So when a
timer fires is a choice like any other; it may be late, never early. Under the threaded runtime it is real time.

Kernel: kernel/time/timer.c, v6.6. Simpler here: one CPU's wheel, which never rounds; a jiffy is a millisecond.
"""

from __future__ import annotations

import time
from bisect import insort
from collections.abc import Mapping
from typing import Any, Protocol

from sugarbush.concurrency.core import (
    Access,
    ConcurrencyError,
    Operation,
    Task,
    Timed,
    active,
    current_task,
    domain,
    might_sleep,
    perform,
)

HZ = 1000
"""Jiffies in a second."""


class Entry(Protocol):
    """What the clock keeps: something that happens at a time."""

    expires: int
    number: int

    def fire(self, clock: Clock) -> None:
        """The time has come; called in the clock's task, or by the caller when no program runs."""


class Clock:
    """The time of one execution, in jiffies since its start, and what is due, earliest first."""

    name = "clock"

    def __init__(self) -> None:
        runtime = active.runtime
        self._start = time.monotonic() if runtime is not None and runtime.parallel else None
        self._now = 0
        self.pending: list[tuple[int, int, Entry]] = []
        self.armed = 0
        self.running: Entry | None = None
        """The timer whose function is being called."""
        self.task: Task | None = None
        self.deleting: dict[Task, Entry] = {}
        """Who waits until a timer's function has returned, and for which timer. An entry is its task's own."""

    @property
    def holders(self) -> tuple[Task, ...]:
        """The clock's task while it calls the function of a timer."""
        return () if self.running is None or self.task is None else (self.task,)

    def awaited(self, task: Task) -> Mapping[Task, str]:
        """See `waiting.awaited`: whoever deletes a timer waits for the task that calls its function now."""
        entry = self.deleting.get(task)
        if entry is None or entry is not self.running or self.task is None:
            return {}
        return {self.task: "held by {}, which calls the timer's function"}

    @property
    def now(self) -> int:
        """The time, in jiffies."""
        return self._now if self._start is None else int((time.monotonic() - self._start) * HZ)

    @property
    def due(self) -> bool:
        """The earliest timer may fire: it is late enough, or time is virtual and passes when it does."""
        return bool(self.pending) and (self._start is None or self.pending[0][0] <= self.now)

    def seconds_left(self) -> float | None:
        """Until the earliest timer fires, in real time; None if nothing is pending."""
        return max(0, self.pending[0][0] - self.now) / HZ if self.pending else None

    def add(self, entry: Entry, expires: int) -> tuple[bool, bool]:
        """Have `entry` fire at this time, and at no other.

        Says whether it was pending, and whether it is the first of all, so that the caller has to start the task.
        """
        was = self.drop(entry)
        self.armed += 1
        entry.expires, entry.number = expires, self.armed
        insort(self.pending, (expires, self.armed, entry))
        return was, self.armed == 1

    def has(self, entry: Entry) -> bool:
        """`entry` is pending."""
        return (entry.expires, entry.number, entry) in self.pending

    def drop(self, entry: Entry) -> bool:
        """`entry` does not fire; whether it was pending."""
        pending = self.has(entry)
        if pending:
            self.pending.remove((entry.expires, entry.number, entry))
        return pending

    def take(self) -> Entry:
        """The earliest entry, whose time it is now."""
        expires, _, entry = self.pending.pop(0)
        self._now = max(self._now, expires)
        return entry


class Alarm:
    """The deadline of one wait of one task, for `obj`."""

    __slots__ = ("expires", "number", "obj", "task")

    def __init__(self, task: Task, obj: Timed) -> None:
        self.task = task
        self.obj = obj
        self.expires = self.number = 0

    def fire(self, clock: Clock) -> None:  # noqa: ARG002
        """See `Entry.fire`."""
        perform(_expire(self.task.id), self.obj)


class Nap:
    """What a task waits for that sleeps until a time."""

    __slots__ = ("late", "name")

    def __init__(self) -> None:
        self.name = "nap"
        self.late: dict[int, None] = {}


def late(obj: Timed, task: Task) -> bool:
    """The deadline of the wait of `task` for `obj` has passed: an operation that may time out is ready then."""
    return task.id in obj.late


def _read(clock: Clock, _task: Task, _arg: object) -> int:
    return clock.now


def _arm(clock: Clock, _task: Task, arg: tuple[Alarm, int]) -> tuple[bool, bool]:
    alarm, timeout = arg
    return clock.add(alarm, clock.now + timeout)


def _disarm(clock: Clock, task: Task, alarm: Alarm) -> int:
    del clock.deleting[task]
    clock.drop(alarm)
    return max(0, alarm.expires - clock.now)


def _is_due(clock: Clock, _task: Task) -> bool:
    return clock.due


def _take(clock: Clock, task: Task, _arg: object) -> Entry:
    clock.task = task
    clock.running = clock.take()
    return clock.running


def is_idle(clock: Clock, task: Task) -> bool:
    """The timer that `task` deletes is not firing."""
    return clock.running is not clock.deleting[task]


def _ran(clock: Clock, _task: Task, _arg: object) -> Entry | None:
    ran, clock.running = clock.running, None
    return ran


def _result(_clock: Clock, _arg: object, result: Entry) -> Entry:
    return result


PLACE = "timers"
BASE = ("base",)
"""The lock of the timer base (struct timer_base), as far as one timer is concerned: others may be on other CPUs, so
what it orders stands at the timer."""
# Who only sleeps, or asks what time it is, has nothing to do with the others that do.
JIFFIES = Operation("jiffies", Access.READ_ONCE, field=PLACE, effect=_read, local=True, meets=False)
ARM = Operation("schedule_timeout", field=PLACE, effect=_arm, wakes=True, local=True, meets=False)
DISARM = Operation(
    "del_timer_sync", field=PLACE, ready=is_idle, effect=_disarm, wakes=True, local=True, meets=False
)
FIRE = Operation(
    "timer_fires",
    field=PLACE,
    ready=_is_due,
    effect=_take,
    wakes=True,
    acquires=BASE,
    releases=BASE,
    orders=_result,
    local=True,
)
RAN = Operation(
    "timer_ran",
    field=PLACE,
    effect=_ran,
    wakes=True,
    acquires=BASE,
    releases=BASE,
    orders=_result,
    local=True,
)
SLEEP = Operation("msleep", ready=late, local=True)
_EXPIRE: dict[int, Operation] = {}


def _expire(number: int) -> Operation:
    """The time of task `number` is up: done to what it waits for, since only those that wait there see it."""
    found = _EXPIRE.get(number)
    if found is None:

        def effect(obj: Timed, _task: Task, _arg: object) -> None:
            obj.late[number] = None

        found = _EXPIRE[number] = Operation(
            # The clock's word to one task: nobody else is concerned.
            "timeout",
            effect=effect,
            wakes=True,
            local=True,
            meets=False,
        )
    return found


def arm(op: Operation, clock: Clock, arg: Any) -> bool:
    """Perform `op`, which adds an entry to the clock; whether that was pending. The first one starts the task."""
    was, first, *_ = perform(op, clock, arg)
    if first and active.runtime is not None:
        active.runtime.spawn(run_clock, (clock,), "clock", True)
    return bool(was)


def run_clock(clock: Clock) -> None:
    """What the task of the clock does: what is due happens."""
    while True:
        perform(FIRE, clock).fire(clock)
        perform(RAN, clock)


def pass_time(clock: Clock, until: int) -> None:
    """Outside an execution: it becomes this late, and what is due fires."""
    while clock.pending and clock.pending[0][0] <= until:
        clock.take().fire(clock)
    clock._now = max(clock._now, until)


def checked_timeout(timeout: int) -> int:
    """`timeout`, a number of jiffies; raises `ConcurrencyError` if it is negative."""
    if timeout < 0:
        raise ConcurrencyError(f"a timeout is at least 0 jiffies, not {timeout}")
    return timeout


def perform_timeout(op: Operation, obj: Timed, timeout: int) -> tuple[Any, int]:
    """Perform `op`, which is ready also when its task is `late`; gives its result and the jiffies that are left."""
    task = current_task()
    clock = domain(Clock)
    alarm = Alarm(task, obj)
    arm(ARM, clock, (alarm, checked_timeout(timeout)))
    if active.runtime is None and op.ready is not None and not op.ready(obj, task):
        pass_time(clock, alarm.expires)
    result = perform(op, obj)
    clock.deleting[task] = alarm
    left = perform(DISARM, clock, alarm)
    # In the turn of the last operation, on another object: nobody but this task looks at its entry, and the clock,
    # which makes it, has been told not to.
    obj.late.pop(task.id, None)
    return result, left


def jiffies() -> int:
    """The time since the execution began, in jiffies of a millisecond."""
    return int(perform(JIFFIES, domain(Clock)))


def ktime_get() -> int:
    """The time since the execution began, in nanoseconds; no finer than a jiffy."""
    return jiffies() * (1_000_000_000 // HZ)


def msleep(msecs: int) -> None:
    """Sleep for so many milliseconds, or longer."""
    might_sleep()
    mdelay(msecs)


def mdelay(msecs: int) -> None:
    """Wait for so many milliseconds, or longer, without sleeping: also under a spinlock."""
    perform_timeout(SLEEP, Nap(), msecs)
