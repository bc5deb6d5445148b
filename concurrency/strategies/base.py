"""What a strategy is: the one place where choices are made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

from sugarbush.concurrency.core import ConcurrencyError, Observer, Sights, Task

NUMBER_BITS = 16
"""Of the numbers by which the runtime chooses without asking; recorded seeds replay by them."""
_LONGEST_ROUND = 256

Part = tuple[int, ...]
"""A part of a search: the first choices of all its executions. See `Divisible`."""


def can_be_preempted(current: Task | None) -> bool:
    """Whether it is a preemption if another task than `current`, which has just announced an operation, goes on.

    The one definition: `current` could go on (None: it has ended, or has to wait), and does not offer its CPU.
    """
    return current is not None and not current.yielding


_SPREAD = 1_000_000_007
"""A prime above every number of executions that is ever run: two seeds share no stream of numbers."""


# What `Random.seed` does with an integer. The rest of it, in Python, takes as long once more.
_seed = super(Random, Random).seed


def seeded(random: Random, seed: int, execution: int) -> None:
    """Start the stream of numbers of an execution: it depends on the two numbers only, so any process can make it.

    Recorded seeds replay by it, so it cannot be changed.
    """
    # One integer, since Python seeds from others by their hash, which differs from process to process.
    _seed(random, seed * _SPREAD + execution)


class Strategy(Protocol):
    """Makes the choices of one execution after another.

    `lease` is read after each `choose`: for so many announced operations (at least 1) the answer stands, as long as no
    other task becomes runnable. A long lease is what makes a strategy cheap.

    One that chooses uniformly at every switch point has `numbers`, a stream of numbers of `NUMBER_BITS` bits: number
    r means ``runnable[r * len(runnable) >> NUMBER_BITS]``, which the runtime looks up without asking. `begin` may
    replace the stream. For all others `numbers` is None.
    """

    @property
    def name(self) -> str:
        """The name by which it is asked for; a portfolio has that of the member whose turn it is."""

    @property
    def numbers(self) -> Iterator[int] | None:
        """The stream of numbers by which the runtime chooses without asking, as the class says; None to be asked."""

    lease: int

    def begin(self, execution: int) -> None:
        """Execution number `execution` (from 0) starts."""

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:
        """Who goes on? `runnable` has at least two tasks, by number (at least one, if the strategy is `Thorough`).

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

    @property
    def left(self) -> bool:
        """Whether there is another execution; read after `end`, or after an execution that was `Pruned`."""

    @property
    def bound(self) -> int | None:
        """How many preemptions, or delays, an execution has at most; None if there is no bound."""

    @property
    def cut(self) -> int:
        """At how many switch points, in all executions, the bound forbade to go on with another task."""


@runtime_checkable
class Thorough(Search, Protocol):
    """A search that is asked at every operation, also if only one task can go on.

    At each `choose`, `op` and `obj` of every task are what it will do next; `runnable` is the runtime's own list.
    """

    thorough: bool
    """Always True. A protocol is known by its attributes, and a thorough search has no method that others lack."""


@runtime_checkable
class Reducing(Thorough, Protocol):
    """A thorough search that leaves out schedules which differ from one that it makes in independent operations only.

    So whatever looks at the whole state on the way, or counts operations of all tasks, sees some of the orders only.
    """

    @property
    def traces(self) -> int:
        """How many traces were completed within the bound of now."""


@runtime_checkable
class Seeing(Reducing, Protocol):
    """A search that reduces, and knows of the checks that say what they look at (`Observer.sight`)."""

    def look_with(self, sights: Sights) -> None:
        """Take in what the observers of the execution that has begun look at; called after `begin`."""

    def made(self, obj: object) -> None:
        """The task that runs has made an object of a slab cache."""

    @property
    def digest(self) -> str:
        """A hash of the set of the traces that were completed within the bound of now."""


@runtime_checkable
class Watchful(Thorough, Protocol):
    """A thorough search that tells looks in vain from what belongs to a trace."""

    def idles(self, changes: int, *, over: bool) -> None:
        """Only tasks that spin can go on, and these look again although nothing has changed.

        `changes` counts what operations have changed so far. With `over` they have looked enough: the execution ends
        in a livelock. What they did since `changes` was as now is no part of the trace.
        """


@runtime_checkable
class Divisible(Search, Protocol):
    """A search that can be divided, so that several processes share it.

    Parts are disjoint, and their order as tuples is the order in which one search goes through them.
    """

    @property
    def root(self) -> Part:
        """The part to begin with."""

    def enter(self, part: Part) -> None:
        """Search this part only, from its first execution."""

    def rest(self) -> list[Part]:
        """What has not been searched of the part, in order; read after `end`."""

    def after(self, part: Part, cut: int) -> Part | None:
        """The part to search after the root `part`, all of which was seen and which cut so much; None: no other."""


@runtime_checkable
class Marking(Divisible, Seeing, Protocol):
    """A search that can be divided, whose parts find out where other parts begin.

    So there may be more parts than the root and what is left of it: those that begin at the ways that were marked.
    """

    @property
    def marked(self) -> tuple[tuple[int, int], ...]:
        """Where the last execution asks for other ways than the part takes: pairs of a place in the part and how many.

        Another part may ask for the same: the ways at the place n of part p are known by ``p[:n]``. 0 ways: there are
        some, but the bound forbids them (`cut`).
        """

    @property
    def signature(self) -> int:
        """A number that tells the trace that was completed last from others."""

    def opened(self, part: Part, mark: tuple[int, int]) -> list[Part]:
        """The parts that begin at the ways that `part` has marked."""


@runtime_checkable
class Learning(Strategy, Protocol):
    """A strategy whose choices depend on earlier executions; these count in rounds.

    An execution depends on the seed, its number, and on what the rounds before its own taught. So the executions of
    one round may be made in any order, and by several processes. The search that runs them has the strategy learn
    where a round starts (`starts_round`), before `begin`.
    """

    knows: Any
    """What was learned; data that can be sent to another process."""

    @property
    def teaches(self) -> Any:
        """The type of a lesson: one of another process is read by it (`concurrency.core.wire`)."""

    def lessons(self) -> list[Any]:
        """What the executions since the last call can teach, in their order; data as well."""

    def learn(self, lessons: list[Any]) -> None:
        """Take over what a whole round taught."""


_FITS: WeakKeyDictionary[type, dict[type, bool]] = WeakKeyDictionary()


def fits(strategy: object, protocol: type) -> bool:
    """Whether a strategy is of this kind (one of the protocols above), as `isinstance` says of the first of its type.

    `isinstance` looks a protocol up member by member and evaluates each, which takes longer than a small execution. All
    strategies of one type have the same members.
    """
    known = _FITS.setdefault(type(strategy), {})
    answer = known.get(protocol)
    if answer is None:
        answer = known[protocol] = isinstance(strategy, protocol)
    return answer


def starts_round(execution: int) -> bool:
    """Whether a round starts with this execution: rounds double, from 1 execution to 256.

    >>> [execution for execution in range(600) if starts_round(execution)]
    [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    """
    return execution & (execution - 1) == 0 if execution < _LONGEST_ROUND else execution % _LONGEST_ROUND == 0


def end_of_round(execution: int) -> int:
    """The execution that starts the round after that of `execution`.

    >>> end_of_round(5), end_of_round(300)
    (8, 512)
    """
    if execution < _LONGEST_ROUND:
        return int(1 << execution.bit_length())
    return (execution // _LONGEST_ROUND + 1) * _LONGEST_ROUND


class Pruned(ConcurrencyError):
    """Raised by `Strategy.choose`: nothing new can come of this execution."""


@runtime_checkable
class Listening(Protocol):
    """A strategy that must know what the tasks are about to do: its listener is an observer of the execution."""

    listener: Observer
