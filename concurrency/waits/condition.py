"""Condition: a monitor's condition variable, with the face of `threading.Condition`.

As POSIX has it, and Python's documentation does not rule out, a notify lets any one of the tasks go on that wait at
that moment, and with `Settings(spurious=n)` up to n waits of each task end for no reason. So a program must look
again whether what it waits for is true:

>>> from sugarbush import Settings, check, explore, spawn
>>> def program(again):
...     condition, items = Condition(), []
...     def put():
...         with condition:
...             items.append(1)
...             condition.notify()
...     spawn(put)
...     with condition:
...         if again:
...             condition.wait_for(lambda: items)
...         elif not items:
...             condition.wait()
...         check(items, "there is an item")
>>> spurious = Settings(spurious=1)
>>> explore(lambda: program(again=True), strategy="dpor", settings=spurious).verdict.value
'passed'
>>> explore(lambda: program(again=False), strategy="dpor", settings=spurious).failures[0].failure.headline
'check failed: there is an item'
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from sugarbush.concurrency.core import Operation, Task, condition_holds, if_it_succeeds, might_sleep, perform
from sugarbush.concurrency.locks import Mutex, OwnedLock
from sugarbush.concurrency.time import HZ, jiffies, late, perform_timeout
from sugarbush.concurrency.waits.wait import for_no_reason

T = TypeVar("T")


class Condition:
    """Tasks that hold `lock` wait until one that holds it notifies them; `with condition:` takes the lock.

    `_waiters` has the tasks that wait, oldest first. `_calls` has one entry for each notification that no task has
    answered yet, oldest first: the tasks that were waiting at that moment, of which one may go on.
    """

    # A call names the tasks of its moment, because a task that begins to wait later must not answer it. Both lists
    # are flat lists of tuples, so that a search can copy them (`Operation.ready`).

    __slots__ = ("_calls", "_waiters", "late", "lock", "name")

    def __init__(self, lock: OwnedLock | None = None, name: str = "condition") -> None:
        self.name = name
        self.lock = Mutex(name) if lock is None else lock
        self._waiters: list[Task] = []
        self._calls: list[tuple[Task, ...]] = []
        self.late: dict[int, None] = {}

    def wait(self, timeout: float | None = None) -> bool:
        """Give the lock back, wait to be notified, at most `timeout` seconds, and take the lock again.

        False if the time was up. Raises RuntimeError if the calling task does not hold the lock.
        """
        self._must_hold("wait on")
        might_sleep()
        # On the list before the lock is given back: a notify that comes right after that is for this task, too.
        perform(CONDITION_WAIT, self)
        self.lock.unlock()
        if for_no_reason():
            perform(CONDITION_LEAVE, self)
            notified = True
        elif timeout is None:
            notified = bool(perform(CONDITION_AWAKE, self))
        else:
            notified = bool(perform_timeout(CONDITION_AWAKE_OR_LATE, self, to_jiffies(timeout))[0])
        self.lock.lock()
        return notified

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Wait until `predicate()` is true, at most `timeout` seconds in all; gives its last value."""
        result = condition_holds(predicate)
        end = None
        while not result:
            if timeout is not None:
                now = jiffies()
                end = now + to_jiffies(timeout) if end is None else end
                if now >= end:
                    break
                timeout = (end - now) / HZ
            self.wait(timeout)
            result = condition_holds(predicate)
        return result

    def notify(self, n: int = 1) -> None:
        """Let `n` of the waiters go on, whichever: the schedule chooses. Raises RuntimeError without the lock."""
        self._must_hold("notify")
        perform(_notify_some(n), self)

    def notify_all(self) -> None:
        """Wake all waiters. Raises RuntimeError without the lock."""
        self._must_hold("notify")
        perform(CONDITION_NOTIFY_ALL, self)

    def _must_hold(self, to: str) -> None:
        if not self.lock.held_by_me():
            raise RuntimeError(f"cannot {to} un-acquired lock")

    def __enter__(self) -> Self:
        self.lock.lock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.lock.unlock()

    def __repr__(self) -> str:
        return f"<Condition {self.name}: {', '.join(task.name for task in self._waiters) or 'nobody'} waits>"


def to_jiffies(seconds: float) -> int:
    """So many seconds in whole jiffies, rounded up; kernel: timespec64_to_jiffies()."""
    return -int(-seconds * HZ // 1)


def _wait(condition: Condition, task: Task, _arg: object) -> None:
    condition._waiters.append(task)


def _notified(condition: Condition, task: Task) -> bool:
    return any(task in call for call in condition._calls)


def _notified_or_late(condition: Condition, task: Task) -> bool:
    return _notified(condition, task) or late(condition, task)


def _leave(condition: Condition, task: Task, _arg: object) -> bool:
    """The wait ends: the task answers the oldest call that it may answer; gives whether there was one.

    A task that may answer one call may answer each later one too, as it still waits then. So to answer the oldest
    leaves the most for the others, and a call is never left without a task that could answer it.
    """
    called = next((call for call in condition._calls if task in call), None)
    if called is not None:
        condition._calls.remove(called)
    condition._waiters.remove(task)
    rest = (tuple(other for other in call if other is not task) for call in condition._calls)
    condition._calls = [call for call in rest if call]
    return called is not None


def _notify_all(condition: Condition, _task: Task, _arg: object) -> None:
    condition._calls = [tuple(condition._waiters)] * len(condition._waiters)


_ORDER = ("notify",)
CONDITION_WAIT = Operation("condition_wait", effect=_wait, wakes=True, local=True)
CONDITION_AWAKE = Operation(
    "condition_wait", ready=_notified, effect=_leave, wakes=True, acquires=_ORDER, local=True
)
CONDITION_AWAKE_OR_LATE = Operation(
    "condition_wait",
    ready=_notified_or_late,
    effect=_leave,
    wakes=True,
    acquires=_ORDER,
    orders=if_it_succeeds,
    local=True,
)
CONDITION_LEAVE = Operation("spurious wake-up", effect=_leave, wakes=True, local=True)
CONDITION_NOTIFY_ALL = Operation("notify_all", effect=_notify_all, wakes=True, releases=_ORDER, local=True)
_NOTIFY: dict[int, Operation] = {}


def _notify_some(n: int) -> Operation:
    """The operation that lets `n` waiters go on.

    It is one operation for all n, since other tasks change how many wait; and one for each n, since a search makes
    effects on copies without an argument.
    """
    found = _NOTIFY.get(n)
    if found is None:

        def effect(condition: Condition, _task: Task, _arg: object) -> None:
            # A call that nobody is left to answer would let a task through that begins to wait later.
            room = len(condition._waiters) - len(condition._calls)
            condition._calls += [tuple(condition._waiters)] * min(n, room)

        found = _NOTIFY[n] = Operation("notify", effect=effect, wakes=True, releases=_ORDER, local=True)
    return found
