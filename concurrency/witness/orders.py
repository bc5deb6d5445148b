"""The orders that an explanation tries to turn round: which operations came before which others, the tightest first.

Nothing is tried here. Which pairs there are follows from what depends on what, as in partial-order reduction; where no
pair alone is enough, whole stretches are taken: up to where locks are given back, to a task's end, or the first round.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sugarbush.concurrency.checks import Dependence, either_first, takes_lock
from sugarbush.concurrency.core import END, Dep, Failure, Kind, Task, spell
from sugarbush.concurrency.memory import FREE, FREE_STEPPED
from sugarbush.concurrency.witness.continuations import Retelling
from sugarbush.concurrency.witness.moments import TOUCH, Done, StoryMoment, outermost_release
from sugarbush.concurrency.witness.story import Story

_NEAR = 12
"""So many operations of a task, the last ones, are where it is held for want of a pair on one place."""
Order = tuple[tuple[Done, ...], tuple[Done, ...]]
"""What came first, one operation of each of some tasks, and what came second."""


def candidates(ops: Sequence[Done]) -> Iterator[tuple[Done, Done]]:
    """Each operation with the last one of each other task that it depends on and that could have come later."""
    dependence = Dependence()
    places: dict[int, list[tuple[int, Done]]] = {}
    for position, second in enumerate(ops):
        earlier = places.setdefault(id(second.obj), [])
        seen: set[int] = set()
        for at, first in reversed(earlier):
            if (
                first.task is not second.task
                and first.task.id not in seen
                and _matter(dependence, first, second)
            ):
                seen.add(first.task.id)
                # What came before the task of `second` was spawned cannot come after it.
                if at >= second.born:
                    yield first, second
        earlier.append((position, second))


def _matter(dependence: Dependence, first: Done, second: Done) -> bool:
    if second.op is TOUCH:
        return first.op in (FREE, FREE_STEPPED)
    return dependence.dependent(first.op, first.obj, second.op, second.obj) and either_first(
        first.op, second.op
    )


class Orders:
    """The operations of a failed execution, and the orders of them that are worth a try."""

    def __init__(self, retelling: Retelling, story: Story, failure: Failure) -> None:
        self._retelling = retelling
        self._budget = retelling.budget
        self._story = story
        self._failure = failure
        self._ops = story.at_the_end(failure)
        self._places = {id(done): place for place, done in enumerate(self._ops)}
        self._alike: dict[tuple[int, str, str, str], int] = {}
        self._times: dict[int, int] = {}
        self._number(self._ops)
        self._ends: dict[int, Done] = {}
        self._later: dict[Done, dict[int, Done]] = {}
        """Of an operation those of other tasks, one of each, that depend on it and that the witness did not come to."""
        self._fresh: list[Done] = []
        """Kept, since they are known by their identity."""

    def _number(self, ops: Sequence[Done]) -> None:
        """The how-manieth of its kind, at its place, each operation is; nothing is said where there is only one."""
        alike: dict[tuple[int, str, str, str], list[Done]] = {}
        for done in ops:
            alike.setdefault((done.task.id, done.op.name, done.called, spell(done.place)), []).append(done)
        for key, several in alike.items():
            before = self._alike.get(key, 0)
            self._alike[key] = before + len(several)
            if before + len(several) > 1:
                self._times |= {id(done): before + nth for nth, done in enumerate(several, 1)}

    def _moment(self, done: Done) -> StoryMoment:
        return done.moment(self._times.get(id(done), 0))

    def _sorted(self, pairs: Sequence[tuple[Done, Done]]) -> list[tuple[Done, Done]]:
        """The tightest first, then the one nearest to the failure."""
        return sorted(pairs, key=lambda pair: self._tightness(((pair[0],), (pair[1],))))

    def _place(self, done: Done) -> int:
        """Where it stands among all; what did not happen stands behind, in its task's order."""
        return self._places.get(id(done), len(self._ops) + done.number)

    def _distance(self, firsts: Sequence[Done], seconds: Sequence[Done]) -> int:
        """From the first moment to the last one, in operations."""
        return max(map(self._place, seconds)) - min(map(self._place, firsts))

    def _tightness(self, order: Order) -> tuple[int, int, int]:
        firsts, seconds = order
        return self._distance(firsts, seconds), -self._place(seconds[-1]), firsts[0].task.id

    def _to_come(self) -> Iterator[tuple[Done, Done]]:
        """Operations that the witness did not come to, since it failed before: they might have come first.

        Each failing task in turn is held where it began while all others run as far as they get, and what they did
        beyond the witness is paired with what the task did. Whether it can come before that is then tried.
        """
        known = {(done.task.id, done.number) for done in self._ops}
        for task in self._story.failing(self._failure):
            own = [done for done in self._ops if done.task is task and done.op is not TOUCH]
            if not own or self._budget.spent:
                continue
            ahead = self._retelling.ahead(own[0])
            fresh = [
                done for done in ahead if done.task.id != task.id and (done.task.id, done.number) not in known
            ]
            self._number(fresh)
            self._fresh += fresh
            dependence = Dependence()
            called = [(done, done.called) for done in reversed(own)]
            for second in fresh:
                second.happened = False
                second.step = self._failure.step
                second.decision = self._story.decided
                # Objects are made anew in each execution, so places are compared by what they are called.
                name = second.called
                matching = [
                    first
                    for first, its_name in called
                    if its_name == name
                    and dependence.dependent(first.op, second.obj, second.op, second.obj)
                    and either_first(first.op, second.op)
                ]
                for first in matching:
                    self._later.setdefault(first, {}).setdefault(second.task.id, second)
                yield from ((first, second) for first in matching[:1])

    def _single(self, pairs: Sequence[tuple[Done, Done]]) -> Iterator[Order]:
        """Each pair as it is."""
        for first, second in pairs:
            yield (first,), (second,)

    def _several(self, pairs: Sequence[tuple[Done, Done]]) -> Iterator[Order]:
        """One operation and those of several tasks, of each the nearest one, that came before it, or after it.

        What is to come after it has to stay behind what did come before it and is now to come after it as well.
        """
        before: dict[Done, dict[int, Done]] = {}
        after: dict[Done, dict[int, Done]] = {}
        for first, second in pairs:
            # The pairs stand by distance, so the first one of a task is the nearest.
            before.setdefault(second, {}).setdefault(first.task.id, first)
            after.setdefault(first, {}).setdefault(second.task.id, second)
        for second, firsts in before.items():
            for task, later in self._later.get(second, {}).items():
                firsts.setdefault(task, later)
            if len(firsts) > 1:
                yield tuple(firsts.values()), (second,)
        for first, seconds in after.items():
            if len(seconds) > 1:
                yield (first,), tuple(seconds.values())

    def _stretches(self, pairs: Sequence[tuple[Done, Done]]) -> Iterator[Order]:
        """Each pair with more of the one task before more of the other: a locked region, a round, all the rest."""
        for first, second in pairs:
            ends = [self._end(second.task)]
            released = outermost_release(self._ops, second, takes_lock)
            if released is not None:
                ends.insert(0, released)
            starts = [first, *self._locks(first)]
            rounds = (
                done
                for done in self._ops
                if done.task is first.task and done.op is first.op and done.place == first.place
            )
            starts.append(next(rounds, first))
            for start in starts:
                for end in ends:
                    yield (start,), (end,)
            for start in starts[1:]:
                yield (start,), (second,)

    def _end(self, task: Task) -> Done:
        found = self._ends.get(task.id)
        if found is None:
            step = self._failure.step
            found = Done(task, 0, END, task, None, 0, step, happened=False, on=task.name, where="its end")
            self._ends[task.id] = found
        return found

    def _between_tasks(self, pairs: Sequence[tuple[Done, Done]]) -> Iterator[Order]:  # noqa: ARG002
        """What one task did last, against all that others do: for what tasks share without an operation."""
        tasks = list(dict.fromkeys(done.task for done in (*self._ops, *self._fresh)))
        ending = {done.task.id for done in (*self._ops, *self._fresh) if done.op is END}
        for failing in self._story.failing(self._failure):
            own = [one for one in self._ops if one.task is failing and one.op is not TOUCH][-_NEAR:][::-1]
            others = [one for one in tasks if one.id != failing.id]
            for one in own:
                yield from (((one,), (self._end(other),)) for other in others)
            # All at once, but for tasks that wait for the failing one, and so cannot come to their ends before it.
            ends = tuple(self._end(other) for other in others if other.id in ending)
            if len(ends) > 1:
                yield from (((one,), ends) for one in own)
            if self._failure.kind is not Kind.DEADLOCK:
                passed = self._story.going_on(failing, self._failure)
                for other in others:
                    theirs = [one for one in self._ops if one.task is other and one.op is not END][-_NEAR:]
                    yield from (((one,), (passed,)) for one in theirs[::-1])

    def _locks(self, first: Done) -> list[Done]:
        """Where the task of `first` took the locks that it has then, the last one first."""
        held: list[Done] = []
        for done in self._ops:
            if done is first:
                break
            if done.task is first.task:
                if takes_lock(done.op):
                    held.append(done)
                elif done.op.dep is Dep.RELEASE:
                    held = [one for one in held if one.obj is not done.obj]
        return held[::-1]
