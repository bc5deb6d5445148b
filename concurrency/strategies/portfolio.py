"""Portfolio: several strategies in turns, one execution each.

What one strategy misses another may find: no strategy is the best on all bugs. With m members execution i is execution
i // m of member i % m.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import GenericAlias
from typing import Any, cast

from sugarbush.concurrency.core import Observer, Operation, Runtime, Task
from sugarbush.concurrency.strategies.base import Learning, Listening, Strategy, fits

_SILENT = Observer()


class _Relay(Observer):
    """Hears what happens for the member whose turn it is."""

    def __init__(self) -> None:
        self.to = _SILENT

    def begin(self, runtime: Runtime) -> None:
        """Pass the start of the execution on."""
        self.to.begin(runtime)

    def spawned(self, parent: Task | None, task: Task) -> None:
        """Pass on that there is another task."""
        self.to.spawned(parent, task)

    def announced(self, task: Task, op: Operation, obj: object) -> None:
        """Pass on what a task is about to do."""
        self.to.announced(task, op, obj)

    def accessed(self, task: Task, op: Operation, obj: object) -> None:
        """Pass on an operation that had no effect of its own."""
        self.to.accessed(task, op, obj)

    def performed(self, task: Task, op: Operation, obj: object, arg: object, result: object) -> None:
        """Pass on an operation with its result."""
        self.to.performed(task, op, obj, arg, result)

    def ended(self, task: Task) -> None:
        """Pass on that a task has ended."""
        self.to.ended(task)


class Portfolio:
    """Gives each of `members` its turn; `name` is that of the one whose turn it is."""

    # None, also if a member has some: the runtime settles once whether it is asked (`Simulated.__init__`).
    numbers: Iterator[int] | None = None
    lease = 1

    def __init__(self, members: Sequence[Strategy]) -> None:
        self._members = tuple(members)
        self._learning = [member for member in self._members if isinstance(member, Learning)]
        self._turn = self._members[0]
        self._relay = _Relay()
        self.listener: Observer = self._relay

    @property
    def name(self) -> str:
        """The name of the member that makes the choices of this execution."""
        return self._turn.name

    def begin(self, execution: int) -> None:
        """It is the next member's turn."""
        count = len(self._members)
        self._turn = member = self._members[execution % count]
        self._relay.to = cast(Listening, member).listener if fits(member, Listening) else _SILENT
        member.begin(execution // count)

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:
        """As the member whose turn it is."""
        chosen = self._turn.choose(runnable, current, step, forced)
        self.lease = self._turn.lease
        return chosen

    def data(self, n: int, label: str) -> int:
        """As the member whose turn it is."""
        return self._turn.data(n, label)

    def end(self, steps: int, forced: int) -> None:
        """The execution of the member whose turn it is has ended."""
        self._turn.end(steps, forced)

    @property
    def knows(self) -> list[Any]:
        """What each member knows that learns."""
        return [member.knows for member in self._learning]

    @knows.setter
    def knows(self, known: list[Any]) -> None:
        for member, knows in zip(self._learning, known, strict=True):
            member.knows = knows

    @property
    def teaches(self) -> Any:
        """A lesson has one list for each member that learns, of what teaches that member."""
        return GenericAlias(tuple, tuple(GenericAlias(list, (member.teaches,)) for member in self._learning))

    def lessons(self) -> list[Any]:
        """One lesson: what the executions since the last call teach each member."""
        return [[member.lessons() for member in self._learning]]

    def learn(self, lessons: list[Any]) -> None:
        """Have each member learn what a whole round taught it."""
        for number, member in enumerate(self._learning):
            member.learn([lesson for one in lessons for lesson in one[number]])
