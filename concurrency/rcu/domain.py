"""What all flavours of RCU share: which readers a grace period still waits for.

Kernel: Documentation/RCU/Design/Requirements/Requirements.rst, v6.6. A grace period ends here as early as the rules
allow: as soon as every outermost reader that began before it has ended. What the kernel would delay, the strategy
may delay too, so whatever a late grace period would show is shown as well.

Grace periods are numbered as they begin, and a reader is marked with the first one that finds it open. So number n
is over when no reader is marked with n or less, and nothing is kept for each grace period.
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
    """The grace periods of one flavour, or of one SRCU domain. `R` is what stands for an open reader.

    All that an operation waits for stands in the attributes themselves and in dictionaries of numbers, so that a search
    can ask a copy what might have been. It makes effects there without an argument; they leave `callbacks` alone then.
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
    """Whatever a task does from one sleep to the next is a reader."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.begun = 0
        self.holdouts: dict[R, int] = {}
        """Open readers that a grace period has found, with the number of the first that did."""
        self.waiting: dict[Task, int] = {}
        """Who waits, and for which grace period."""
        self.callbacks = CallbackQueues()
        self.due: dict[Task, int] = {}
        """For each task with callbacks that wait, the grace period of the first."""
        self.posted: dict[Task, int] = {}
        self.ran: dict[Task, int] = {}
        """How many callbacks each task has queued, and how many of them have run."""
        self.served: dict[Task, Task] = {}
        """For each task that runs callbacks, whose they are."""
        self.targets: dict[Task, dict[Task, int]] = {}
        """Who is in rcu_barrier(), and how many callbacks of each task must have run."""
        self.stalls: StallWatch | None = None

    def open_readers(self) -> Iterable[R]:
        """The readers that a grace period which begins now must wait for."""
        raise NotImplementedError

    def task_of(self, reader: R) -> Task:
        """Whose reader it is."""
        raise NotImplementedError

    def begin(self) -> int:
        """A grace period begins; gives its number."""
        self.begun += 1
        for reader in self.open_readers():
            self.holdouts.setdefault(reader, self.begun)
        if self.holdouts and self.stalls is not None:
            self.stalls.begun()
        return self.begun

    def over(self, number: int) -> bool:
        """Grace period `number` has begun, and every reader that it found has ended."""
        return number <= self.begun and all(first > number for first in self.holdouts.values())

    def wait_for(self, reader: R, number: int) -> None:
        """An open reader counts as begun before grace period `number`, though it did not
        (`concurrency.runtimes.weak`).
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
        """The readers that end the wait of `task`: for a grace period, or for the first callback that it is to run."""
        number = self.waiting.get(task)
        if number is None:
            number = self.due.get(self.served[task]) if task in self.served else None
        if number is None:
            return []
        return [reader for reader, first in self.holdouts.items() if first <= number]

    def awaited(self, task: Task) -> Mapping[Task, str]:
        """See `waiting.awaited`. Only the reader itself can end, and callbacks are run by one task for each queue."""
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
        """The state as operations can see it: who waits for which readers. Of numbers only that counts."""
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

    Since v4.20 one grace period covers the normal, bh and sched readers, and with them every stretch in which a task
    has preemption, bottom halves or interrupts off. Stretches that overlap are one reader.
    """

    __slots__ = ("readers", "watching")

    def __init__(self) -> None:
        super().__init__("rcu")
        self.stalls = StallWatch(self, "rcu_preempt")
        self.readers: dict[Task, None] = {}
        """The tasks inside rcu_read_lock(), in the order in which they began."""
        self.watching = False
        """A grace period waits for a task that has no rcu_read_unlock() to tell us by."""

    def open_readers(self) -> Iterable[Task]:
        """See `GracePeriods.open_readers`."""
        yield from self.readers
        rt = active.runtime
        if rt is None:
            return
        for task in rt.tasks:
            if is_atomic(task) and not task.ended:
                self._watch()
                yield task

    def task_of(self, reader: Task) -> Task:
        """See `GracePeriods.task_of`."""
        return reader

    def enter(self, task: Task) -> None:
        """`task` is inside rcu_read_lock() now."""
        self.readers[task] = None

    def leave(self, task: Task) -> None:
        """The outermost rcu_read_lock() of `task` has ended; it may be a reader still, for another reason."""
        del self.readers[task]
        if is_atomic(task):
            if task in self.holdouts:
                self._watch()
        else:
            self.holdouts.pop(task, None)

    def wait_for(self, reader: Task, number: int) -> None:
        """See `GracePeriods.wait_for`."""
        super().wait_for(reader, number)
        if is_atomic(reader):
            self._watch()

    def _watch(self) -> None:
        rt = active.runtime
        if rt is not None and not self.watching:
            self.watching = True
            rt.watch(self)

    def looked(self, task: Task, _op: Operation) -> bool:
        """`task` has done something: if it is no reader any more, no grace period waits for it.

        Gives whether that is news.
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
        """See `GracePeriods.describe`."""
        return (
            f"{reader.name}: RCU nest depth {reader.rcu_nesting}, preempt_count {reader.preempt_count}, "
            f"irqs_disabled {int(reader.irqs_off)}"
        )


def is_atomic(task: Task) -> bool:
    """`task` has preemption, bottom halves or interrupts off."""
    return task.preempt_count > 0 or task.irqs_off


def begin_wait(rcu: GracePeriods[Any], task: Task, _arg: object) -> None:
    """The effect of the first half of synchronize_rcu(): a grace period begins."""
    rcu.waiting[task] = rcu.begin()


def wait_is_over(rcu: GracePeriods[Any], task: Task) -> bool:
    """The second half may end."""
    return rcu.over(rcu.waiting[task])


def end_wait(rcu: GracePeriods[Any], task: Task, _arg: object) -> None:
    """The effect of the second half of synchronize_rcu()."""
    del rcu.waiting[task]
