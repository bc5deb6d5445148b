"""What a strategy is: the one place where choices are made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from concurrency.failure import ConcurrencyError
from concurrency.observer import Observer
from concurrency.task import Task

NUMBER_BITS = 16


class Strategy(Protocol):
    """Makes the choices of one execution after another.

    `lease` is read after each `choose`: for so many announced operations (at least 1) the answer stands, as long as no
    other task becomes runnable. A long lease is what makes a strategy cheap.

    One that chooses uniformly at every switch point has `numbers`, a stream of numbers of `NUMBER_BITS` bits: number
    r means ``runnable[r * len(runnable) >> NUMBER_BITS]``, which the runtime looks up without asking. `begin` may
    replace the stream. For all others `numbers` is None.
    """

    name: str

    @property
    def numbers(self) -> Iterator[int] | None:
        """See the class."""

    lease: int

    def begin(self, execution: int) -> None:
        """Execution number `execution` (from 0) starts."""

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:
        """Who goes on? `runnable` has at least two tasks, by number.

        `current` is the task that has just announced an operation; None if it cannot go on. `step` counts the
        operations announced so far, `forced` those among them at which only one task could run.
        """

    def data(self, n: int, label: str) -> int:
        """A choice in range(n) that is not a task."""

    def end(self, steps: int, forced: int) -> None:
        """The execution has ended after `steps` operations, `forced` of them without a choice."""


@runtime_checkable
class Search(Strategy, Protocol):
    """A strategy that comes to an end: it makes every choice that there is within its bound."""

    left: bool
    """There is another execution; read after `end`, or after an execution that was `Pruned`."""

    bound: int | None
    """At most so many preemptions are made in one execution; None: no bound."""

    cut: int
    """At how many switch points, in all executions, the bound forbade to go on with another task."""


@runtime_checkable
class Thorough(Search, Protocol):
    """A search that is asked at every operation, also if only one task can go on.

    At each `choose`, `op` and `obj` of every task are what it will do next; `runnable` is the runtime's own list.
    """

    thorough: bool
    """True."""


class Pruned(ConcurrencyError):
    """Raised by `Strategy.choose`: nothing new can come of this execution."""


@runtime_checkable
class Listening(Protocol):
    """A strategy that must know what the tasks are about to do: its listener is an observer of the execution."""

    listener: Observer
