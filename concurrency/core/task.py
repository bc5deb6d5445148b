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
    """Where tasks sleep: the one of a task that sleeps by itself, or a wait queue (`waits.wait.WaitQueue`).

    `asleep` has the tasks whose state is not TASK_RUNNING; `late` is as in `faces.Timed`. The state of a task
    stands here and not in the task, because it is what `schedule` waits for, and waiting is done to one object.
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

    A task is equal to itself only, so it can be the key of a dictionary. Go through such a dictionary, which keeps the
    order of insertion; never through a set of tasks, whose order differs from process to process.
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
    """Reads an attribute by an operation; set by `core.attribute`, which imports this module."""

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
        """Where it was spawned, if no code of the program runs in it (`spawn(mutex.lock)`)."""
        self.returned: Any = None
        self.op: Operation | None = None
        """The operation at which the task was last left for another one, or had to wait. Whether it still waits in
        it, the runtime says (`Runtime.waits`): it is not reset when the task goes on, which would cost a store an
        operation."""
        self.obj: object = None
        """The object of that operation."""
        self.arg: Any = None
        """The argument of the last operation with `touches`, which is called with it."""
        self.preempt_count = 0
        """How many spinlocks, disabled bottom halves and handlers the task is inside: above 0 it may not sleep."""
        self.rcu_nesting = 0
        self.rcu_bh = 0
        self.rcu_sched = 0
        """How many rcu_read_lock_bh() and rcu_read_lock_sched() the task is inside."""
        self.user_mode = False
        """The task is inside `user_mode()`: Tasks RCU does not wait for it, and it may not begin a reader."""
        self.irqs_off = False
        self.bh_off = 0
        """How many local_bh_disable() are still to be undone."""
        self.in_softirq = False
        self.inside: tuple[tuple[str, RawFrame | None], ...] = ()
        """The sections that it is inside of, outermost first, and where each began; only `checks.Sections` enters
        them."""
        self.wait_queue: Sleep | None = None
        """The queue on which `prepare_to_wait` has put it."""
        self.dozing = False
        """It has said that it is about to sleep (`prepare_to_wait`, `set_current_state`), and has not slept since."""
        self.farewells: tuple[Callable[[], object], ...] = ()
        """Called when its function has returned, before its end: checks that make operations, since they look at what
        other tasks change."""
        self.sleep: Sleep | None = None
        """Where it sleeps while it is on no queue; made when it is first needed."""
        self.spurious = 0
        """How many of its waits have ended for no reason (`Settings.spurious`)."""
        self.yielding = False
        """It offers its CPU (`cond_resched`): that another task goes on is no preemption."""
        self.has_looked = False
        """It spins, and nothing has changed since its last look."""
        self.spins = 0
        """How often it has spun since it last changed anything."""
        self.idle_spins = 0
        """How often it has looked again although nothing had changed."""
        self.look: Look | None = None
        """What it has done since its last `cpu_relax`; None if it has never called that."""
        self.kept = False
        """Its last atomic read-modify-write has left the value as it was."""
        self.context = TaskContext(name, number)
        """What the lock validator keeps about the task."""
        self.greenlet: Any = None
        self.resume: Any = None
        """Called by the task that hands over to this one."""
        self.thread = 0
        """The identifier of its thread, under the threaded runtime."""

    @property
    def done(self) -> bool:
        """Whether it has ended, at this moment. Reading it is an operation, and unlike `join` it orders nothing."""
        return bool(Task._look_at(self, "ended"))

    @property
    def result(self) -> Any:
        """What its function has returned, or None. Reading it is an operation and, unlike `join`, orders nothing."""
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
    # Written as lockdep writes the second class of a name (print_lock_name(), v6.6). The first task keeps the bare
    # name: when it begins it is not known whether there will be another, and most programs have one of each. The
    # simulated runtime does that case itself (`Tasks._start`), which saves a call for each task.
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
"""From so many tasks on, bisecting a sorted list of tasks costs less than going through it."""
task_number = attrgetter("id")


def is_among(task: Task, tasks: Sequence[Task]) -> bool:
    """Whether `task` is one of `tasks`, which are sorted by number."""
    if len(tasks) < MANY:
        return task in tasks
    at = bisect_left(tasks, task.id, key=task_number)
    return at < len(tasks) and tasks[at] is task


def _nothing() -> None:
    """What the task outside any execution runs."""


OUTSIDE = Task(0, "outside", _nothing)
"""The task that primitives act for when no program runs."""


def role_of(task: Task) -> str:
    """What a message calls the function of a task."""
    return f"the function of the task {task.name}" if task.id else "the program"
