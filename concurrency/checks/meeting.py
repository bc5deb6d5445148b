"""Whether tasks met: an exploration in which no two of them touched a common place has explored nothing.

A program may share what its tasks meet at in a way that the engine does not see: an ordinary attribute, a list. All
its executions are then one, whatever is chosen, and nothing fails. That must not look like a program that was
explored.
"""

from __future__ import annotations

from sugarbush.concurrency.checks.dependence import Dependence
from sugarbush.concurrency.core import (
    Execution,
    Footprint,
    Observer,
    Operation,
    Propagation,
    Runtime,
    Task,
)
from sugarbush.concurrency.rcu import GracePeriods, SrcuStruct, TasksDomain

_MARKS = (Footprint.READER_BEGINS, Footprint.READER_ENDS)
_RCU = 0
_Sides = dict[int, set[Task]]
"""For each RCU domain the tasks on one side of it."""


class Meeting(Observer):
    """Looks at executions until two tasks have touched a common place.

    A place is one field of one object, or an object as a whole, which meets each of its fields. Two that only read it
    meet as well: it is shared, and that no order of them matters is what the exploration has found. What is no place:

    - a task: to spawn, join, end or spin touches no other task's memory, and no more does an allocation;
    - the clock, for those that only sleep, and memory as such, for barriers;
    - an RCU domain, for those that do not need each other's end: readers among themselves, callbacks among themselves.
      A reader (or a stretch without preemption) and a grace period meet.

    An execution of one task meets nothing, but where it made choices (an allocation that fails) they were explored.
    """

    def __init__(self) -> None:
        self.met = False
        """Whether two tasks have touched a common place, in any execution so far."""
        self._dependence = Dependence()
        self._places: dict[int, tuple[object, dict[str | None, Task]]] = {}
        self._tasks = 0
        self._readers: _Sides = {}
        self._updaters: _Sides = {}

    def begin(self, runtime: Runtime) -> None:  # noqa: ARG002
        """Forget the objects of the last execution; that tasks have met stays."""
        self._places = {}
        self._tasks = 0
        self._readers, self._updaters = {}, {}

    def spawned(self, parent: Task | None, task: Task) -> None:  # noqa: ARG002
        """Count the tasks."""
        self._tasks += 1

    def accessed(self, task: Task, op: Operation, obj: object) -> None:
        """Note the place that was touched."""
        if not self.met:
            self._touch(task, op, obj)

    def performed(self, task: Task, op: Operation, obj: object, arg: object, result: object) -> None:  # noqa: ARG002
        """Note the place that an operation with an effect has touched."""
        if not self.met:
            self._touch(task, op, obj)

    def blocked(self, task: Task, op: Operation, obj: object) -> None:
        """A task that waits for a place has looked at it."""
        if not self.met:
            self._touch(task, op, obj)

    def over(self, execution: Execution) -> None:
        """An execution has ended: one task alone, whose choices were varied, was explored as far as it can be."""
        if execution.data and self._tasks == 1:
            self.met = True

    def _touch(self, task: Task, op: Operation, obj: object) -> None:
        footprint = self._dependence.footprint(op, obj)
        # Stretches are waited for by the grace periods of the one RCU domain, which none of their operations names.
        domain = id(obj) if isinstance(obj, SrcuStruct | TasksDomain) else _RCU
        if op.region or footprint in _MARKS:
            self._meet(task, self._readers, self._updaters, domain)
        elif op.grace or isinstance(obj, GracePeriods):
            self._meet(task, self._updaters, self._readers, domain)
            # These wait for whatever task has not slept since, which takes no operation.
            self.met = self.met or (isinstance(obj, TasksDomain) and self._tasks > 1)
        if (
            footprint is Footprint.NOTHING
            or not op.meets
            or isinstance(obj, Task | Propagation | GracePeriods)
        ):
            return
        _, fields = self._places.setdefault(id(obj), (obj, {}))
        overlapping = fields if op.place is None else (op.place, None)
        if any(fields.get(place, task) is not task for place in overlapping):
            self.met = True
        # The first task stands for all: any other one that comes has met it.
        fields.setdefault(op.place, task)

    def _meet(self, task: Task, mine: _Sides, others: _Sides, domain: int) -> None:
        mine.setdefault(domain, set()).add(task)
        if others.get(domain, set()) - {task}:
            self.met = True
