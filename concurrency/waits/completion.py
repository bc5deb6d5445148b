"""Completion: waits until something has happened, once for each time that it has. Kernel: struct completion, v6.6.

Simpler here: any waiter may win, not the oldest one.
"""

from __future__ import annotations

from sugarbush.concurrency.core import (
    Access,
    Hold,
    Operation,
    Task,
    if_it_succeeds,
    might_sleep,
    perform,
)
from sugarbush.concurrency.time import checked_timeout, late, perform_timeout


class Completion:
    """Tasks wait for something that another one says has happened.

    `_done` counts how many times it has happened and no task has waited for it yet; with `_all_done` all may go on.
    """

    # No `awaited`: any task may call `complete`, so a circle of waits through a completion need not be a deadlock.
    # `_done` stays as it is once `_all_done` is set; the kernel has one number for both, with UINT_MAX / 2 for
    # "all".
    __slots__ = ("_all_done", "_done", "late", "name")

    def __init__(self, name: str = "completion") -> None:
        self.name = name
        self._done = 0
        self._all_done = False
        self.late: dict[int, None] = {}

    def complete(self) -> None:
        """Let one waiter go on, now or later."""
        perform(COMPLETE, self)

    def complete_all(self) -> None:
        """Let all waiters go on, and those that come later, until `reinit`."""
        perform(COMPLETE_ALL, self)

    def wait(self) -> None:
        """Wait until it has happened; kernel: wait_for_completion()."""
        might_sleep()
        perform(WAIT_FOR_COMPLETION, self)

    def wait_timeout(self, timeout: int) -> int:
        """As `wait`, at most `timeout` jiffies; gives those left, at least 1, or 0 if it has not happened.

        Kernel: wait_for_completion_timeout().
        """
        might_sleep()
        # A completion that has happened needs no timer, and so no task of the clock.
        if self.try_wait():
            return max(checked_timeout(timeout), 1)
        got, left = perform_timeout(WAIT_FOR_COMPLETION_TIMEOUT, self, timeout)
        return max(left, 1) if got else 0

    def try_wait(self) -> bool:
        """Take one that has happened, without waiting; True if there was one. Kernel: try_wait_for_completion()."""
        return bool(perform(TRY_WAIT_FOR_COMPLETION, self))

    def is_done(self) -> bool:
        """Whether a task could go on without waiting; takes nothing. Kernel: completion_done()."""
        return bool(perform(COMPLETION_DONE, self))

    def reinit(self) -> None:
        """Nothing has happened yet; kernel: reinit_completion()."""
        perform(REINIT_COMPLETION, self)

    def __repr__(self) -> str:
        return f"<Completion {self.name}: {'all' if self._all_done else self._done} done>"


def _happened(completion: Completion, _task: Task | None = None, _arg: object = None) -> bool:
    return completion._all_done or completion._done > 0


def _happened_or_late(completion: Completion, task: Task) -> bool:
    return _happened(completion) or late(completion, task)


def _take(completion: Completion, _task: Task, _arg: object) -> bool:
    if not _happened(completion):
        return False
    completion._done -= not completion._all_done
    return True


def _complete(completion: Completion, _task: Task, _arg: object) -> None:
    completion._done += not completion._all_done


def _complete_all(completion: Completion, _task: Task, _arg: object) -> None:
    completion._all_done = True


def _reinit(completion: Completion, _task: Task, _arg: object) -> None:
    completion._done = 0
    completion._all_done = False


_ORDER = ("done",)
COMPLETE = Operation("complete", effect=_complete, wakes=True, releases=_ORDER, local=True)
COMPLETE_ALL = Operation("complete_all", effect=_complete_all, wakes=True, releases=_ORDER, local=True)
WAIT_FOR_COMPLETION = Operation(
    "wait_for_completion",
    ready=_happened,
    alike=True,
    effect=_take,
    wakes=True,
    acquires=_ORDER,
    local=True,
)
WAIT_FOR_COMPLETION_TIMEOUT = Operation(
    "wait_for_completion_timeout",
    ready=_happened_or_late,
    effect=_take,
    wakes=True,
    acquires=_ORDER,
    orders=if_it_succeeds,
    local=True,
)
TRY_WAIT_FOR_COMPLETION = Operation(
    "try_wait_for_completion",
    effect=_take,
    wakes=True,
    acquires=_ORDER,
    orders=if_it_succeeds,
    local=True,
    hold=Hold.IF_TRUE,
)
# Kernel: completion_done() reads `done` by a bare READ_ONCE. If it finds something it takes the lock that
# complete() holds and gives it back, so only then is it ordered.
COMPLETION_DONE = Operation(
    "completion_done",
    Access.READ_ONCE,
    effect=_happened,
    acquires=_ORDER,
    orders=if_it_succeeds,
    local=True,
)
REINIT_COMPLETION = Operation("reinit_completion", effect=_reinit, wakes=True, local=True)
