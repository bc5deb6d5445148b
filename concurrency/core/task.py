"""A task: one thread of the program under test."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar

from sugarbush.concurrency.core.look import Look
from sugarbush.concurrency.core.operation import Operation
from sugarbush.lockdep import TaskContext

if TYPE_CHECKING:
    from sugarbush.lockdep.model import RawFrame


class Sleep:
    """Where tasks sleep: one by itself, or those of a wait queue (`concurrency.waits.wait.WaitQueue`).

    `asleep` has those whose state is not TASK_RUNNING, `late` the numbers of those whose deadline has passed.
    """

    __slots__ = ("asleep", "late", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.asleep: list[Task] = []
        self.late: dict[int, None] = {}


class Task:
    """One thread of the program under test.

    Tasks are numbered in the order in which they are spawned; the function that is explored runs as task 0. A
    daemon task does not keep the execution going and may be waiting when it ends.
    """

    __slots__ = (
        "arg",
        "args",
        "bh_off",
        "born",
        "context",
        "daemon",
        "dozing",
        "ended",
        "farewells",
        "fn",
        "greenlet",
        "has_looked",
        "id",
        "idle_spins",
        "in_softirq",
        "inside",
        "irqs_off",
        "kept",
        "look",
        "name",
        "obj",
        "op",
        "preempt_count",
        "rcu_bh",
        "rcu_nesting",
        "rcu_sched",
        "resume",
        "returned",
        "sleep",
        "spins",
        "spurious",
        "thread",
        "user_mode",
        "wait_queue",
        "yielding",
    )

    _look_at: ClassVar[Callable[[Task, str], Any]]
    """Makes the operation that a look at a slot is: `concurrency.core.attribute`, which stands above and so sets it."""

    def __init__(
        self, number: int, name: str, fn: Callable[..., Any], args: tuple[Any, ...] = (), daemon: bool = False
    ) -> None:
        self.id = number
        self.name = name
        self.fn = fn
        self.args = args
        self.daemon = daemon
        self.ended = False
        self.born: RawFrame | None = None
        """Where it was spawned, if no code of the user's runs in it (`spawn(mutex.lock)`)."""
        self.returned: Any = None
        self.op: Operation | None = None
        """The operation that the task has announced and that has not taken effect yet."""
        self.obj: object = None
        """What that operation is done to."""
        self.arg: Any = None
        """With what argument, if the operation says by that what it touches (`Operation.touches`)."""
        self.preempt_count = 0
        """How many spinlocks, disabled bottom halves and handlers the task is inside: above 0 it may not sleep."""
        self.rcu_nesting = 0
        self.rcu_bh = 0
        self.rcu_sched = 0
        """How many rcu_read_lock_bh() and rcu_read_lock_sched() the task is inside."""
        self.user_mode = False
        """The task runs its program's own code: RCU does not watch it."""
        self.irqs_off = False
        self.bh_off = 0
        """How many local_bh_disable() are still to be undone."""
        self.in_softirq = False
        self.inside: tuple[tuple[str, RawFrame | None], ...] = ()
        """What it is inside of, outermost first, and where that began; kept by `Sections` only."""
        self.wait_queue: Sleep | None = None
        """The queue that it has been put on by `prepare_to_wait`."""
        self.dozing = False
        """It has said that it will sleep, and has not slept since."""
        self.farewells: tuple[Callable[[], object], ...] = ()
        """What it does when its function has returned, before its end: checks that look at what others change."""
        self.sleep: Sleep | None = None
        """Where it sleeps if it is on no queue."""
        self.spurious = 0
        """How many of its waits have ended for no reason."""
        self.yielding = False
        """It offers its CPU (`cond_resched`): that another task goes on is no preemption."""
        self.has_looked = False
        """It spins, and nothing has changed since it looked."""
        self.spins = 0
        """How often it has spun since it got anywhere."""
        self.idle_spins = 0
        """How often it has looked again although nothing had changed."""
        self.look: Look | None = None
        """What it has done since it spun last; None if it never did."""
        self.kept = False
        """Its last operation has written what was there already."""
        self.context = TaskContext(name, number)
        """What the lock validator keeps about the task."""
        self.greenlet: Any = None
        self.resume: Any = None
        """Called by the task that hands over to this one."""
        self.thread = 0
        """The identifier of its thread, under the threaded runtime."""

    @property
    def done(self) -> bool:
        """It has ended, at this moment; this orders nothing, as `join` does. An operation, see `attribute`."""
        return bool(Task._look_at(self, "ended"))

    @property
    def result(self) -> Any:
        """What its function has returned, None before that; this orders nothing, as `join` does."""
        return Task._look_at(self, "returned")

    def __repr__(self) -> str:
        return f"<Task {self.id} {self.name}>"


def own_name(name: str, taken: dict[str, int]) -> str:
    """The name of a new task of this execution: `name`, or ``name#2`` and so on if another task is called so.

    `taken` counts the tasks of each name that there were in this execution, and is told of the new one. The numbers go
    by the order in which tasks are spawned, so that a schedule alone decides them:

        >>> taken: dict[str, int] = {}
        >>> [own_name("deposit", taken), own_name("deposit", taken), own_name("deposit#2", taken)]
        ['deposit', 'deposit#2', 'deposit#2#2']
    """
    # Written as lockdep writes the second class of a name (print_lock_name(), v6.6). The first keeps its name as it
    # is: it has begun before anybody knows that there will be another, and most programs have one of each.
    # The first keeps its name, which the simulated runtime sees to itself: it costs a call for each task else.
    number = taken.get(name)
    if number is None:
        taken[name] = 1
        return name
    number += 1
    while (own := f"{name}#{number}") in taken:
        number += 1
    taken[own] = 1
    taken[name] = number
    return own


MANY = 32
"""From so many tasks on, what treats them together costs less than what goes through them."""
task_number = attrgetter("id")


def is_among(task: Task, tasks: Sequence[Task]) -> bool:
    """Whether `task` is one of `tasks`, which stand by number."""
    if len(tasks) < MANY:
        return task in tasks
    at = bisect_left(tasks, task.id, key=task_number)
    return at < len(tasks) and tasks[at] is task


def _nothing() -> None:
    """What the task outside any execution runs."""


OUTSIDE = Task(0, "outside", _nothing)
"""On whose behalf primitives act when no program runs."""


def role_of(task: Task) -> str:
    """What the function of a task is, in a message."""
    return f"the function of the task {task.name}" if task.id else "the program"
