"""A story: what one execution did, operation by operation, with the decisions that led there.

It is what `concurrency.explain` reasons about: which operation stood where, who held which lock, who woke whom, and
how to get to the moment before any of them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sugarbush.concurrency.core import (
    END,
    Dep,
    Failure,
    Kind,
    Observer,
    Operation,
    Runtime,
    Schedule,
    Task,
    label,
    place,
    spell,
)
from sugarbush.concurrency.memory import SharedMeta, SlabDomain
from sugarbush.concurrency.strategies import Replay
from sugarbush.lockdep.model import RawFrame

TOUCH = Operation("touch")
"""A freed object is looked at, or changed, where no operation was announced: that is how poison fails."""
GOING_ON = Operation("going on")
"""A task comes past the place where it failed, whatever it does next."""


@dataclass(frozen=True, slots=True)
class Woken:
    """A task that waited, and in what: told of the operation that ended its wait."""

    task: str
    what: str
    on: str
    where: str

    def __str__(self) -> str:
        return f"{self.task}, which waited in {self.what}({self.on}) at {self.where}"


@dataclass(frozen=True, slots=True)
class Moment:
    """One operation: the `number`-th (from 0) that `task` announced; it took effect at `step` of the witness.

    An operation that the witness did not come to (`happened` is False) has the step of the failure. `woke` are the
    tasks whose wait it ended.
    """

    task: str
    number: int
    step: int
    what: str
    on: str
    where: str
    woke: tuple[Woken, ...] = ()
    happened: bool = True
    nth: int = 0
    """The how-manieth time it was that the task did this at this place; 0 if it did so once."""

    def __str__(self) -> str:
        return f"{self.task}'s {self.what}({self.on}) at {self.where}{self._time}"

    @property
    def _time(self) -> str:
        if not self.nth:
            return ""
        ending = (
            "th" if self.nth % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(self.nth % 10, "th")
        )
        return f" (the {self.nth}{ending} time)"

    @property
    def told(self) -> str:
        """As the thing that came first: a wake-up is told by whom it woke."""
        if not self.woke:
            return str(self)
        woken = " and ".join(map(str, self.woke))
        return f"{self.task} woke {woken}, by {self.what}({self.on}) at {self.where}{self._time}"


def had_come(moments: Sequence[Moment]) -> str:
    """That all of these "had come", to be followed by "before": ends of tasks, and going on, are no operations."""
    told = [
        " and ".join(str(one) for one in moments if one.what not in (END.name, GOING_ON.name)),
        "had come",
    ]
    ended = [" and ".join(one.task for one in moments if one.what == END.name), "had ended"]
    gone = [f"{one.task} had gone on from {one.where}" for one in moments if one.what == GOING_ON.name]
    return " and ".join([" ".join(words) for words in (told, ended) if words[0]] + gone)


@dataclass(slots=True, eq=False)
class Done:
    """An operation that took effect, or that was due when the execution ended."""

    task: Task
    number: int
    op: Operation
    obj: object
    place: RawFrame | None
    born: int
    """How many operations had taken effect when its task was spawned."""
    step: int = 0
    decision: int = 0
    """Which decision of the strategy, from 0, had it take effect."""
    effect: bool = True
    """It counts as done when it has taken effect; else when it is announced."""
    happened: bool = True
    on: str = ""
    where: str = ""
    """What it is called, and its place, if that is not to be seen from its object and its instruction."""
    woke: list[Done] = field(default_factory=list)

    @property
    def called(self) -> str:
        """What it was done to."""
        if self.on:
            return self.on
        on = label(self.obj)
        return f"{on}.{self.op.field}" if self.op.field else on

    def moment(self, nth: int = 0) -> Moment:
        """What is told of it; `nth` tells it from others at its place."""
        woke = tuple(Woken(one.task.name, one.op.name, label(one.obj), spell(one.place)) for one in self.woke)
        where = self.where or spell(self.place)
        return Moment(
            self.task.name,
            self.number,
            self.step,
            self.op.name,
            self.called,
            where,
            woke,
            self.happened,
            nth,
        )

    def is_at(self, task: Task, number: int, op: Operation, where: RawFrame | None) -> bool:
        """Whether this is the same moment in another execution: the same operation, as many of its task's before it.

        What ends a task is that wherever it comes. A touch, and going on, are whatever the task does next.
        """
        if task.id != self.task.id:
            return False
        if self.op is END:
            return op is END
        if self.op is TOUCH or self.op is GOING_ON:
            return number == self.number
        # The object is another one in each execution, so what can be compared is the instruction. Without the place
        # another way through the program, with an operation of the same kind at this number, would pass for it.
        return number == self.number and op is self.op and where == self.place


class Watch(Observer):
    """Counts what each task has announced, and watches for the order that is tried.

    `turned` as soon as all of `seconds` are done and none of `firsts` is. Each of `firsts` is another task's.
    """

    def __init__(self, firsts: Sequence[Done] = (), seconds: Sequence[Done] = ()) -> None:
        self.firsts = tuple(firsts)
        self.seconds = tuple(seconds)
        self.runtime: Any = None
        self._watched = frozenset(one.task.id for one in (*firsts, *seconds))
        self._clear()

    def _clear(self) -> None:
        self.announcements: dict[int, int] = {}
        self.decided = 0
        """How many decisions the strategy has made; it counts them here (`decide`)."""
        self.last = 0
        """The task that it chose last, which is the one that runs."""
        self.turned = False
        self._first_done = False
        self._to_do = list(self.seconds)
        self._due: set[int] = set()
        self._places: dict[int, RawFrame | None] = {}

    def holds(self, task: Task) -> bool:
        """Whether `task` is to wait, since one of `firsts` is what it would do next."""
        return task.id in self._due and not self.turned

    def _does(self, done: Done) -> None:
        self._to_do.remove(done)
        self.turned = self.turned or not (self._to_do or self._first_done)

    def decide(self, task: Task) -> None:
        """The strategy has chosen `task`."""
        # The runtime's own `current` does not do: the tasks that are unwound at the end are current, too.
        self.decided += 1
        self.last = task.id

    def begin(self, runtime: Runtime) -> None:
        """See `Observer.begin`."""
        self.runtime = runtime
        self._clear()

    def spawned(self, parent: Task | None, task: Task) -> None:  # noqa: ARG002
        """See `Observer.spawned`."""
        self.announcements[task.id] = 0

    def announced(self, task: Task, op: Operation, obj: object) -> None:  # noqa: ARG002
        """See `Observer.announced`."""
        number = self.announcements[task.id]
        self.announcements[task.id] = number + 1
        if task.id in self._watched:
            # To take the place of every operation would cost more than all the rest of an execution.
            here = self._places[task.id] = place()
            if any(one.is_at(task, number, op, here) for one in self.firsts):
                self._due.add(task.id)
            for one in tuple(self._to_do):
                if not one.effect and one.is_at(task, number, op, here):
                    self._does(one)

    def accessed(self, task: Task, op: Operation, obj: object) -> None:  # noqa: ARG002
        """See `Observer.accessed`."""
        if task.id not in self._watched:
            return
        number, here = self.announcements[task.id] - 1, self._places[task.id]
        for one in self.firsts:
            self._first_done = self._first_done or one.is_at(task, number, op, here)
        self._due.discard(task.id)
        for one in tuple(self._to_do):
            if one.effect and one.is_at(task, number, op, here):
                self._does(one)

    def performed(self, task: Task, op: Operation, obj: object, arg: Any, result: Any) -> None:  # noqa: ARG002
        """See `Observer.performed`."""
        self.accessed(task, op, obj)


class Story(Watch):
    """All operations of one execution, in the order in which they took effect."""

    def _clear(self) -> None:
        super()._clear()
        self.ops: list[Done] = []
        self.pending: dict[int, Done] = {}
        self._born: dict[int, int] = {}
        self._waits: dict[int, Done] = {}

    def spawned(self, parent: Task | None, task: Task) -> None:
        """See `Observer.spawned`."""
        super().spawned(parent, task)
        self._born[task.id] = len(self.ops)

    def announced(self, task: Task, op: Operation, obj: object) -> None:
        """See `Observer.announced`."""
        number = self.announcements[task.id]
        super().announced(task, op, obj)
        self.pending[task.id] = Done(task, number, op, obj, place(), self._born[task.id])

    def blocked(self, task: Task, op: Operation, obj: object) -> None:  # noqa: ARG002
        """See `Observer.blocked`."""
        self._waits[task.id] = self.pending[task.id]

    def accessed(self, task: Task, op: Operation, obj: object) -> None:
        """See `Observer.accessed`."""
        super().accessed(task, op, obj)
        done = self.pending.pop(task.id)
        done.step = self.runtime.steps
        done.decision = self.decided - 1
        self.ops.append(done)

    def performed(self, task: Task, op: Operation, obj: object, arg: Any, result: Any) -> None:
        """See `Observer.performed`."""
        super().performed(task, op, obj, arg, result)
        self._waits.pop(task.id, None)
        if self._waits and (op.wakes or op is END):
            # Readiness has no side effects, and of this object the runtime has just asked it, too.
            woken = [
                one
                for one in self._waits.values()
                if one.obj is obj and one.op.ready is not None and one.op.ready(obj, one.task)
            ]
            self.ops[-1].woke = woken
            for one in woken:
                del self._waits[one.task.id]

    def at_the_end(self, failure: Failure) -> list[Done]:
        """The operations, those that were due when the execution failed, and what failed without being one."""
        for due in self.pending.values():
            due.step = failure.step
            due.decision = self.decided
        touch = self._touch(failure)
        return [*self.ops, *self.pending.values(), *([] if touch is None else [touch])]

    def failing(self, failure: Failure) -> list[Task]:
        """The tasks that show the failure: the one that ran, or, of a deadlock, all that wait."""
        last: Task = self.runtime.tasks[self.last]
        if failure.kind is not Kind.DEADLOCK:
            return [last]
        # A wait that closes a circle ends the execution before anybody hears that it has begun.
        waiting = [one.task for one in self._waits.values()]
        return waiting if last in waiting or last.ended else [*waiting, last]

    def going_on(self, task: Task, failure: Failure) -> Done:
        """That `task` comes past the place where it is now."""
        number = self.announcements[task.id]
        last = next((one for one in reversed(self.ops) if one.task is task), None)
        where = "its start" if last is None else f"its {last.op.name} at {spell(last.place)}"
        return Done(
            task,
            number,
            GOING_ON,
            task,
            None,
            self._born[task.id],
            failure.step,
            self.decided,
            effect=False,
            happened=False,
            on=task.name,
            where=where,
        )

    def _touch(self, failure: Failure) -> Done | None:
        """The touch of a freed object that no operation announced: the poison is on the object, not in the stream."""
        if failure.kind is not Kind.USE_AFTER_FREE:
            return None
        task: Task = self.runtime.tasks[self.last]
        slab = self.runtime.domains.get(SlabDomain)
        for obj, cache, allocated, freed in () if slab is None else slab.freed.values():
            if failure.detail == f"allocated by {allocated}\nfreed by {freed}":
                what = failure.headline.partition(" in ")[2].partition(" by ")[0]
                if not what.startswith(f"{cache.name}."):
                    continue
                field = what.removeprefix(f"{cache.name}.")
                fields = next(
                    (kind._fields for kind in type(obj).__mro__ if isinstance(kind, SharedMeta)), {}
                )
                where = failure.headline.rpartition(" at ")[2]
                return Done(
                    task,
                    self.announcements[task.id],
                    TOUCH,
                    obj,
                    None,
                    self._born[task.id],
                    failure.step,
                    self.decided,
                    # A shared field that is not poisoned is looked at by an operation, which has to take effect; an
                    # ordinary attribute at once, before the next operation is announced.
                    effect=field in fields,
                    on=what,
                    where=where,
                )
        return None


class Retold:
    """The strategy that makes a story of a schedule, and writes down what it decides."""

    name = "retold"
    numbers = None
    lease = 1
    thorough, left, bound, cut = True, True, None, 0

    def __init__(self, schedule: Schedule, story: Watch) -> None:
        self._inner = Replay(schedule)
        self._story = story
        self.decisions: list[int] = []
        self.data_made: list[tuple[int, int, int]] = []
        """The data choices: how many decisions there had been, the task, and the value."""

    def begin(self, execution: int) -> None:
        """See `Strategy.begin`."""
        self._inner.begin(execution)
        self.decisions, self.data_made = [], []

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:
        """See `Strategy.choose`."""
        # A schedule says nothing of the places where there was no choice, so it is not asked there.
        only = len(runnable) == 1
        chosen = runnable[0] if only else self._inner.choose(runnable, current, step, forced)
        self.decisions.append(chosen.id)
        self._story.decide(chosen)
        return chosen

    def data(self, n: int, label: str) -> int:
        """See `Strategy.data`."""
        value = self._inner.data(n, label)
        self.data_made.append((self._story.decided, self._story.runtime.current.id, value))
        return value

    def end(self, steps: int, forced: int) -> None:
        """See `Strategy.end`."""


def outermost_release(ops: Sequence[Done], second: Done, takes: Any) -> Done | None:
    """Where the task of `second` gives back the first of the locks that it holds then; None if it holds none."""
    held: list[object] = []
    past = False
    for done in ops:
        if done.task is not second.task:
            continue
        past = past or done is second
        if takes(done.op):
            held.append(done.obj)
        elif done.op.dep is Dep.RELEASE:
            held = [one for one in held if one is not done.obj]
            if past and not held:
                return done
        if past and not held:
            return None
    return None
