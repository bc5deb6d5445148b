"""What a story is told in: operations as they were done, and the words for them.

A `Done` is an operation in one execution, with the objects of that execution; a `StoryMoment` is what is told of it, in
names and numbers alone, so that it can be kept with a result after all objects have gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sugarbush.concurrency.core import END, Dep, Operation, Task, label, spell
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
class StoryMoment:
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
        """In words as the thing that came first: of a wake-up, which tasks it woke."""
        if not self.woke:
            return str(self)
        woken = " and ".join(map(str, self.woke))
        return f"{self.task} woke {woken}, by {self.what}({self.on}) at {self.where}{self._time}"


def had_come(moments: Sequence[StoryMoment]) -> str:
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
        """What the operation was done to, as reports call it."""
        if self.on:
            return self.on
        on = label(self.obj)
        return f"{on}.{self.op.field}" if self.op.field else on

    def moment(self, nth: int = 0) -> StoryMoment:
        """What is told of it; `nth` tells it from others at its place."""
        woke = tuple(Woken(one.task.name, one.op.name, label(one.obj), spell(one.place)) for one in self.woke)
        where = self.where or spell(self.place)
        return StoryMoment(
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
