"""Feedback: schedules that showed something new are changed a little and tried again.

In the manner of greybox fuzzing for schedules: Wolff, Shi, Duck, Mathur and Roychoudhury, "Greybox Fuzzing for
Concurrency Testing", ASPLOS 2024, and the Fest strategy of Fray. What counts as new is a pair of operations of two
tasks on one place, of which one changes it, one right after the other there, that no earlier execution has had in this
order. A schedule with such a pair goes into the corpus. Most executions take one from there and change it: they leave
it somewhere, preempt a task where it was not, or move a preemption. Wherever that no longer says who goes on, and in
the other executions from the start, POS does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from sugarbush.concurrency.core import Access, Observer, Operation, Runtime, Task, label
from sugarbush.concurrency.strategies.base import seeded
from sugarbush.concurrency.strategies.pos import POS

_READS = (Access.READ, Access.READ_ONCE, Access.ACQUIRE)
_LARGEST = 200
"""Schedules in the corpus: the newest stay."""
_FRESH = 4
"""One execution in so many starts from nothing."""
_CHANGES = 3
_LONGEST = 6
"""A stretch that is put in, and a shift, is at most two to this power operations long."""

Done = tuple[int, str, str, str | None, int]
"""An operation: the task, its name, the place, and how often the task had been there, as a power of two."""
Pair = tuple[Done, Done]
Stretches = tuple[tuple[int, int], ...]
"""Which task announced how many operations, one after the other."""


@dataclass(slots=True)
class Corpus:
    """What was learned: the pairs that were seen, and schedules that showed a new one."""

    seen: set[Pair] = field(default_factory=set)
    schedules: list[Stretches] = field(default_factory=list)


@dataclass(slots=True)
class Lesson:
    """One execution: pairs that were new to it, and its stretches."""

    pairs: list[Pair]
    stretches: Stretches


class _Heard(Observer):
    """Notes the pairs and the stretches of an execution, and follows the plan for it."""

    def __init__(self, beside: Observer) -> None:
        self._beside = beside
        self.reset(())

    def reset(self, plan: Stretches) -> None:
        """A new execution starts, which follows `plan` as far as that fits."""
        self.plan = plan
        self._at = 0
        self._left = plan[0][1] if plan else 0
        self.pairs: dict[Pair, None] = {}
        self.stretches: list[tuple[int, int]] = []
        self._last: dict[tuple[int, str | None], tuple[Done, bool]] = {}
        self._times: dict[tuple[int, int, str | None], int] = {}
        self._kept: list[object] = []
        """The objects of the places: an id is one's own only as long as there is the object."""

    def begin(self, runtime: Runtime) -> None:
        """POS listens, too: it makes the choices wherever the plan says nothing."""
        self._beside.begin(runtime)

    def spawned(self, parent: Task | None, task: Task) -> None:
        """Tell POS, which draws a priority for the task."""
        self._beside.spawned(parent, task)

    def announced(self, task: Task, op: Operation, obj: object) -> None:
        """Tell POS, count the operation in the stretches, and follow the plan by it."""
        self._beside.announced(task, op, obj)
        number = task.id
        stretches = self.stretches
        if stretches and stretches[-1][0] == number:
            stretches[-1] = (number, stretches[-1][1] + 1)
        else:
            stretches.append((number, 1))
        if self._at < len(self.plan) and self.plan[self._at][0] == number:
            self._left -= 1

    def wanted(self, runnable: Sequence[Task]) -> Task | None:
        """The task that the plan has go on, if it can; None where the plan has ended."""
        plan = self.plan
        while self._at < len(plan):
            if self._left > 0:
                for task in runnable:
                    if task.id == plan[self._at][0]:
                        return task
            self._at += 1
            if self._at < len(plan):
                self._left = plan[self._at][1]
        return None

    def accessed(self, task: Task, op: Operation, obj: object) -> None:
        """Note the pair that this operation makes with the last one on its place."""
        if isinstance(obj, Task):
            return
        place = (id(obj), op.field)
        been = (task.id, *place)
        # By the power of two: a loop that goes round once more shows nothing new.
        times = self._times[been] = self._times.get(been, 0) + 1
        reads = op.access in _READS
        now = (task.id, op.name, label(obj), op.field, times.bit_length())
        before = self._last.get(place)
        if before is None:
            self._kept.append(obj)
        elif before[0][0] != task.id and not (reads and before[1]):
            self.pairs[before[0], now] = None
        self._last[place] = (now, reads)

    def performed(self, task: Task, op: Operation, obj: object, arg: object, result: object) -> None:  # noqa: ARG002
        """An operation with an effect makes pairs as an access does."""
        self.accessed(task, op, obj)


class Feedback:
    """Changes schedules that showed something new; an execution depends on the rounds before, and all on `seed`."""

    name = "feedback"
    numbers = None
    lease = 1

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._random = Random()
        self._otherwise = POS(seed)
        self._heard = _Heard(self._otherwise.listener)
        self.listener: Observer = self._heard
        self.knows = Corpus()
        self._lessons: list[Lesson] = []

    def begin(self, execution: int) -> None:
        """Take a schedule of the corpus and change it, or start from nothing."""
        seeded(self._random, self._seed, execution)
        self._otherwise.begin(execution)
        schedules = self.knows.schedules
        plan: Stretches = ()
        if schedules and self._below(_FRESH):
            plan = schedules[self._below(len(schedules))]
            for _ in range(1 + self._below(_CHANGES)):
                plan = self._changed(plan)
        self._heard.reset(plan)

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:
        """As the plan says; where it says nothing, as POS does."""
        wanted = self._heard.wanted(runnable)
        return self._otherwise.choose(runnable, current, step, forced) if wanted is None else wanted

    def data(self, n: int, label: str) -> int:  # noqa: ARG002
        """Any value."""
        return self._below(n)

    def end(self, steps: int, forced: int) -> None:  # noqa: ARG002
        """Keep what may be new."""
        heard, seen = self._heard, self.knows.seen
        pairs = [pair for pair in heard.pairs if pair not in seen]
        self._lessons.append(Lesson(pairs, tuple(heard.stretches) if pairs else ()))

    @property
    def teaches(self) -> Any:
        """A lesson is one execution."""
        return Lesson

    def lessons(self) -> list[Lesson]:
        """The executions since the last call, with those of their pairs that were new then."""
        lessons, self._lessons = self._lessons, []
        return lessons

    def learn(self, lessons: list[Lesson]) -> None:
        """Take over each schedule that shows a pair which those before it have not shown."""
        corpus = self.knows
        for lesson in lessons:
            if not corpus.seen.issuperset(lesson.pairs):
                corpus.seen.update(lesson.pairs)
                corpus.schedules.append(lesson.stretches)
        del corpus.schedules[:-_LARGEST]

    # -- changes --------------------------------------------------------------------------------------------------

    def _below(self, n: int) -> int:
        return int(self._random.random() * n)

    def _changed(self, plan: Stretches) -> Stretches:
        """One change somewhere in the plan."""
        if not plan:
            return plan
        at = self._below(len(plan))
        task, length = plan[at]
        before, after = plan[:at], plan[at + 1 :]
        first = 1 + self._below(length)
        some = 1 << self._below(_LONGEST + 1)
        # Leave the schedule here, preempt the task, or move the preemption at the end of the stretch.
        what = self._below(3)
        if what == 0:
            return (*before, (task, first))
        if what == 1:
            other = plan[self._below(len(plan))][0]
            rest = ((task, length - first),) if length > first else ()
            return (*before, (task, first), (other, some), *rest, *after)
        return (*before, (task, max(1, length + (some if self._below(2) else -some))), *after)
