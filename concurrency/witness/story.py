"""A story: what one execution did, operation by operation, with the decisions that led there.

It is what `concurrency.explain` reasons about: which operation stood where, which task held which lock, which one woke
which, and how to get to the moment before any of them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sugarbush.concurrency.core import (
    END,
    Failure,
    Kind,
    Observer,
    Operation,
    Runtime,
    Schedule,
    Task,
    place,
    spell,
)
from sugarbush.concurrency.memory import SharedMeta, SlabDomain
from sugarbush.concurrency.strategies import Replay
from sugarbush.concurrency.witness.moments import GOING_ON, TOUCH, Done
from sugarbush.lockdep.model import RawFrame


class OrderWatch(Observer):
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
        """A new execution: nothing is announced yet."""
        self.runtime = runtime
        self._clear()

    def spawned(self, parent: Task | None, task: Task) -> None:  # noqa: ARG002
        """A task is new: it has announced nothing."""
        self.announcements[task.id] = 0

    def announced(self, task: Task, op: Operation, obj: object) -> None:  # noqa: ARG002
        """Count the announcement, and hold the task if it is about to do one of `firsts`."""
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
        """An operation takes effect: see whether it is one of `firsts` or of `seconds`."""
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
        """An operation with an effect counts as a step does."""
        self.accessed(task, op, obj)


class Story(OrderWatch):
    """All operations of one execution, in the order in which they took effect."""

    def _clear(self) -> None:
        super()._clear()
        self.ops: list[Done] = []
        self.pending: dict[int, Done] = {}
        self._born: dict[int, int] = {}
        self._waits: dict[int, Done] = {}

    def spawned(self, parent: Task | None, task: Task) -> None:
        """Note when the task was spawned: what came before that could not have come after its operations."""
        super().spawned(parent, task)
        self._born[task.id] = len(self.ops)

    def announced(self, task: Task, op: Operation, obj: object) -> None:
        """Note what the task is about to do, and where."""
        number = self.announcements[task.id]
        super().announced(task, op, obj)
        self.pending[task.id] = Done(task, number, op, obj, place(), self._born[task.id])

    def blocked(self, task: Task, op: Operation, obj: object) -> None:  # noqa: ARG002
        """Note for what the task has to wait."""
        self._waits[task.id] = self.pending[task.id]

    def accessed(self, task: Task, op: Operation, obj: object) -> None:
        """The operation that was announced takes effect: it takes its place in the story."""
        super().accessed(task, op, obj)
        done = self.pending.pop(task.id)
        done.step = self.runtime.steps
        done.decision = self.decided - 1
        self.ops.append(done)

    def performed(self, task: Task, op: Operation, obj: object, arg: Any, result: Any) -> None:
        """Note the operation, and the tasks whose wait it ends."""
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
        # A wait that closes a circle ends the execution before observers hear of it.
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

    def __init__(self, schedule: Schedule, story: OrderWatch) -> None:
        self._inner = Replay(schedule)
        self._story = story
        self.decisions: list[int] = []
        self.data_made: list[tuple[int, int, int]] = []
        """The data choices: how many decisions there had been, the task, and the value."""

    def begin(self, execution: int) -> None:
        """Start from the first choice of the schedule; nothing is decided yet."""
        self._inner.begin(execution)
        self.decisions, self.data_made = [], []

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:
        """The task of the schedule; each decision is counted, also where there is no choice."""
        # A schedule says nothing of the places where there was no choice, so it is not asked there.
        only = len(runnable) == 1
        chosen = runnable[0] if only else self._inner.choose(runnable, current, step, forced)
        self.decisions.append(chosen.id)
        self._story.decide(chosen)
        return chosen

    def data(self, n: int, label: str) -> int:
        """The value of the schedule, noted with the task that chose it."""
        value = self._inner.data(n, label)
        self.data_made.append((self._story.decided, self._story.runtime.current.id, value))
        return value

    def end(self, steps: int, forced: int) -> None:
        """Nothing is to be done; what was noted is read when the execution is over."""
