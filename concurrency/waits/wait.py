"""Wait queues: tasks sleep until somebody who has changed something wakes them.

`wait_event` does it right. `prepare_to_wait`, `schedule` and `finish_wait` are what it is made of, and leave room for
the lost wake-up: a condition that is looked at before the task is on the queue. Kernel: include/linux/wait.h and
kernel/sched/wait.c, v6.6. Simpler here: no signals, and a task is on one queue at a time.
"""

from __future__ import annotations

from collections.abc import Callable

from sugarbush.concurrency.core import (
    Access,
    ConcurrencyError,
    Fence,
    Hold,
    Operation,
    Sleep,
    Task,
    active,
    condition_holds,
    current_task,
    if_it_succeeds,
    might_sleep,
    perform,
)
from sugarbush.concurrency.time import late, perform_timeout

TASK_RUNNING = 0
TASK_UNINTERRUPTIBLE = 2


class WaitQueue(Sleep):
    """Who sleeps until something happens: `_entries` has each task and whether it wants to be woken alone.

    Exclusive waiters stand behind the others, in the order in which they came. Kernel: struct wait_queue_head.
    """

    __slots__ = ("_entries",)

    def __init__(self, name: str = "wait queue") -> None:
        super().__init__(name)
        self._entries: list[tuple[Task, bool]] = []

    def wait_event(self, condition: Callable[[], object], *, exclusive: bool = False) -> None:
        """Sleep until `condition()` holds; it is looked at now and after each wake-up."""
        might_sleep()
        if condition_holds(condition):
            return
        while True:
            self.prepare_to_wait(exclusive=exclusive)
            if condition_holds(condition):
                break
            schedule()
        self.finish_wait()

    def wait_event_timeout(self, condition: Callable[[], object], timeout: int) -> int:
        """As `wait_event`, at most `timeout` jiffies; gives those left, at least 1, or 0 if it does not hold."""
        might_sleep()
        if condition_holds(condition):
            return max(timeout, 1)
        while True:
            self.prepare_to_wait()
            if condition_holds(condition):
                timeout = max(timeout, 1)
                break
            if timeout == 0:
                break
            timeout = schedule_timeout(timeout)
        self.finish_wait()
        return timeout

    def prepare_to_wait(self, *, exclusive: bool = False) -> None:
        """Go on the queue and to sleep, which takes effect at the next `schedule`.

        Raises `ConcurrencyError` if the task is on another queue.
        """
        task = current_task()
        other = task.wait_queue
        if other is not None and other is not self:
            raise ConcurrencyError(
                f"{task.name} is on the queue {other.name!r}: a task waits on one queue at a time"
            )
        perform(PREPARE_TO_WAIT_EXCLUSIVE if exclusive else PREPARE_TO_WAIT, self)

    def finish_wait(self) -> None:
        """Be awake and on no queue."""
        perform(FINISH_WAIT, self)

    def wake_up(self, nr: int = 1) -> int:
        """Wake all tasks but the exclusive ones, and `nr` of those; gives how many were woken."""
        return int(perform(_wake_up(nr), self))

    def wake_up_all(self) -> int:
        """Wake all tasks; gives how many."""
        return int(perform(WAKE_UP_ALL, self))

    def active(self) -> bool:
        """Somebody is on the queue; kernel: waitqueue_active(), which orders nothing."""
        return bool(perform(WAITQUEUE_ACTIVE, self))

    def __repr__(self) -> str:
        return f"<WaitQueue {self.name}: {', '.join(task.name for task, _ in self._entries) or 'empty'}>"


def _fall_asleep(place: Sleep, task: Task) -> None:
    task.dozing = True
    if task not in place.asleep:
        place.asleep.append(task)


def _awake(place: Sleep, task: Task) -> bool:
    """Whether it slept."""
    sleeps = task in place.asleep
    if sleeps:
        place.asleep.remove(task)
    return sleeps


def _prepare(queue: WaitQueue, task: Task, exclusive: bool) -> None:
    # Where a task waits is its own, but `wake_up_process` looks at it: so it changes in the effect, and that depends
    # on every operation.
    task.wait_queue = queue
    if all(waiter is not task for waiter, _ in queue._entries):
        queue._entries.insert(len(queue._entries) if exclusive else 0, (task, exclusive))
    _fall_asleep(queue, task)


def _prepare_shared(queue: WaitQueue, task: Task, _arg: object) -> None:
    _prepare(queue, task, False)


def _prepare_exclusive(queue: WaitQueue, task: Task, _arg: object) -> None:
    _prepare(queue, task, True)


def _finish(queue: WaitQueue, task: Task, _arg: object) -> None:
    queue._entries = [entry for entry in queue._entries if entry[0] is not task]
    _awake(queue, task)
    task.wait_queue = None
    task.dozing = False


def _wake(queue: WaitQueue, nr: int) -> int:
    """Wakes and takes off the queue; kernel: __wake_up_common() with autoremove_wake_function()."""
    woken = 0
    for entry in list(queue._entries):
        task, exclusive = entry
        queue._entries.remove(entry)
        _awake(queue, task)
        woken += 1
        nr -= exclusive
        if exclusive and nr == 0:
            break
    return woken


def _wake_all(queue: WaitQueue, _task: Task, _arg: object) -> int:
    return _wake(queue, 0)


def _any(queue: WaitQueue, _task: Task, _arg: object) -> bool:
    return bool(queue._entries)


def _set_asleep(place: Sleep, task: Task, _arg: object) -> None:
    _fall_asleep(place, task)


def _set_running(place: Sleep, task: Task, _arg: object) -> None:
    _awake(place, task)
    task.dozing = False


def _go_on(place: Sleep, task: Task, _arg: object) -> bool:
    """Whether it was woken, or not asleep at all: whose time was up has met nobody."""
    task.dozing = False
    return not _awake(place, task)


def _may_run(place: Sleep, task: Task) -> bool:
    return task not in place.asleep or late(place, task)


def _wake_sleeper(sleep: Sleep, _task: Task, whom: Task) -> bool:
    if whom.wait_queue is not None:
        raise ConcurrencyError(f"{whom.name} waits on a queue: wake it with wake_up()")
    was = bool(sleep.asleep)
    sleep.asleep.clear()
    return was


_LOCK, _WAKE = ("lock",), ("lock", "wake")
PREPARE_TO_WAIT = Operation(
    "prepare_to_wait",
    effect=_prepare_shared,
    wakes=True,
    acquires=_LOCK,
    releases=_LOCK,
    after=Fence.MB,
    local=True,
)
PREPARE_TO_WAIT_EXCLUSIVE = Operation(
    "prepare_to_wait_exclusive",
    effect=_prepare_exclusive,
    wakes=True,
    acquires=_LOCK,
    releases=_LOCK,
    after=Fence.MB,
    local=True,
)
FINISH_WAIT = Operation("finish_wait", effect=_finish, wakes=True, local=True)
WAKE_UP_ALL = Operation(
    "wake_up_all", effect=_wake_all, wakes=True, acquires=_LOCK, releases=_WAKE, local=True
)
WAITQUEUE_ACTIVE = Operation("waitqueue_active", Access.READ_ONCE, effect=_any, local=True)
# Kernel: set_current_state() is smp_store_mb(), so what is looked at next is not older than a wake-up that comes too
# early to be noticed (include/linux/sched.h, "set_current_state()"); the other barrier is that of try_to_wake_up().
SET_ASLEEP = Operation("set_current_state", effect=_set_asleep, wakes=True, after=Fence.MB, local=True)
SET_RUNNING = Operation("set_current_state", effect=_set_running, wakes=True, local=True)
SCHEDULE = Operation(
    "schedule",
    ready=_may_run,
    effect=_go_on,
    wakes=True,
    acquires=("wake",),
    orders=if_it_succeeds,
    local=True,
)
SPURIOUS = Operation("spurious wake-up", effect=_set_running, wakes=True, local=True)
# It looks at the queue that the task is on, too, which is another object: so it depends on everything.
WAKE_UP_PROCESS = Operation(
    "wake_up_process",
    effect=_wake_sleeper,
    wakes=True,
    releases=("wake",),
    orders=if_it_succeeds,
    before=Fence.MB,
    local=False,
    hold=Hold.IF_TRUE,
)
_WAKE_UP: dict[int, Operation] = {}


def _wake_up(nr: int) -> Operation:
    """The operation that wakes `nr` exclusive waiters."""
    found = _WAKE_UP.get(nr)
    if found is None:

        def effect(queue: WaitQueue, _task: Task, _arg: object) -> int:
            return _wake(queue, nr)

        found = _WAKE_UP[nr] = Operation(
            "wake_up", effect=effect, wakes=True, acquires=_LOCK, releases=_WAKE, local=True
        )
    return found


def _sleep_of(task: Task) -> Sleep:
    if task.sleep is None:
        task.sleep = Sleep(task.name)
    return task.sleep


def _place(task: Task) -> Sleep:
    """Where `task` sleeps: in its queue, or by itself."""
    return _sleep_of(task) if task.wait_queue is None else task.wait_queue


def set_current_state(state: int) -> None:
    """From the next `schedule` on sleep, unless `state` is `TASK_RUNNING`."""
    perform(SET_RUNNING if state == TASK_RUNNING else SET_ASLEEP, _place(current_task()))


def schedule() -> None:
    """Sleep until woken; does not wait if that has happened since the task went to sleep."""
    task = current_task()
    might_sleep(state=False)
    perform(SPURIOUS if for_no_reason() else SCHEDULE, _place(task))


def schedule_timeout(timeout: int) -> int:
    """As `schedule`, but at most `timeout` jiffies; gives those that are left, 0 if none."""
    task = current_task()
    might_sleep(state=False)
    if for_no_reason():
        perform(SPURIOUS, _place(task))
        return timeout
    return perform_timeout(SCHEDULE, _place(task), timeout)[1]


def wake_up_process(task: Task) -> bool:
    """Wake a task that sleeps on no queue; whether it slept."""
    return bool(perform(WAKE_UP_PROCESS, _sleep_of(task), task))


def for_no_reason() -> bool:
    """The wait that the calling task is about to begin ends spuriously, by choice (`Settings.spurious`)."""
    runtime = active.runtime
    if runtime is None or not runtime.spurious:
        return False
    task = runtime.current
    if task.spurious >= runtime.spurious or not runtime.choose(2, f"{task.name} wakes up for no reason"):
        return False
    task.spurious += 1
    return True
