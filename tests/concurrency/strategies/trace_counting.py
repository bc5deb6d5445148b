"""A second way to count Mazurkiewicz traces, which shares nothing with `concurrency.strategies` or `.dependence`.

Two executions are one trace if one becomes the other by exchanging neighbouring operations that do not conflict
(Mazurkiewicz, "Trace theory", LNCS 255). What conflicts is written down here once more, in words of the programs and
not of the engine: `conflict`. Two counts come of it.

- `by_enumeration` runs every schedule and puts each execution into a normal form (`Execution.trace`).
- `by_sleep_sets` runs the schedules that sleep sets leave over. At each place *all* tasks that can go on are tried, so
  it needs no races, no wakeup trees and no copies of objects; for such a search it is proven that exactly one
  execution of each trace comes to its end (Godefroid, LNCS 1032, chapter 5; the others stop where everybody sleeps).
  It is slower than optimal reduction by the executions that stop, and reaches programs that enumeration does not.
  Tasks that have no place in common with others are tried group by group (persistent sets, the same book, chapter 4):
  else two pairs of tasks would be tried in every order of the pairs. Who shares a place with whom is learnt while
  searching, see `_Groups`.

Both take from the runtime which tasks can go on, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from sugarbush.concurrency import ConcurrencyError, Shared, Task
from sugarbush.concurrency.lowlevel import Observer, Operation, Simulated

Program = Callable[[], Any]
Trace = frozenset[tuple[frozenset[tuple["Event", str]], ...]]

UNBOUNDED = frozenset({"circle", "lockdep", "leak", "rcu", "data-race"})
"""Checks that are off: a circle of waits ends an execution before the tasks outside of it are done."""

_LOOKS = frozenset({"read", "READ_ONCE", "smp_load_acquire", "rcu_dereference"})
_SHARES = frozenset(
    {"down_read", "down_read_slowpath", "up_read", "read_lock", "read_trylock", "read_unlock"},
)
_NOBODY_SEES = frozenset({"join", "end"})
_RCU = {
    "rcu_read_lock": "reader begins",
    "rcu_read_unlock": "reader ends",
    "synchronize_rcu": "grace period begins",
    "synchronize_rcu_wait": "grace period ends",
}
_GRACE = (
    {"reader begins", "grace period begins"},
    {"reader ends", "grace period ends"},
)
"""A grace period waits for the readers that are open when it begins: so its beginning sees who has begun, its end who
has ended. Readers do not see each other, nor do grace periods."""


class Event(NamedTuple):
    """One operation of an execution: the task, by the path of spawns that led to it, and how many it had before."""

    task: tuple[int, ...]
    number: int


def kind_of(op: Operation, obj: object) -> str:
    """What an operation does to its place, in the words of `conflict`."""
    if isinstance(obj, Shared) and op.field is not None:
        return "look" if op.name in _LOOKS else "change"
    if op.name in _RCU:
        return _RCU[op.name]
    return "share" if op.name in _SHARES else "change"


def conflict(one: str, two: str) -> bool:
    """Whether the order of two operations on one place, of these kinds, can be seen.

    Two looks at a variable commute, and two readers of a rw-lock. Every other pair does not: writes, atomic
    read-modify-writes (also one that leaves the value as it was: it might not have), and all that is done to a mutex, a
    semaphore or a condition variable.
    """
    if one in _RCU.values():
        return {one, two} in _GRACE
    return one != two or one == "change"


def place_of(op: Operation, obj: object) -> tuple[int, str | None] | None:
    """Where an operation is done: the variable, or the lock as a whole; None if nobody can see it."""
    if op.name in _NOBODY_SEES:
        return None
    field = op.field if isinstance(obj, Shared) else None
    return id(obj), field


class Execution:
    """The operations of one execution, by place and in their order."""

    def __init__(self) -> None:
        self.at: dict[tuple[int, str | None], list[tuple[Event, str]]] = {}
        self.keep: list[object] = []
        """So that no place gets the number of one that is gone."""
        self.length = 0

    def add(self, event: Event, op: Operation, obj: object) -> None:
        place = place_of(op, obj)
        if place is None:
            return
        self.keep.append(obj)
        self.length += 1
        self.at.setdefault(place, []).append((event, kind_of(op, obj)))

    @property
    def trace(self) -> Trace:
        """The normal form: two executions of a program have the same one if and only if they are one trace.

        A trace is known from its projections onto the places, because two events that conflict do so at one (Cori and
        Perrin, 1985). Each projection is written in Foata's form: a first layer of events that nothing comes before, a
        second one of those that only need the first, and so on.
        """
        return frozenset(_layers(events) for events in self.at.values())


def _layers(events: list[tuple[Event, str]]) -> tuple[frozenset[tuple[Event, str]], ...]:
    layers: list[set[tuple[Event, str]]] = []
    for event, kind in events:
        depth = len(layers)
        while depth and not any(
            other.task == event.task or conflict(kind, what) for other, what in layers[depth - 1]
        ):
            depth -= 1
        if depth == len(layers):
            layers.append(set())
        layers[depth].add((event, kind))
    return tuple(frozenset(layer) for layer in layers)


class Recorder(Observer):
    """Hears the executions of a runtime; `executions` has them all, also one that was given up half-way."""

    judges = False

    def __init__(self) -> None:
        self.executions: list[Execution] = []

    def begin(self, runtime: Any) -> None:
        self.executions.append(Execution())
        self._paths: dict[Task, tuple[int, ...]] = {}
        self._children: dict[Task, int] = {}
        self._numbers: dict[Task, int] = {}

    def path(self, task: Task) -> tuple[int, ...]:
        """The path of spawns that led to a task of this execution."""
        return self._paths[task]

    def spawned(self, parent: Task | None, task: Task) -> None:
        if parent is None:
            self._paths[task] = ()
            return
        number = self._children[parent] = self._children.get(parent, 0) + 1
        self._paths[task] = (*self._paths[parent], number)

    def accessed(self, task: Task, op: Operation, obj: object) -> None:
        number = self._numbers[task] = self._numbers.get(task, 0) + 1
        self.executions[-1].add(Event(self._paths[task], number), op, obj)

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:
        self.accessed(task, op, obj)


class Redundant(ConcurrencyError):
    """Every task that can go on sleeps: this execution would be one of a trace that is there already."""


class _Place:
    """A place of the search: who can go on, who goes on, and who need not be tried."""

    def __init__(self, enabled: list[int], sleeping: set[int]) -> None:
        self.enabled = enabled
        self.sleeping = sleeping
        self.chosen = -1

    def go_on(self) -> bool:
        """Choose the next one that has not been tried; whether there is one."""
        if self.chosen >= 0:
            self.sleeping.add(self.chosen)
        left = [task for task in self.enabled if task not in self.sleeping]
        self.chosen = left[0] if left else -1
        return bool(left)


class SleepSets:
    """The strategy of `by_sleep_sets`; without groups that of `by_enumeration`."""

    # All of `Thorough`: else the runtime would not ask where one task is left, and its operation would be an old one.
    name, numbers, lease, thorough, bound, cut = "sleep sets", None, 1, True, None, 0

    def __init__(self, groups: _Groups | None, paths: Callable[[Task], tuple[int, ...]]) -> None:
        self.left = True
        self._groups = groups
        self._paths = paths
        self._path: list[_Place] = []
        self._at = 0
        self._next: set[int] = set()

    def begin(self, execution: int) -> None:
        self._at = 0
        self._next = set()

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:
        # A task that has not begun announces nothing yet, and what it does until it does is seen by nobody: it need not
        # be a choice. Without this there would be n! orders of starting n tasks that are all one trace.
        for task in runnable:
            if task.op is None:
                return task
        if self._at == len(self._path):
            tried = list(runnable)
            if self._groups is not None:
                first = self._groups.of(self._paths(tried[0]))
                tried = [task for task in tried if self._groups.of(self._paths(task)) == first]
            place = _Place([task.id for task in tried], self._next)
            if not place.go_on():
                raise Redundant("all sleep")
            self._path.append(place)
        place = self._path[self._at]
        self._at += 1
        by_number = {task.id: task for task in runnable}
        task = by_number[place.chosen]
        assert task.op is not None
        self._next = set()
        if self._groups is not None:
            for number in place.sleeping:
                # Who sleeps can go on: it was tried, and nothing that conflicts with it has happened since.
                other = by_number[number]
                assert other.op is not None
                if not _conflicting(task, other):
                    self._next.add(number)
        return task

    def data(self, n: int, label: str) -> int:
        raise AssertionError(f"a data choice ({label}): the programs that are counted make none")

    def end(self, steps: int, forced: int) -> None:
        pass

    def step_back(self) -> None:
        """Go to the last place where somebody is left to be tried."""
        while self._path and not self._path[-1].go_on():
            self._path.pop()
        self.left = bool(self._path)


def _conflicting(one: Task, two: Task) -> bool:
    assert one.op is not None
    assert two.op is not None
    place = place_of(one.op, one.obj)
    if place is None or place != place_of(two.op, two.obj):
        return False
    return conflict(kind_of(one.op, one.obj), kind_of(two.op, two.obj))


class _Groups:
    """Which tasks have places in common, as far as the executions show that were made.

    Where tasks of one group can go on, those of the others need not be tried: nothing that they do, now or later,
    conflicts with it. That two tasks share a place may come out late; then the search begins again. When a whole search
    has shown nothing new, nothing is hidden from it: else take a shortest execution in which a task comes to a place
    of another group. Up to its last operation it is one that was made, or the beginning of one, and there the task
    does the same operation next, or waits with it at the end.
    """

    def __init__(self) -> None:
        self._group: dict[tuple[int, ...], tuple[int, ...]] = {}

    def of(self, task: tuple[int, ...]) -> tuple[int, ...]:
        """The group of a task, by the path of one of its members."""
        return self._group.get(task, task)

    def learn(self, together: Iterator[set[tuple[int, ...]]]) -> bool:
        """Tasks that came to one place; whether that was new."""
        news = False
        for tasks in together:
            groups = {self.of(task) for task in tasks}
            if len(groups) > 1:
                news = True
                name = min(groups)
                for task in [*self._group, *tasks]:
                    if self.of(task) in groups:
                        self._group[task] = name
        return news


def _together(execution: Execution, tasks: list[Task], paths: Callable[[Task], tuple[int, ...]]) -> Any:
    """For each place the tasks that came to it, those that wait for it at the end among them."""
    came = {place: {event.task for event, _ in events} for place, events in execution.at.items()}
    for task in tasks:
        if not task.done and task.op is not None and (place := place_of(task.op, task.obj)) is not None:
            came.setdefault(place, set()).add(paths(task))
    return came.values()


class Counted(NamedTuple):
    """What a count found."""

    traces: int
    completed: int
    """Executions that came to an end; with sleep sets there must be as many as traces."""
    stopped: int


def _count(program: Program, groups: _Groups | None, limit: int) -> Counted | None:
    """Make all executions; None if it has to begin again, because tasks of two groups came to one place."""
    recorder = Recorder()
    strategy = SleepSets(groups, recorder.path)
    runtime = Simulated(strategy, (recorder,), without=UNBOUNDED)
    traces, completed, stopped = set(), 0, 0
    while strategy.left:
        assert completed + stopped < limit, f"more than {limit} executions"
        try:
            runtime.run(program)
            completed += 1
            traces.add(recorder.executions[-1].trace)
        except Redundant:
            stopped += 1
        (execution,) = recorder.executions
        recorder.executions.clear()
        if groups is not None and groups.learn(_together(execution, runtime.tasks, recorder.path)):
            return None
        strategy.step_back()
    return Counted(len(traces), completed, stopped)


def by_enumeration(program: Program, limit: int = 20_000) -> Counted:
    """All schedules of `program`, each put into the normal form of its trace."""
    counted = _count(program, None, limit)
    assert counted is not None
    return counted


def by_sleep_sets(program: Program, limit: int = 200_000) -> Counted:
    """One execution of each trace, found by sleep sets."""
    groups = _Groups()
    while True:
        counted = _count(program, groups, limit)
        if counted is not None:
            return counted
