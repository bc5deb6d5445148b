"""DPOR: dynamic partial order reduction; one execution for each way in which dependent operations can be ordered.

Executions that differ only in the order of independent operations are one Mazurkiewicz trace. The search is depth
first, as `DepthFirst`, but goes only where a reversed order of two dependent operations may be found:

- *Backtracking*: Flanagan and Godefroid, "Dynamic Partial-Order Reduction for Model Checking Software", POPL 2005,
  figure 3. At each state the next operation of every task, whether it can go on or not, is compared with what others
  did before; where a dependent operation is not ordered before it, the search will try at that place a task that
  leads to the other order. Which one is chosen as in Abdulla, Aronis, Jonsson and Sagonas, "Optimal Dynamic Partial
  Order Reduction", POPL 2014, algorithm 1: if one of those that may come first is tried there already, none is added.
- *Sleep sets*: Godefroid, LNCS 1032, 1996, chapter 5. A task whose next operation was tried at a place is not tried
  again until something dependent has happened. With them no trace is completed twice; an execution in which all that
  can go on sleeps is given up (`Pruned`).

What the papers leave out, and what is done here:

- Blocking: an operation that is not ready is compared like any other, and every earlier dependent operation is
  looked at, not the last one only, since the last one (an unlock, say) often cannot come second.
- A failure ends an execution before the others have shown what they would do. So where the failing task went on,
  every other task that could have gone on is tried, too.
- The end of a task belongs to its last operation, and a spawn to the one before it; both order, neither can race.
- Data choices: each value is tried. A task sleeps with all values of its operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from concurrency.dependence import Dependence, Footprint
from concurrency.failure import BadSchedule
from concurrency.operation import Operation
from concurrency.strategy.base import Pruned
from concurrency.task import Task


@dataclass(slots=True)
class _Place:
    """A state in the current execution, and what was, is and will be tried from there.

    `enabled` are the tasks that could go on, `chosen` the one that does now. `asleep` are those that need not be
    tried: what they lead to is seen elsewhere, or was tried here. `wanted` are those to try, in that order.
    """

    enabled: tuple[int, ...]
    chosen: int
    asleep: set[int]
    wanted: list[int] = field(default_factory=list)
    clock: int = 0
    """The set of events that are ordered before what `chosen` does, that one included, as bits."""


@dataclass(slots=True)
class _Datum:
    """A data choice in the current execution: `value` of `ways`."""

    ways: int
    value: int = 0


class DPOR:
    """Completes one execution of each trace, and begins some in vain.

    `left` says whether there is another execution to begin. The relation of operations is `dependence`.
    """

    name = "dpor"
    thorough = True
    numbers = None
    lease = 1
    bound: int | None = None
    cut = 0

    def __init__(self, dependence: Dependence | None = None) -> None:
        self._dependence = dependence or Dependence()
        self.left = True
        self._path: list[_Place | _Datum] = []
        self._begin()

    # -- one execution ------------------------------------------------------------------------------------------

    def begin(self, execution: int) -> None:  # noqa: ARG002
        """Start from the first choice."""
        self._begin()

    def _begin(self) -> None:
        self._at = 0
        self._runnable: Sequence[Task] = ()
        self._tasks: dict[int, Task] = {}
        self._events: list[tuple[int, Operation | None, object, _Place]] = []
        """What has happened: the task, its operation and the object, and the state before."""
        self._on: dict[int, int] = {}
        """For each object, by its id, the events done to it, as bits; the events keep it alive."""
        self._wide = 0
        """The events that may reach anything."""
        self._before: list[int] = []
        """For each event the set of events that are ordered before it, itself included, as bits."""
        self._clock: dict[int, int] = {}
        """For each task the set of events that are ordered before what it does next."""

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:  # noqa: ARG002
        """The task of this place; it is asked at every operation, also if only one task can go on."""
        self._arrive(runnable)
        place = self._place(runnable, current)
        chosen = next(task for task in runnable if task.id == place.chosen)
        self._go(chosen, place)
        return chosen

    def data(self, n: int, label: str) -> int:  # noqa: ARG002
        """The value of this place."""
        if self._at == len(self._path):
            self._path.append(_Datum(n))
        found = self._path[self._at]
        self._at += 1
        if not isinstance(found, _Datum) or found.ways != n:
            raise BadSchedule(
                "the program is not deterministic: after the same choices it makes another one now"
            )
        return found.value

    def end(self, steps: int, forced: int) -> None:  # noqa: ARG002
        """Look for what can be tried next.

        If there is still a task that could go on, the last operation has ended in a failure.
        """
        if self._at != len(self._path):
            raise BadSchedule("the program is not deterministic: after the same choices it ended now")
        self._compare_blocked()
        if self._runnable and self._events:
            place = self._events[-1][3]
            place.wanted += [one for one in place.enabled if one not in place.wanted]
        self._step_back()

    def _place(self, runnable: Sequence[Task], current: Task | None) -> _Place:
        """Where the execution is: a place known from the last execution, or a new one."""
        enabled = tuple(task.id for task in runnable)
        if self._at < len(self._path):
            known = self._path[self._at]
            self._at += 1
            if not isinstance(known, _Place) or known.enabled != enabled:
                raise BadSchedule(
                    f"the program is not deterministic: after the same choices the tasks {enabled} can go on now"
                )
            return known
        asleep = self._still_asleep()
        awake = [number for number in enabled if number not in asleep]
        if not awake:
            self._compare_blocked()
            self._step_back()
            raise Pruned("all that can go on has been tried elsewhere")
        starting = [number for number in awake if self._tasks[number].op is None]
        if starting:
            first = starting[0]
        else:
            first = current.id if current is not None and current.id in awake else awake[0]
        place = _Place(enabled, first, asleep, [first])
        self._path.append(place)
        self._at += 1
        return place

    # -- what has happened, and in what order ---------------------------------------------------------------------

    def _arrive(self, runnable: Sequence[Task]) -> None:
        """Tasks may have been started since the last choice, by the task that went on last."""
        self._runnable = runnable
        for task in runnable:
            if task.id not in self._tasks:
                self._tasks[task.id] = task
                self._clock[task.id] = self._before[-1] if self._before else 0

    def _go(self, task: Task, place: _Place) -> None:
        """`task` goes on: its operation takes effect."""
        op, obj = task.op, task.obj
        bit = 1 << len(self._events)
        if self._at == len(self._path):
            clock, races = self._order(task)
            for number in races:
                self._reverse(number, task, clock)
            place.clock = clock | bit
        clock = place.clock
        if op is not None:
            self._on[id(obj)] = self._on.get(id(obj), 0) | bit
            if self._dependence.footprint(op, obj) is Footprint.ANYTHING:
                self._wide |= bit
        self._events.append((task.id, op, obj, place))
        self._before.append(clock)
        self._clock[task.id] = clock

    def _still_asleep(self) -> set[int]:
        """Who slept where the last event happened, and goes on to do so after it."""
        if not self._events:
            return set()
        by, op, obj, place = self._events[-1]
        dependent = self._dependence.dependent
        others = (self._tasks[number] for number in place.asleep if number != by)
        return {other.id for other in others if not dependent(op, obj, other.op, other.obj)}

    def _order(self, task: Task) -> tuple[int, list[int]]:
        """Which events are ordered before the next operation of `task`, and with which of them it races.

        If the operation never blocks, a later dependent event hides those that are ordered before it: they are found
        once the two have changed places. If it may block, all count.
        """
        op, obj = task.op, task.obj
        clock = self._clock[task.id]
        races: list[int] = []
        if op is None:
            return clock, races
        if isinstance(obj, Task) and obj.done:
            clock |= self._clock[obj.id]
        if self._dependence.footprint(op, obj) is Footprint.ANYTHING:
            left = (1 << len(self._events)) - 1
        else:
            left = self._on.get(id(obj), 0) | self._wide
        left &= ~clock
        dependent = self._dependence.dependent
        while left:
            number = left.bit_length() - 1
            left ^= 1 << number
            _, before, on, _ = self._events[number]
            if dependent(op, obj, before, on):
                races.append(number)
                clock |= self._before[number]
                if op.ready is None:
                    left &= ~clock
        return clock, races

    # -- what to try next -----------------------------------------------------------------------------------------

    def _reverse(self, number: int, task: Task, clock: int) -> None:
        """Have the next operation of `task`, after the events `clock`, tried before event `number`.

        First must come what it needs of the events since and what does not need event `number`: those among them
        that need none of the others may begin. If there are none, and the task cannot go on there, whatever can go
        on may be what it waits for.
        """
        place = self._events[number][3]
        before = self._before
        needed = 0
        first = set()
        for event in range(number + 1, len(before)):
            if clock >> event & 1 and not before[event] >> number & 1:
                if not before[event] & needed:
                    first.add(self._events[event][0])
                needed |= 1 << event
        if not needed:
            first.add(task.id)
        first.intersection_update(place.enabled)
        if not first:
            place.wanted += [one for one in place.enabled if one not in place.wanted]
        elif first.isdisjoint(place.wanted):
            place.wanted.append(task.id if task.id in first else min(first))

    def _compare_blocked(self) -> None:
        """The execution is over for the tasks that wait: their operations race with what went before."""
        for task in self._tasks.values():
            if not task.done and task not in self._runnable:
                clock, races = self._order(task)
                for number in races:
                    self._reverse(number, task, clock)

    def _step_back(self) -> None:
        """Go back to the last place or data choice where something is left to try."""
        path = self._path
        while path:
            last = path[-1]
            if isinstance(last, _Datum):
                if last.value + 1 < last.ways:
                    last.value += 1
                    break
            else:
                last.asleep.add(last.chosen)
                awake = next((one for one in last.wanted if one not in last.asleep), None)
                if awake is not None:
                    last.chosen = awake
                    break
            path.pop()
        self.left = bool(path)
