"""Condition: a monitor's condition variable, with the face of `threading.Condition`.

As POSIX has it, and Python's documentation does not rule out: which waiters a notify wakes is a choice, and with
`Settings(spurious=n)` up to n waits of each task end for no reason. What is to be true must be looked at again.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from concurrency.clock import HZ, jiffies, late, perform_timeout
from concurrency.context import might_sleep
from concurrency.lock import OwnedLock
from concurrency.mutex import Mutex
from concurrency.operation import Operation
from concurrency.runtime import active, perform
from concurrency.task import Task
from concurrency.wait import for_no_reason

T = TypeVar("T")


class Condition:
    """Tasks that hold `lock` wait until one that holds it notifies them; `with condition:` takes the lock.

    `waiters` has the tasks that wait and were not notified.
    """

    __slots__ = ("lock", "name", "waiters")

    def __init__(self, lock: OwnedLock | None = None, name: str = "condition") -> None:
        self.name = name
        self.lock = Mutex(name) if lock is None else lock
        self.waiters: list[Task] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Give the lock back, wait to be notified, at most `timeout` seconds, and take the lock again.

        False if the time was up. Raises RuntimeError if the calling task does not hold the lock.
        """
        self._must_hold("wait on")
        might_sleep()
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
        """Wait until `predicate()` is true, at most `timeout` seconds; gives its last value."""
        result = predicate()
        end = None
        while not result:
            if timeout is not None:
                now = jiffies()
                end = now + to_jiffies(timeout) if end is None else end
                if now >= end:
                    break
                timeout = (end - now) / HZ
            self.wait(timeout)
            result = predicate()
        return result

    def notify(self, n: int = 1) -> None:
        """Wake `n` of the waiters; which ones is a choice. Raises RuntimeError without the lock."""
        self._must_hold("notify")
        perform(CONDITION_NOTIFY, self, n)

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
        return f"<Condition {self.name}: {', '.join(task.name for task in self.waiters) or 'nobody'} waits>"


def to_jiffies(seconds: float) -> int:
    """So many seconds in whole jiffies, rounded up; kernel: timespec64_to_jiffies()."""
    return -int(-seconds * HZ // 1)


def _wait(condition: Condition, task: Task, _arg: object) -> None:
    condition.waiters.append(task)


def _notified(condition: Condition, task: Task) -> bool:
    return task not in condition.waiters


def _notified_or_late(condition: Condition, task: Task) -> bool:
    return task not in condition.waiters or late(task)


def _leave(condition: Condition, task: Task, _arg: object) -> bool:
    if task not in condition.waiters:
        return True
    condition.waiters.remove(task)
    return False


def _notify(condition: Condition, _task: Task, n: int) -> None:
    runtime = active.runtime
    for _ in range(min(n, len(condition.waiters))):
        count = len(condition.waiters)
        condition.waiters.pop(
            0 if runtime is None else runtime.choose(count, f"who of {condition.name} wakes")
        )


def _notify_all(condition: Condition, _task: Task, _arg: object) -> None:
    condition.waiters.clear()


_ORDER = ("notify",)
CONDITION_WAIT = Operation("condition_wait", effect=_wait, local=True)
CONDITION_AWAKE = Operation("condition_wait", ready=_notified, effect=_leave, acquires=_ORDER, local=True)
CONDITION_AWAKE_OR_LATE = Operation(
    "condition_wait", ready=_notified_or_late, effect=_leave, acquires=_ORDER, local=True
)
CONDITION_LEAVE = Operation("spurious wake-up", effect=_leave, local=True)
CONDITION_NOTIFY = Operation("notify", effect=_notify, wakes=True, releases=_ORDER, local=True)
CONDITION_NOTIFY_ALL = Operation("notify_all", effect=_notify_all, wakes=True, releases=_ORDER, local=True)
