"""Barrier: so many tasks wait for each other, with the face of `threading.Barrier`."""

from __future__ import annotations

from threading import BrokenBarrierError

from sugarbush.concurrency.core import ConcurrencyError, Operation, Task, look_at, might_sleep, perform
from sugarbush.concurrency.time import late, perform_timeout
from sugarbush.concurrency.waits.condition import to_jiffies


class Barrier:
    """`parties` tasks go on once all of them have come; then it serves again.

    `_waiting` has the tasks that wait and their places in the order of arrival; `_passing` those that may go on but
    have not done so yet. A task is in at most one of the two. They are apart so that the barrier can serve again at
    once: the next ones may come while some of the last have not gone on.
    """

    # No `awaited`: which task comes next is not known, so a circle of waits through a barrier need not be a deadlock.

    __slots__ = ("_broken", "_passing", "_waiting", "late", "name", "parties")

    def __init__(self, parties: int, name: str = "barrier") -> None:
        if parties < 1:
            raise ConcurrencyError(f"a barrier is for at least 1 task, not {parties}")
        self.name = name
        self.parties = parties
        self._broken = False
        self._waiting: dict[Task, int] = {}
        self._passing: dict[Task, int] = {}
        self.late: dict[int, None] = {}

    @property
    def broken(self) -> bool:
        """Whether it is broken at this moment: an operation."""
        return bool(look_at(self, "_broken"))

    @property
    def n_waiting(self) -> int:
        """How many tasks wait at this moment: an operation."""
        return len(look_at(self, "_waiting"))

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the others, at most `timeout` seconds; gives the place in the order of arrival, from 0.

        Raises `BrokenBarrierError` if the barrier is broken: by `abort` or `reset`, or since the time of a task was
        up.
        """
        # Two operations: to arrive changes what the others wait for, and must happen before this task waits.
        might_sleep()
        perform(BARRIER_ARRIVE, self)
        if timeout is None:
            place = perform(BARRIER_WAIT, self)
        else:
            place = perform_timeout(BARRIER_WAIT_TIMEOUT, self, to_jiffies(timeout))[0]
        if place is None:
            raise BrokenBarrierError
        return int(place)

    def abort(self) -> None:
        """Break the barrier: all tasks that wait, and those that come until `reset`, get an error."""
        perform(BARRIER_ABORT, self)

    def reset(self) -> None:
        """All tasks that wait get an error; then the barrier is as new."""
        perform(BARRIER_RESET, self)

    def __repr__(self) -> str:
        return f"<Barrier {self.name}: {len(self._waiting)} of {self.parties}>"


def _arrive(barrier: Barrier, task: Task, _arg: object) -> None:
    barrier._waiting[task] = len(barrier._waiting)
    if len(barrier._waiting) == barrier.parties and not barrier._broken:
        barrier._passing.update(barrier._waiting)
        barrier._waiting.clear()


def _may_pass(barrier: Barrier, task: Task) -> bool:
    return barrier._broken or task not in barrier._waiting


def _may_pass_or_late(barrier: Barrier, task: Task) -> bool:
    return _may_pass(barrier, task) or late(barrier, task)


def _pass(barrier: Barrier, task: Task, _arg: object) -> int | None:
    """Gives the place of the task, or None if it has not met the others; one that is late breaks the barrier."""
    # One that passes goes on although the barrier has been broken since: all had come.
    if task in barrier._passing:
        return barrier._passing.pop(task)
    if barrier._waiting.pop(task, None) is not None:
        barrier._broken = True
    return None


def _if_it_passes(barrier: Barrier, _arg: object, result: int | None) -> Barrier | None:
    """For `Operation.orders`: a task that gets an error has not met the others, so nothing is ordered."""
    return None if result is None else barrier


def _abort(barrier: Barrier, _task: Task, _arg: object) -> None:
    barrier._broken = True


def _reset(barrier: Barrier, _task: Task, _arg: object) -> None:
    barrier._broken = False
    barrier._waiting.clear()


_ORDER = ("arrived",)
BARRIER_ARRIVE = Operation("barrier_arrive", effect=_arrive, wakes=True, releases=_ORDER, local=True)
BARRIER_WAIT = Operation(
    "barrier_wait",
    ready=_may_pass,
    effect=_pass,
    wakes=True,
    acquires=_ORDER,
    orders=_if_it_passes,
    local=True,
)
BARRIER_WAIT_TIMEOUT = Operation(
    "barrier_wait",
    ready=_may_pass_or_late,
    effect=_pass,
    wakes=True,
    acquires=_ORDER,
    orders=_if_it_passes,
    local=True,
)
BARRIER_ABORT = Operation("barrier_abort", effect=_abort, wakes=True, local=True)
BARRIER_RESET = Operation("barrier_reset", effect=_reset, wakes=True, local=True)
