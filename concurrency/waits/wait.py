"""Wait queues: tasks sleep until a task that has changed something wakes them.

`wait_event` does it right. `prepare_to_wait`, `schedule` and `finish_wait` are what it is made of, and leave room for
the lost wake-up: a condition that is looked at before the task is on the queue. Kernel: include/linux/wait.h and
kernel/sched/wait.c, v6.6. Simpler here: no signals, and a task is on one queue at a time.

>>> from sugarbush import Once, Shared, explore, spawn
>>> class Box(Shared):
...     full: Once[int] = 0
>>> def program(early):
...     queue, box = WaitQueue("queue"), Box()
...     def fill():
...         box.full = 1
...         queue.wake_up()
...     spawn(fill)
...     if early:
...         queue.wait_event(lambda: box.full)
...     elif not box.full:
...         queue.prepare_to_wait()     # too late: the wake-up may have come before
...         schedule()
...         queue.finish_wait()
>>> explore(lambda: program(early=True), strategy="dpor").verdict.value
'passed'
>>> explore(lambda: program(early=False), strategy="dpor").failures[0].failure.headline
'deadlock: no task can go on (main)'
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
    """Tasks that sleep until something happens. Kernel: struct wait_queue_head.

    `_entries` has each task and whether it is exclusive (wants to be woken alone). The others stand first, the last
    that came foremost; exclusive ones behind them, in the order in which they came.
    """

    # To be on the queue (`_entries`) and to be asleep (`asleep`) are two things, as there: a wake-up ends both, and
    # the lost wake-up is what comes of one without the other.

    __slots__ = ("_entries",)

    def __init__(self, name: str = "wait queue") -> None:
        super().__init__(name)
        self._entries: list[tuple[Task, bool]] = []

    def wait_event(self, condition: Callable[[], object], *, exclusive: bool = False) -> None:
        """Sleep until `condition()` holds; it is looked at now and after each wake-up."""
        # On the queue first, then a look: a wake-up between the two finds the task (kernel: ___wait_event()).
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
        """Wake all tasks that are not exclusive, and `nr` of the exclusive ones; gives how many were woken."""
        return int(perform(_wake_up(nr), self))

    def wake_up_all(self) -> int:
        """Wake all tasks; gives how many."""
        return int(perform(WAKE_UP_ALL, self))

    def active(self) -> bool:
        """Whether a task is on the queue; kernel: waitqueue_active(), which orders nothing."""
        return bool(perform(WAITQUEUE_ACTIVE, self))

    def __repr__(self) -> str:
        return f"<WaitQueue {self.name}: {', '.join(task.name for task, _ in self._entries) or 'empty'}>"


def _fall_asleep(place: Sleep, task: Task) -> None:
    task.dozing = True
    if task not in place.asleep:
        place.asleep.append(task)


def _awake(place: Sleep, task: Task) -> bool:
    """Make the task run (TASK_RUNNING); gives whether it slept."""
    sleeps = task in place.asleep
    if sleeps:
        place.asleep.remove(task)
    return sleeps


def _prepare(queue: WaitQueue, task: Task, exclusive: bool) -> None:
    # `wake_up_process` of another task looks at this attribute. So it is changed in an effect, and that operation
    # is not local: it depends on this one, which is done to the queue.
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
    """Wake tasks and take them off the queue; kernel: __wake_up_common() with autoremove_wake_function()."""
    # With nr == 0 it never comes down to 0, so all are woken: as there.
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
    """The effect of schedule(): gives whether the task was woken, or was not asleep at all. False: its time was up."""
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


# "lock" is the lock of the queue (wait_queue_head.lock). "wake" is what a task that is woken knows: all that the
# one that woke it did before (kernel: the barriers of try_to_wake_up(), "SLEEP AND WAKE-UP FUNCTIONS" in
# memory-barriers.txt).
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
# Not local: it looks at the queue that the task is on, too, which is another object.
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
    """The operation that wakes `nr` exclusive waiters; one for each number, as `arg` is None on a copy."""
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
    """Where the state of `task` stands: in the queue that it is on, or in a `Sleep` of its own."""
    return _sleep_of(task) if task.wait_queue is None else task.wait_queue


def set_current_state(state: int) -> None:
    """From the next `schedule` on sleep, unless `state` is `TASK_RUNNING`."""
    perform(SET_RUNNING if state == TASK_RUNNING else SET_ASLEEP, _place(current_task()))


def schedule() -> None:
    """Sleep until woken; does not wait if the task was woken since it said that it goes to sleep, or never said so."""
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
    """Wake a task that sleeps on no queue; gives whether it slept."""
    return bool(perform(WAKE_UP_PROCESS, _sleep_of(task), task))


def for_no_reason() -> bool:
    """Whether the wait that the calling task is about to begin ends spuriously: a choice (`Settings.spurious`)."""
    runtime = active.runtime
    if runtime is None or not runtime.spurious:
        return False
    task = runtime.current
    if task.spurious >= runtime.spurious or not runtime.choose(2, f"{task.name} wakes up for no reason"):
        return False
    task.spurious += 1
    return True
