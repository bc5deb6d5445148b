"""Semaphore: so many may be inside; who waits is let in by who leaves, in order. Kernel: struct semaphore, v6.6."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from sugarbush.concurrency.core import (
    ConcurrencyError,
    Hold,
    Operation,
    Task,
    if_it_succeeds,
    look_at,
    might_sleep,
    perform,
)
from sugarbush.concurrency.time import checked_timeout, late, perform_timeout


class Semaphore:
    """A counting semaphore; nobody owns it, so `up` may come from any task, and the lock validator does not see it.

    `_queue` has the tasks that wait, oldest first; `_let_in` those among them that may go on.
    """

    __slots__ = ("_count", "_let_in", "_queue", "late", "name")

    def __init__(self, count: int = 1, name: str = "semaphore") -> None:
        if count < 0:
            raise ConcurrencyError(f"the count of a semaphore is at least 0, not {count}")
        self.name = name
        self._count = count
        self._queue: list[Task] = []
        self._let_in: list[Task] = []
        self.late: dict[int, None] = {}

    @property
    def count(self) -> int:
        """For how many there is room, at this moment."""
        return int(look_at(self, "_count"))

    def down(self) -> None:
        """Wait until there is room, and go in."""
        might_sleep()
        if not perform(DOWN, self):
            perform(DOWN_SLOW, self)

    def down_timeout(self, timeout: int) -> bool:
        """As `down`, at most `timeout` jiffies; whether it went in. The kernel's gives 0 for yes, else -ETIME."""
        might_sleep()
        checked_timeout(timeout)
        return bool(perform(DOWN, self)) or bool(perform_timeout(DOWN_SLOW_TIMEOUT, self, timeout)[0])

    def down_trylock(self) -> bool:
        """Go in if there is room; whether it did. The kernel's gives 0 for yes."""
        return bool(perform(DOWN_TRYLOCK, self))

    def up(self) -> None:
        """Leave: the oldest waiter is let in, or there is room for one more."""
        perform(UP, self)

    def __enter__(self) -> Self:
        self.down()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.up()

    def __repr__(self) -> str:
        return f"<Semaphore {self.name}: room for {self._count}, {len(self._queue)} wait>"


def _try_down(sem: Semaphore, _task: Task, _arg: object) -> bool:
    if sem._count == 0:
        return False
    sem._count -= 1
    return True


def _down_or_queue(sem: Semaphore, task: Task, _arg: object) -> bool:
    if _try_down(sem, task, None):
        return True
    sem._queue.append(task)
    return False


def _is_in(sem: Semaphore, task: Task) -> bool:
    return task in sem._let_in


def _is_in_or_late(sem: Semaphore, task: Task) -> bool:
    return task in sem._let_in or late(sem, task)


def _go_in(sem: Semaphore, task: Task, _arg: object) -> bool:
    if task in sem._let_in:
        sem._let_in.remove(task)
        return True
    sem._queue.remove(task)
    return False


def _up(sem: Semaphore, _task: Task, _arg: object) -> None:
    if sem._queue:
        sem._let_in.append(sem._queue.pop(0))
    else:
        sem._count += 1


_ORDER = ("up",)


def _down(name: str, **how: Any) -> Operation:
    return Operation(name, wakes=True, acquires=_ORDER, orders=if_it_succeeds, local=True, **how)


DOWN = _down("down", effect=_down_or_queue, hold=Hold.ASKS)
DOWN_SLOW = _down("down_slowpath", ready=_is_in, effect=_go_in, hold=Hold.TAKES)
DOWN_SLOW_TIMEOUT = _down("down_timeout", ready=_is_in_or_late, effect=_go_in)
DOWN_TRYLOCK = _down("down_trylock", effect=_try_down, hold=Hold.TRIES)
UP = Operation("up", effect=_up, wakes=True, releases=_ORDER, local=True, hold=Hold.GIVES)
