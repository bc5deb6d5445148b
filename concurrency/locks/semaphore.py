"""Semaphore: so many tasks may be inside; one that leaves lets in the oldest that waits.

Kernel: struct semaphore, v6.6. The hand-over is the kernel's (kernel/locking/semaphore.c): `up` gives the room to
the oldest waiter and not to the count, so no task that comes in between can take it.
"""

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
    """A counting semaphore. No task owns it, so `up` may come from any task, and the lock validator does not see it.

    `_queue` has the tasks that wait, oldest first; `_let_in` those that were let in and have not gone on yet. A
    task is in at most one of the two, and `_count` is above 0 only if `_queue` is empty.
    """

    # No `awaited`: any task may call `up`, so a circle of waits through a semaphore need not be a deadlock.

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
        """How many tasks there is room for at this moment: an operation."""
        return int(look_at(self, "_count"))

    def down(self) -> None:
        """Wait until there is room, and go in."""
        might_sleep()
        if not perform(DOWN, self):
            perform(DOWN_SLOW, self)

    def down_timeout(self, timeout: int) -> bool:
        """As `down`, but waits at most `timeout` jiffies; True if it went in. (The kernel's gives 0, or -ETIME.)"""
        might_sleep()
        # Before the first try: a negative time-out is refused also where there is room.
        checked_timeout(timeout)
        return bool(perform(DOWN, self)) or bool(perform_timeout(DOWN_SLOW_TIMEOUT, self, timeout)[0])

    def down_trylock(self) -> bool:
        """Go in if there is room; True if it did. (The kernel's gives 0 for that.)"""
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
    # A task that was let in before its time was up goes in, whichever of the two woke it.
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


# A task that goes in knows what all did that called `up` before, and nothing of those that went in before it.
_ORDER = ("up",)


def _down(name: str, **how: Any) -> Operation:
    return Operation(name, wakes=True, acquires=_ORDER, orders=if_it_succeeds, local=True, **how)


# Hold.ASKS: a task that does not get in stands in the queue now, so it has changed something. A task that waits with a
# deadline declares none: it may be late, and to leave the queue then is a change as well.
DOWN = _down("down", effect=_down_or_queue, hold=Hold.ASKS)
DOWN_SLOW = _down("down_slowpath", ready=_is_in, effect=_go_in, hold=Hold.TAKES)
DOWN_SLOW_TIMEOUT = _down("down_timeout", ready=_is_in_or_late, effect=_go_in)
DOWN_TRYLOCK = _down("down_trylock", effect=_try_down, hold=Hold.TRIES)
UP = Operation("up", effect=_up, wakes=True, releases=_ORDER, local=True, hold=Hold.GIVES)
