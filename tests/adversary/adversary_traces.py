"""The trace of an execution, by a relation that is written from the documentation and not from the engine's.

Two executions belong to one trace if one becomes the other by exchanging neighbouring independent operations. The form
in which they agree: for every operation, by its task's name and its number there, which operations it depends on came
before it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sugarbush.concurrency import Task
from sugarbush.concurrency.lowlevel import Observer, Operation


class Event(NamedTuple):
    """One operation that has taken effect."""

    task: str
    number: int
    op: Operation
    obj: Any
    result: Any
    step: int
    arg: Any = None


class Story(Observer):
    """All operations of an execution, in the order in which they took effect."""

    judges = False

    def begin(self, runtime: Any) -> None:
        self.runtime = runtime
        self.events: list[Event] = []
        self.counts: dict[str, int] = {}
        self.keys: dict[int, str] = {}
        """What each task is called here: tasks of RCU have one name, so whose they are goes with it."""
        self.births: list[tuple[str | None, str, int]] = []
        """Who started whom, and how many operations had taken effect."""

    def spawned(self, parent: Task | None, task: Task) -> None:
        mother = None if parent is None else self.keys[parent.id]
        name = f"{task.name} of {mother}" if task.daemon and task.name != "clock" else task.name
        self.keys[task.id] = name
        self.births.append((mother, name, len(self.events)))

    def accessed(self, task: Task, op: Operation, obj: object) -> None:
        self._add(task, op, obj, None)

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:
        self._add(task, op, obj, result, arg)

    def _add(self, task: Task, op: Operation, obj: object, result: object, arg: object = None) -> None:
        name = self.keys[task.id]
        number = self.counts[name] = self.counts.get(name, 0) + 1
        self.events.append(Event(name, number, op, obj, result, self.runtime.steps, arg))


_LOOKS = {
    "read",
    "READ_ONCE",
    "smp_load_acquire",
    "rcu_dereference",
    "look",
    "await",
    "is_done",
    "completion_done",
}
_LOOKS |= {
    "is_set",
    "wait",
    "waitqueue_active",
    "jiffies",
    "timer_pending",
    "read_seqcount_begin",
    "read_seqcount_retry",
}
_ALONE = {"join", "end", "kmem_cache_alloc", "cond_resched", "cpu_relax"}
_FIELDS = ("Cell", "Node", "Named", "Root")


def dependent(one: Event, two: Event) -> bool:
    """Whether the order of the two, of different tasks, can be seen."""
    if one.obj is not two.obj or one.op.name in _ALONE or two.op.name in _ALONE:
        return False
    if object.__getattribute__(one.obj, "__class__").__name__ in _FIELDS:
        whole = one.op.name == "kmem_cache_free" or two.op.name == "kmem_cache_free"
        if not whole and one.op.field != two.op.field:
            return False
    return not (one.op.name in _LOOKS and two.op.name in _LOOKS)


def trace_of(events: list[Event]) -> frozenset[Any]:
    """The pairs of dependent operations in their order, and the operations."""
    found: set[Any] = {(event.task, event.number, event.op.name) for event in events}
    places: dict[int, list[Event]] = {}
    for event in events:
        before = places.setdefault(id(event.obj), [])
        found.update(
            (one.task, one.number, event.task, event.number)
            for one in before
            if one.task != event.task and dependent(one, event)
        )
        before.append(event)
    return frozenset(found)
