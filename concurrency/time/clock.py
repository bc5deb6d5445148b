"""Time: a clock that goes on when a timer fires, and waits that have a deadline.

Under the simulated runtime time is virtual. It stands still but for the daemon task ``clock``, which the first timer
starts: that task can go on whenever a timer is pending, and then it is as late as the earliest one says. So when a
timer fires is a choice like any other; it may be late, never early. Under the threaded runtime it is real time.

>>> from sugarbush import check, explore
>>> from sugarbush.concurrency import msleep
>>> def program():
...     msleep(5)
...     check(jiffies() >= 5, "never early")
>>> explore(program, executions=1).failures        # takes no time
[]

A wait with a deadline (`perform_timeout`) is three operations: `ARM` enters an alarm into the clock, the operation
itself is ready when its object is or when the alarm has fired, `DISARM` takes the alarm out.

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


class ClockEntry(Protocol):
    """What the clock keeps: a thing that happens at a time. A `Timer`, or the `Alarm` of a wait with a deadline."""

    expires: int
    """When, in jiffies."""
    number: int
    """Which of all that were added it was: of two that are due at one time the first added fires first."""

    def fire(self, clock: Clock) -> None:
        """The time has come. Called in the clock's task, or by the calling task when no program runs."""


class Clock:
    """The time of one execution, in jiffies since its start, and what is due, earliest first."""

    name = "clock"

    def __init__(self) -> None:
        runtime = active.runtime
        self._start = time.monotonic() if runtime is not None and runtime.parallel else None
        self._now = 0
        # (expires, number, entry), sorted. No two have one number, so the entries themselves are never compared.
        self.pending: list[tuple[int, int, ClockEntry]] = []
        self.armed = 0
        """How many entries were ever added."""
        self.running: ClockEntry | None = None
        """The entry that fires now: a timer whose function is being called, say."""
        self.task: Task | None = None
        """The clock's task, once an entry has fired."""
        # `is_idle`, which decides whether a task may go on, gets no argument: so the timer stands here.
        self.deleting: dict[Task, ClockEntry] = {}
        """The tasks that wait until a timer does not fire any more, each with the timer; a task's entry is its own."""

    @property
    def holders(self) -> tuple[Task, ...]:
        """The clock's task while it calls the function of a timer."""
        return () if self.running is None or self.task is None else (self.task,)

    def awaited(self, task: Task) -> Mapping[Task, str]:
        """For a task that deletes a timer: the clock's task, if that calls the function of this timer now."""
        entry = self.deleting.get(task)
        if entry is None or entry is not self.running or self.task is None:
            return {}
        return {self.task: "held by {}, which calls the timer's function"}

    @property
    def now(self) -> int:
        """The time, in jiffies. For effects: a program asks `jiffies()`, which is an operation."""
        return self._now if self._start is None else int((time.monotonic() - self._start) * HZ)

    @property
    def due(self) -> bool:
        """Whether the earliest entry may fire: it is late enough, or time is virtual and passes when it fires."""
        return bool(self.pending) and (self._start is None or self.pending[0][0] <= self.now)

    def seconds_left(self) -> float | None:
        """How long until the earliest entry is due in real time; None if nothing is pending."""
        return max(0, self.pending[0][0] - self.now) / HZ if self.pending else None

    def add(self, entry: ClockEntry, expires: int) -> tuple[bool, bool]:
        """Have `entry` fire at this time, and at no other.

        Gives whether it was pending, and whether it is the first entry ever: then the caller must start the clock's
        task.
        """
        was = self.drop(entry)
        self.armed += 1
        entry.expires, entry.number = expires, self.armed
        insort(self.pending, (expires, self.armed, entry))
        return was, self.armed == 1

    def has(self, entry: ClockEntry) -> bool:
        """Whether `entry` is pending."""
        return (entry.expires, entry.number, entry) in self.pending

    def drop(self, entry: ClockEntry) -> bool:
        """Take `entry` out, so that it does not fire; gives whether it was pending."""
        pending = self.has(entry)
        if pending:
            self.pending.remove((entry.expires, entry.number, entry))
        return pending

    def take(self) -> ClockEntry:
        """Take out the earliest entry, which makes it as late as that says."""
        expires, _, entry = self.pending.pop(0)
        # An entry may be due at a time that has passed already; time does not go back.
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
        """The deadline has passed: note that in the object that the task waits for."""
        perform(_expire(self.task.id), self.obj)


class Nap:
    """The object that a task waits for in msleep(): nothing but the deadline ends that wait."""

    __slots__ = ("late", "name")

    def __init__(self) -> None:
        self.name = "nap"
        self.late: dict[int, None] = {}


def late(obj: Timed, task: Task) -> bool:
    """Whether the deadline of the wait of `task` for `obj` has passed. For `ready` of operations that may time out."""
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


def _take(clock: Clock, task: Task, _arg: object) -> ClockEntry:
    clock.task = task
    clock.running = clock.take()
    return clock.running


def is_idle(clock: Clock, task: Task) -> bool:
    """Whether the timer that `task` deletes does not fire at this moment."""
    return clock.running is not clock.deleting[task]


def _ran(clock: Clock, _task: Task, _arg: object) -> ClockEntry | None:
    ran, clock.running = clock.running, None
    return ran


def _result(_clock: Clock, _arg: object, result: ClockEntry) -> ClockEntry:
    # For `orders`: the orderings are those of the timer that fires or has fired, not of the clock.
    return result


PLACE = "timers"
BASE = ("base",)
"""The ordering that the lock of a timer base makes (struct timer_base). In the kernel each CPU has a base, and two
timers may be on two CPUs; so it is not an ordering of the one clock, but one of each timer (`Operation.orders`)."""
# meets=False: that two tasks sleep, or ask what time it is, does not mean that they touch anything in common.
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
    """The operation by which the time of task `number` is up.

    It is done to the object that the task waits for, since tasks are woken by operations on the object that they
    wait for (`Operation.wakes`). There is one operation for each number, as an effect on a copy gets no argument
    (`Operation.ready`).
    """
    found = _EXPIRE.get(number)
    if found is None:

        def effect(obj: Timed, _task: Task, _arg: object) -> None:
            obj.late[number] = None

        found = _EXPIRE[number] = Operation(
            "timeout",
            effect=effect,
            wakes=True,
            local=True,
            # The clock tells one task something that concerns no other one.
            meets=False,
        )
    return found


def arm(op: Operation, clock: Clock, arg: Any) -> bool:
    """Perform `op`, which adds an entry to the clock; gives whether it was pending. The first one starts the task."""
    was, first, *_ = perform(op, clock, arg)
    # Not when the clock is made: a program without timers then has no task more, and no schedules more.
    if first and active.runtime is not None:
        active.runtime.spawn(run_clock, (clock,), "clock", True)
    return bool(was)


def run_clock(clock: Clock) -> None:
    """What the clock's task runs: one entry after another fires. It never ends; it is a daemon."""
    while True:
        perform(FIRE, clock).fire(clock)
        perform(RAN, clock)


def pass_time(clock: Clock, until: int) -> None:
    """Outside of executions: make it so late, and fire what is due by then."""
    while clock.pending and clock.pending[0][0] <= until:
        clock.take().fire(clock)
    clock._now = max(clock._now, until)


def checked_timeout(timeout: int) -> int:
    """`timeout`, a number of jiffies; raises `ConcurrencyError` if it is negative."""
    if timeout < 0:
        raise ConcurrencyError(f"a timeout is at least 0 jiffies, not {timeout}")
    return timeout


def perform_timeout(op: Operation, obj: Timed, timeout: int) -> tuple[Any, int]:
    """Perform `op`, which is ready also when its task is `late`; gives its result and the jiffies left."""
    task = current_task()
    clock = domain(Clock)
    alarm = Alarm(task, obj)
    arm(ARM, clock, (alarm, checked_timeout(timeout)))
    if active.runtime is None and op.ready is not None and not op.ready(obj, task):
        pass_time(clock, alarm.expires)
    result = perform(op, obj)
    clock.deleting[task] = alarm
    # As del_timer_sync: it waits until an alarm that fires at this moment has done so.
    left = perform(DISARM, clock, alarm)
    # This is a part of DISARM, an operation on another object, and changes `obj` all the same. That is right: no other
    # task looks at this entry, and the clock, which makes it, does not fire the alarm any more.
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
