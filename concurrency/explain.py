"""Explanation: the pairs of operations whose order, turned round, makes the failure go away.

Two operations of different tasks on one place, of which one changes it, are tried in the other order: the witness is
followed until the first of them is due, its task is held there (or where it took a lock that it still has) until the
other one has been done, and goes on then: in the order of the witness, at once, or after the other task. Where none of
the three ends in a failure, the order matters. Pairs after Flanagan and Godefroid, "Dynamic Partial-Order Reduction
for Model Checking Software", POPL 2005, section 2; the counterfactual after Zeller, "Isolating Cause-Effect Chains from
Computer Programs", FSE 2002.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from concurrency.dependence import Dependence, either_first, takes_lock
from concurrency.execution import Execution
from concurrency.failure import BadSchedule, ConcurrencyError, Failure
from concurrency.observer import Observer
from concurrency.operation import Dep, Operation
from concurrency.result import Witness
from concurrency.runtime import Runtime
from concurrency.settings import Settings
from concurrency.site import caller
from concurrency.strategy.replay import Replay
from concurrency.task import Task
from concurrency.waiting import label

DEFAULT_TRIES = 300
_SLACK = 4
_LITTLE = 1000


@dataclass(frozen=True, slots=True)
class Moment:
    """One operation of a witness: the `number`-th (from 0) that `task` announced; it took effect at `step`."""

    task: str
    number: int
    step: int
    what: str
    on: str
    where: str

    def __str__(self) -> str:
        return f"{self.task}'s {self.what}({self.on}) at {self.where}"


@dataclass(frozen=True, slots=True)
class Pair:
    """`first` came before `second`; in the other order the failure does not happen."""

    first: Moment
    second: Moment

    def __str__(self) -> str:
        return f"if {self.second} had come before {self.first}, the failure would not have happened"


@dataclass(frozen=True, slots=True)
class Explanation:
    """The pairs that matter, in the order of their second operations; `complete` unless the tries were used up."""

    pairs: tuple[Pair, ...]
    tried: int
    executions: int
    complete: bool

    @property
    def text(self) -> str:
        """One line a pair, or one that says that no order matters."""
        if self.pairs:
            return "\n".join(map(str, self.pairs))
        return (
            "no order of two operations of different tasks matters"
            if self.complete
            else "nothing found so far"
        )


def explain(
    program: Callable[[], Any], witness: Witness, settings: Settings | None = None, tries: int = DEFAULT_TRIES
) -> Explanation:
    """What made `witness` fail; a minimised witness gives the shortest answer.

    At most `tries` executions are made. Raises `BadSchedule` if the schedule does not fit the program.
    """
    settings = settings or Settings()
    story = _Story()
    execution = settings.runtime(Replay(witness.schedule), recorder=story).run(program)
    if execution.failure is None or execution.schedule != witness.schedule:
        raise BadSchedule(
            "the schedule does not fit the program: it does not lead to the failure of the witness"
        )
    search = _Search(program, settings, min(settings.max_steps, _SLACK * witness.steps + _LITTLE), tries)
    values = tuple(value for _, value in execution.data)
    candidates = list(_candidates(story.done(execution.failure)))
    pairs = [pair for pair in candidates if search.matters(story, values, *pair)]
    tightest = [pair for pair in pairs if not any(_implied(pair, other) for other in pairs)]
    found = tuple(Pair(first.moment, second.moment) for first, second in tightest)
    return Explanation(found, len(candidates), tries - search.left, search.left > 0)


class _Search:
    """Tries pairs in the other order, as long as tries are left."""

    def __init__(self, program: Callable[[], Any], settings: Settings, limit: int, tries: int) -> None:
        self._program = program
        self._settings = settings
        self._limit = limit
        self.left = tries

    def matters(self, story: _Story, values: tuple[int, ...], first: _Done, second: _Done) -> bool:
        """Whether no execution in which the two are turned round fails."""
        for hold in _holds(story.ops, first):
            for then in _Then:
                if self.left <= 0:
                    return False
                self.left -= 1
                swap = _Swap(story, values, first, second, hold, then)
                if not swap.avoids(self._program, self._settings, self._limit):
                    break
            else:
                return True
            if swap.turned_round:
                return False
        return False


def _implied(pair: tuple[_Done, _Done], other: tuple[_Done, _Done]) -> bool:
    """Turning `pair` round turns `other` round, too, which is a smaller change."""
    (first, second), (inner_first, inner_second) = pair, other
    return (
        pair is not other
        and (first.task, second.task) == (inner_first.task, inner_second.task)
        and first.number <= inner_first.number
        and inner_second.number <= second.number
    )


class _Then(Enum):
    """How the execution goes on once the two have been turned round."""

    AS_BEFORE = 0
    """In the order of the witness."""
    FIRST = 1
    """The held task, until it blocks."""
    SECOND = 2
    """The other one, until it blocks."""


@dataclass(slots=True)
class _Done:
    """An operation that took effect, or that was due when the execution ended."""

    task: Task
    number: int
    op: Operation
    obj: object
    step: int
    where: str
    born: int = 0

    @property
    def moment(self) -> Moment:
        on = label(self.obj)
        on = f"{on}.{self.op.field}" if self.op.field else on
        return Moment(self.task.name, self.number, self.step, self.op.name, on, self.where)


class _Story(Observer):
    """All operations of one execution, in the order in which they took effect."""

    def __init__(self) -> None:
        self.ops: list[_Done] = []
        self.announcements: dict[int, int] = {}
        self.pending: dict[int, _Done] = {}
        self.born: dict[int, int] = {}
        self._runtime: Any = None

    def begin(self, runtime: Runtime) -> None:
        """See `Observer.begin`."""
        self._runtime = runtime
        self.ops, self.announcements, self.pending, self.born = [], {}, {}, {}

    def spawned(self, parent: Task | None, task: Task) -> None:  # noqa: ARG002
        """See `Observer.spawned`."""
        self.announcements[task.id] = 0
        self.born[task.id] = len(self.ops)

    def announced(self, task: Task, op: Operation, obj: object) -> None:
        """See `Observer.announced`."""
        number = self.announcements[task.id]
        self.announcements[task.id] = number + 1
        self.pending[task.id] = _Done(task, number, op, obj, 0, caller(), self.born[task.id])

    def accessed(self, task: Task, op: Operation, obj: object) -> None:  # noqa: ARG002
        """See `Observer.accessed`."""
        done = self.pending.pop(task.id)
        done.step = self._runtime.steps
        self.ops.append(done)

    def performed(self, task: Task, op: Operation, obj: object, arg: Any, result: Any) -> None:  # noqa: ARG002
        """See `Observer.performed`."""
        self.accessed(task, op, obj)

    def done(self, failure: Failure) -> list[_Done]:
        """The operations, and those that were due when the execution failed."""
        for due in self.pending.values():
            due.step = failure.step
        return [*self.ops, *self.pending.values()]


def _candidates(ops: Sequence[_Done]) -> Iterator[tuple[_Done, _Done]]:
    """Each operation with the last one of each other task that it depends on and that could have come later."""
    dependent = Dependence().dependent
    places: dict[int, list[tuple[int, _Done]]] = {}
    for position, second in enumerate(ops):
        earlier = places.setdefault(id(second.obj), [])
        seen: set[int] = set()
        for at, first in reversed(earlier):
            if (
                first.task is not second.task
                and first.task.id not in seen
                and dependent(first.op, first.obj, second.op, second.obj)
                and either_first(first.op, second.op)
            ):
                seen.add(first.task.id)
                if at >= second.born:
                    yield first, second
        earlier.append((position, second))


def _holds(ops: Sequence[_Done], first: _Done) -> Iterator[int]:
    """Where the task of `first` may be held: before it, or before it took a lock that it still has then."""
    yield first.number
    held: list[tuple[object, int]] = []
    for done in ops:
        if done.task is first.task and done.number < first.number:
            if takes_lock(done.op):
                held.append((done.obj, done.number))
            elif done.op.dep is Dep.RELEASE:
                held = [one for one in held if one[0] is not done.obj]
    for _, number in reversed(held):
        yield number


class _Swap:
    """A strategy: the order of the witness, but the task of `first` is held until `second` has been done."""

    name = "swap"
    numbers = None
    lease = 1

    def __init__(
        self,
        witness: _Story,
        values: tuple[int, ...],
        first: _Done,
        second: _Done,
        hold: int,
        then: _Then,
    ) -> None:
        self._rank = {(done.task.id, done.number): place for place, done in enumerate(witness.ops)}
        self._values = values
        self._used = 0
        self._first = first
        self._second = second
        self._hold = hold
        self._then = then
        self._story = _Story()
        self._over = False
        self.turned_round = False

    def avoids(self, program: Callable[[], Any], settings: Settings, limit: int) -> bool:
        """Run it: whether the order was turned round and nothing failed."""
        runtime = settings.runtime(self, recorder=self._story, max_steps=limit)
        try:
            execution: Execution = runtime.run(program)
        except ConcurrencyError:
            return False
        self.turned_round = self._is_turned_round()
        return self.turned_round and execution.failure is None

    def _is_turned_round(self) -> bool:
        first, second = self._first, self._second
        for done in self._story.ops:
            if _same(done, second):
                return True
            if _same(done, first):
                return False
        return False

    def begin(self, execution: int) -> None:  # noqa: ARG002
        """See `Strategy.begin`."""
        self._over = False
        self._used = 0

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:  # noqa: ARG002
        """The task whose next operation came first in the witness, unless it is held."""
        count = self._story.announcements
        held, other = self._first.task.id, self._second.task.id
        if count.get(held, 0) <= self._hold:
            return min(runnable, key=self._place)
        if not self._over:
            self._over = count.get(other, 0) > self._second.number + 1
            if not self._over:
                return min([task for task in runnable if task.id != held] or runnable, key=self._place)
            if self._then is not _Then.AS_BEFORE:
                favoured = held if self._then is _Then.FIRST else other
                return next((task for task in runnable if task.id == favoured), runnable[0])
        if self._then is _Then.AS_BEFORE:
            return min(runnable, key=self._place)
        return runnable[0] if current is None else current

    def _place(self, task: Task) -> int:
        """Where the next operation of `task` stands in the witness; the unknown ones stand last."""
        number = max(0, self._story.announcements[task.id] - 1)
        return self._rank.get((task.id, number), len(self._rank))

    def data(self, n: int, label: str) -> int:  # noqa: ARG002
        """As the witness; 0 where that does not fit."""
        self._used += 1
        value = self._values[self._used - 1] if self._used <= len(self._values) else 0
        return value if value < n else 0

    def end(self, steps: int, forced: int) -> None:
        """See `Strategy.end`."""


def _same(one: _Done, other: _Done) -> bool:
    return one.task.id == other.task.id and one.number == other.number and one.op is other.op
