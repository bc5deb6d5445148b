"""What all flavours of RCU share: which readers a grace period still waits for.

Kernel: Documentation/RCU/Design/Requirements/Requirements.rst, v6.6. A grace period ends here as early as the rules
allow: as soon as every outermost reader that began before it has ended. What the kernel would delay, the strategy
may delay too, so whatever a late grace period would show is shown as well.

Grace periods are numbered as they begin, and each reader is marked with the first one that finds it open. So number n
is over when no open reader is marked with n or less, and nothing has to be kept for each grace period. Here one reader
is open when number 1 begins, and another one begins after that:

>>> early, late = Task(1, "early", print), Task(2, "late", print)
>>> rcu = RcuDomain()
>>> rcu.enter(early)                    # rcu_read_lock()
>>> number = rcu.begin()
>>> rcu.enter(late)
>>> [task.name for task in rcu.holdouts], rcu.over(number)
(['early'], False)
>>> rcu.leave(early)                    # rcu_read_unlock(); the other one is not waited for
>>> rcu.over(number)
True
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, ClassVar, Generic, TypeVar

from sugarbush.concurrency.core import Operation, Task, active
from sugarbush.concurrency.rcu.queue import CallbackQueues
from sugarbush.concurrency.rcu.stall import StallWatch

R = TypeVar("R", bound=Hashable)

COMPLETED = -1
"""The cookie of a grace period that is over; kernel: get_completed_synchronize_rcu()."""


class GracePeriods(Generic[R]):
    """The grace periods of one flavour, or of one SRCU domain. `R` stands for an open reader.

    All that an operation waits for stands in attributes and in flat dictionaries of numbers, so that a reduced
    search can make effects on a copy and ask what would have been ready (`Operation.ready`). It makes them
    without an argument; one that queues a callback then leaves `callbacks` alone, which the copy shares.
    """

    __slots__ = (
        "begun",
        "callbacks",
        "due",
        "holdouts",
        "name",
        "posted",
        "ran",
        "served",
        "stalls",
        "targets",
        "waiting",
    )
    every_task_reads: ClassVar[bool] = False
    """Each task is a reader from one sleep to the next (Tasks RCU)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.begun = 0
        """How many grace periods have begun: the number of the last one."""
        # The first one is enough: later ones, whose numbers are larger, wait for the reader as well.
        self.holdouts: dict[R, int] = {}
        """The open readers that a grace period has found, with the number of the first that did. A reader leaves it
        when it ends."""
        self.waiting: dict[Task, int] = {}
        """The tasks that are in synchronize_rcu(), each with the number of its grace period."""
        self.callbacks = CallbackQueues()
        self.due: dict[Task, int] = {}
        """For each task with callbacks that have not run, the number of the grace period that the first one waits
        for."""
        self.posted: dict[Task, int] = {}
        """How many callbacks each task has queued so far."""
        self.ran: dict[Task, int] = {}
        """How many of the callbacks of each task have run."""
        self.served: dict[Task, Task] = {}
        """For each task that runs callbacks, the task that has queued them."""
        self.targets: dict[Task, dict[Task, int]] = {}
        """For each task in rcu_barrier(), how many callbacks of each task must have run (`ran`) before it goes on."""
        self.stalls: StallWatch | None = None

    def open_readers(self) -> Iterable[R]:
        """The readers that a grace period which begins now must wait for; each flavour says which."""
        raise NotImplementedError

    def task_of(self, reader: R) -> Task:
        """The task that is inside of this reader."""
        raise NotImplementedError

    def begin(self) -> int:
        """Begin a grace period; gives its number."""
        self.begun += 1
        for reader in self.open_readers():
            self.holdouts.setdefault(reader, self.begun)
        if self.holdouts and self.stalls is not None:
            self.stalls.begun()
        return self.begun

    def over(self, number: int) -> bool:
        """Whether grace period `number` has begun, and every reader that it found has ended."""
        return number <= self.begun and all(first > number for first in self.holdouts.values())

    def wait_for(self, reader: R, number: int) -> None:
        """Have grace period `number` wait for an open reader, which began after it.

        Under weak memory a reader may count as begun earlier, by choice: rcu_read_lock() is no barrier.
        """
        self.holdouts[reader] = min(number, self.holdouts.get(reader, number))

    @property
    def callbacks_left(self) -> int:
        """How many callbacks have not run."""
        return sum(self.posted.values()) - sum(self.ran.values())

    @property
    def holders(self) -> tuple[Task, ...]:
        """The tasks that grace periods wait for."""
        return tuple(dict.fromkeys(self.task_of(reader) for reader in self.holdouts))

    def _awaited_readers(self, task: Task) -> list[R]:
        """The readers that `task` waits for: in synchronize_rcu(), or to run its first callback."""
        number = self.waiting.get(task)
        if number is None:
            number = self.due.get(self.served[task]) if task in self.served else None
        if number is None:
            return []
        return [reader for reader, first in self.holdouts.items() if first <= number]

    def awaited(self, task: Task) -> Mapping[Task, str]:
        """The tasks without which `task` can never go on (`faces.Waitable`): readers, or tasks that run callbacks.

        No other task could do it: a reader ends by its own task, and the callbacks of a task are run by one task.
        """
        targets = self.targets.get(task)
        if targets is None:
            return {self.task_of(reader): "held by {}" for reader in self._awaited_readers(task)}
        late = [whose for whose, number in targets.items() if self.ran.get(whose, 0) < number]
        return {
            server: "for callbacks that {} has to run"
            for server, whose in self.served.items()
            if whose in late
        }

    def why_waiting(self, task: Task) -> list[str]:
        """For a report: one line for each reader that `task` waits for."""
        return (
            [] if task in self.targets else [self.describe(reader) for reader in self._awaited_readers(task)]
        )

    def describe(self, reader: R) -> str:
        """A reader in the words of a report."""
        raise NotImplementedError

    def as_seen(self) -> object:
        """The state as operations can see it (`faces.Seen`).

        Of the numbers of grace periods only the last one counts, and which readers each waiting task waits for: in
        which order two began, and so which of two numbers each has, no operation tells.
        """
        return (
            self.begun,
            {task.id: self.over(number) for task, number in self.waiting.items()},
            {
                (task.id, reader if isinstance(reader, int) else self.task_of(reader).id)
                for task, number in self.waiting.items()
                for reader, first in self.holdouts.items()
                if first <= number
            },
            {task.id: number for task, number in self.posted.items()},
            {task.id: number for task, number in self.ran.items()},
        )

    def __repr__(self) -> str:
        readers = ", ".join(task.name for task in self.holders)
        return f"<{type(self).__name__} {self.name}: {f'waits for {readers}' if readers else 'waits for nobody'}>"


class RcuDomain(GracePeriods[Task]):
    """Plain RCU in one execution: the task itself stands for its reader.

    Since v4.20 one grace period covers the normal, bh and sched readers, and with them every *stretch*: the time in
    which a task has preemption, bottom halves or interrupts off. Stretches of one task that overlap are one reader.
    """

    # rcu_read_lock() is counted when it is called (`readers`). A stretch is not, since each spinlock would then pay
    # for it: who is in one is looked up when a grace period begins, and whether it has ended after each operation
    # (`looked`), but only while a grace period waits for such a task (`watching`).

    __slots__ = ("readers", "watching")

    def __init__(self) -> None:
        super().__init__("rcu")
        self.stalls = StallWatch(self, "rcu_preempt")
        self.readers: dict[Task, None] = {}
        """The tasks inside rcu_read_lock(), in the order in which they began."""
        self.watching = False
        """A grace period waits for a stretch, so the runtime calls `looked`."""

    def open_readers(self) -> Iterable[Task]:
        """The tasks inside rcu_read_lock(), then those that have preemption, bottom halves or interrupts off."""
        yield from self.readers
        rt = active.runtime
        if rt is None:
            return
        for task in rt.tasks:
            if is_atomic(task) and not task.ended:
                self._watch()
                yield task

    def task_of(self, reader: Task) -> Task:
        """The reader is the task."""
        return reader

    def enter(self, task: Task) -> None:
        """`task` is inside rcu_read_lock() now."""
        self.readers[task] = None

    def leave(self, task: Task) -> None:
        """The outermost rcu_read_lock() of `task` has ended; if it is in a stretch, it is still a reader."""
        del self.readers[task]
        if is_atomic(task):
            if task in self.holdouts:
                self._watch()
        else:
            self.holdouts.pop(task, None)

    def wait_for(self, reader: Task, number: int) -> None:
        """As for all flavours; a stretch has to be watched from now on."""
        super().wait_for(reader, number)
        if is_atomic(reader):
            self._watch()

    def _watch(self) -> None:
        rt = active.runtime
        if rt is not None and not self.watching:
            self.watching = True
            rt.watch(self)

    def looked(self, task: Task, _op: Operation) -> bool:
        """`task` has performed an operation: if its stretch has ended by that, no grace period waits for it any more.

        True if a grace period may have ended by that.
        """
        if task not in self.holdouts or task in self.readers or is_atomic(task):
            return False
        del self.holdouts[task]
        rt = active.runtime
        if rt is not None and not any(map(is_atomic, self.holdouts)):
            self.watching = False
            rt.unwatch(self)
        return True

    def describe(self, reader: Task) -> str:
        """What makes the task a reader: how deep it is inside rcu_read_lock(), and what it has off."""
        return (
            f"{reader.name}: RCU nest depth {reader.rcu_nesting}, preempt_count {reader.preempt_count}, "
            f"irqs_disabled {int(reader.irqs_off)}"
        )


def is_atomic(task: Task) -> bool:
    """Whether `task` has preemption, bottom halves or interrupts off: then it is inside of a stretch."""
    return task.preempt_count > 0 or task.irqs_off


def begin_wait(rcu: GracePeriods[Any], task: Task, _arg: object) -> None:
    """The effect of the first half of synchronize_rcu(): a grace period begins."""
    # The number stands under the task, because `ready` of the second half gets no argument.
    rcu.waiting[task] = rcu.begin()


def wait_is_over(rcu: GracePeriods[Any], task: Task) -> bool:
    """Whether the second half of synchronize_rcu() may take effect."""
    return rcu.over(rcu.waiting[task])


def end_wait(rcu: GracePeriods[Any], task: Task, _arg: object) -> None:
    """The effect of the second half of synchronize_rcu()."""
    del rcu.waiting[task]
