"""What has happened in one execution, and in what order: the happens-before relation of dependent operations.

An event is one turn of a task: its operation takes effect, and the task goes on to its next one. Events are numbered
from 0, and sets of events are bits of a number. Event a is ordered before b if they are of one task, or depend on
each other and a came first, or by way of others; the end of a task comes before a join of it, a spawn before the
child. Clocks as in Flanagan and Godefroid, "Dynamic Partial-Order Reduction for Model Checking Software", POPL 2005,
section 4, with sets in the place of vectors: all that is ordered before an event is taken off a set by one operation.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from sugarbush.concurrency.checks import REACHING, Dependence
from sugarbush.concurrency.core import (
    JOIN,
    START,
    Footprint,
    Operation,
    Task,
)
from sugarbush.concurrency.strategies.readiness import ObjectBefore, ready_without

_NONE: dict[Operation, int] = {}


class EventOrder(NamedTuple):
    """Of an event: what its task has to have seen, all that is ordered before it, and its races.

    `own` is ordered before the event whatever the others do: what its task did before, and, for a join, what the task
    did that it waits for. `before` has also what comes before it only since that came first in this execution.
    """

    own: int
    before: int
    races: list[tuple[int, int]]
    """Pairs (first, late): to reverse the race with event `first`, the events in `late` must not come first either."""


class Edges(NamedTuple):
    """Of an event: all that is ordered before it, and the events that it depends on, the last one first."""

    before: int
    direct: list[int]
    """Those of them that are ordered before no other one of them."""
    dependent: list[int]
    """`direct`; if another event can make this one wait, also all others that are not ordered before its task's last
    event."""


class Trace:
    """The events of the execution that goes on. Event 0 is the start of task 0."""

    keeps_states = True
    """Whether it keeps what objects were before events, as `order` needs it."""

    def __init__(self, dependence: Dependence) -> None:
        self._footprint = dependence.footprint
        self.dependent = dependence.dependent
        self.stays_ready = dependence.stays_ready
        self.tasks: dict[int, Task] = {}
        self.who = [0]
        self.ops: list[Operation | None] = [None]
        self.objs: list[object] = [None]
        self.before = [1]
        """For each event those that are ordered before it, itself included."""
        self.values: list[int | None] = []
        """For each event its data choice, if it has one; known when the execution is over."""
        self.more = 0
        """The events that are a further data choice in the turn before."""
        self.states: dict[tuple[int, int], ObjectBefore] = {}
        """What an object, by its id, was before an event that may have changed it, if tasks may wait for it."""
        self._waited_for: list[object] = []
        """Objects of grace periods. An operation on another object, which ends a stretch (`Operation.region`), may let
        those go on that wait for them."""
        self._key: Callable[[object], int] = id
        """By what an object is found. `objs` keeps it alive, so its id stays its own."""
        self._on: dict[int, int] = {}
        """For each object, by its key, the events done to it."""
        self._kinds: dict[int, dict[Operation, int]] = {}
        """The same by operation: one comparison of operations stands for all of the many reads of one field."""
        self._wide = 0
        """The events that may be seen from any place (`REACHING`)."""
        self._unknown = 0
        """Those of them that may have changed any object, of which no copy was made before."""
        self._regions = 0
        self._graces = 0
        """Events with `Operation.region` and with `grace`: they depend on each other although their objects differ."""
        self._of: dict[int, list[int]] = {0: [0]}
        """The events of each task."""
        self._clock = {0: 1}
        """For each task what is ordered before its next event."""
        self._after: dict[int, int] = {}
        """What `after` has found; only asked when no event comes any more."""

    def arrive(self, runnable: Sequence[Task]) -> None:
        """Take in the tasks that the last event has spawned: they have the highest numbers, so they stand last."""
        if runnable[-1].id in self.tasks:
            return
        for task in runnable:
            if task.id not in self.tasks:
                self.tasks[task.id] = task
                # A spawn belongs to the last event, which is ordered before all that the new task does.
                self._clock.setdefault(task.id, self.before[-1])
                self._of.setdefault(task.id, [])

    def go(self, task: Task, before: int, *, placed: bool = False) -> None:
        """`task` goes on, and makes the next event; `before` is what `order` or `edges` said of it.

        An event that is `placed` has said which places it touches (`Events`): it is not found by its object.
        """
        op, obj = self.next_of(task)
        number = len(self.who)
        bit = 1 << number
        # A start is done to no object that others could name; only what may touch anything depends on it (`_near`).
        if op is not START and not placed:
            at = self._key(obj)
            self._on[at] = self._on.get(at, 0) | bit
            kinds = self._kinds.get(at)
            if kinds is None:
                self._kinds[at] = {op: bit}
            else:
                kinds[op] = kinds.get(op, 0) | bit
            footprint = self._footprint(op, obj)
            if op.region:
                self._regions |= bit
                # The end of a stretch may let those go on that wait for grace periods, whose objects it is not done
                # to.
                for other in self._waited_for if self.keeps_states else ():
                    self.states[number, id(other)] = ObjectBefore(other, task)
            if op.grace:
                self._graces |= bit
                if all(other is not obj for other in self._waited_for):
                    self._waited_for.append(obj)
            if footprint in REACHING:
                self._wide |= bit
                self._unknown |= bit if footprint is Footprint.ANYTHING else 0
            elif (
                self.keeps_states
                and footprint is not Footprint.NOTHING
                and _may_matter(op)
                and _is_plain(obj)
            ):
                # A copy is made before each event, since afterwards there is no telling what was before. Only of what
                # tasks may wait for: a field that is read or written costs nothing.
                self.states[number, id(obj)] = ObjectBefore(obj, task)
        self.who.append(task.id)
        self.ops.append(op)
        self.objs.append(obj)
        before |= bit
        self.before.append(before)
        self._clock[task.id] = before
        self._of[task.id].append(number)

    @staticmethod
    def next_of(task: Task) -> tuple[Operation, object]:
        """What `task`, which has not ended, will do next, and to what. If it has not begun, that is its start."""
        return (START, task) if task.op is None else (task.op, task.obj)

    def go_on(self) -> EventOrder:
        """The task of the last event makes a further data choice in its turn: an event that no other task sees."""
        number = len(self.who)
        task = self.who[-1]
        self.more |= 1 << number
        self.who.append(task)
        self.ops.append(None)
        self.objs.append(None)
        own = self.before[-1]
        self._clock[task] = own | 1 << number
        self.before.append(self._clock[task])
        self._of[task].append(number)
        return EventOrder(own, own, [])

    def order(self, task: Task) -> EventOrder:
        """What is ordered before the next event of `task`, and with which events it races.

        A race is a pair (first, late): event `first`, of another task, depends on this one and could have come after
        it. The events in the set `late` must then stay away, too, since they would keep this one waiting. (A writer
        has waited for the readers r and s: if it is to come before r, s must not come first either.) If the event
        never waits, only the last events that it depends on race with it, and `late` is empty: those that are ordered
        before them are found as races when these have changed places.
        """
        op, obj = self.next_of(task)
        clock = own = self._clock[task.id]
        races: list[tuple[int, int]] = []
        blocks = op.ready is not None
        if op is JOIN:
            assert isinstance(obj, Task)
            if not obj.ended:
                return EventOrder(own, clock, races)
            # What it waits for is among what it has to have seen, so it could go on before all else.
            clock = own = clock | self._clock[obj.id]
            blocks = False
        sure, maybe = self._near(op, obj)
        left = (sure | maybe) & ~clock
        hidden = 0
        found: list[int] = []
        while left:
            number = left.bit_length() - 1
            left ^= 1 << number
            if not (sure >> number & 1 or self.dependent(op, obj, self.ops[number], self.objs[number])):
                continue
            found.append(number)
            clock |= self.before[number]
            if hidden >> number & 1:
                continue
            if not blocks:
                # All that is ordered before this one is found once these two have changed places.
                left &= ~clock
                races.append((number, 0))
                continue
            late, sure = ready_without(
                self, task, number, [one for one in reversed(found) if one != number], own
            )
            races += [(number, events) for events in late]
            # That a lock is free after a release does not say that it could not have been taken before the acquire,
            # so the search goes on past what cannot be reversed. A race that can be hides those before it, unless
            # guessed.
            if late and sure:
                hidden |= self.before[number]
        return EventOrder(own, clock, races)

    def edges(self, task: Task) -> Edges:
        """What is ordered before the next event of `task`, without the question which of it could have come later.

        Needs no state of any object, so a trace of which only this is asked keeps none (`keeps_states`).
        """
        op, obj = self.next_of(task)
        clock = self._clock[task.id]
        direct: list[int] = []
        if op is JOIN:
            assert isinstance(obj, Task)
            if not obj.ended:
                return Edges(clock, [], [])
            last = self.last_of(obj.id)
            if not clock >> last & 1:
                # It ends in the turn of this event. That comes first in any case; but a task that has come to its join
                # before is not preempted there when others go on, and one that comes to it later is.
                direct.append(last)
            clock |= self._clock[obj.id]
        dependent = [*direct]
        waits = op.ready is not None and op is not JOIN and op.footprint not in self.stays_ready
        sure, near = self._meets(task)
        left = (sure | near) & ~clock
        if waits:
            left &= ~self._kept_out(task)
        while left:
            number = left.bit_length() - 1
            left ^= 1 << number
            if not (sure >> number & 1 or self.dependent(op, obj, self.ops[number], self.objs[number])):
                continue
            dependent.append(number)
            if not clock >> number & 1:
                direct.append(number)
                clock |= self.before[number]
            if not waits:
                left &= ~clock
        return Edges(clock, direct, dependent)

    def _kept_out(self, task: Task) -> int:  # noqa: ARG002
        """The events during which `task`, which may have to wait, cannot have made its next operation."""
        return 0

    def _meets(self, task: Task) -> tuple[int, int]:
        """The events that the next operation of `task` surely depends on; others, of which `dependent` decides."""
        return self._near(*self.next_of(task))

    @property
    def reaches_anything(self) -> bool:
        """Whether some event may be seen from any place."""
        return self._wide != 0

    def frees(self, number: int) -> bool:
        """Whether the event frees an object.

        Then whatever may touch anything depends on it, but it makes no operation on another object ready or unready.
        """
        return (self._wide & ~self._unknown) >> number & 1 == 1

    def done_to(self, obj: object, start: int) -> list[int]:
        """The events from number `start` on that were done to `obj`."""
        left = self._on.get(self._key(obj), 0) >> start
        return [start + number for number in range(left.bit_length()) if left >> number & 1]

    def state(self, obj: object, number: int) -> ObjectBefore | None:
        """What `obj` was before event `number`, with what its task counted then; None if that is not known."""
        op, task = self.ops[number], self.tasks[self.who[number]]
        if op is None or self._unknown >> number & 1:
            return None
        later = self._on.get(self._key(obj), 0)
        if any(other is obj for other in self._waited_for):
            later |= self._regions
        # As it was before the first event from `number` on that may have changed it; up to there it stayed the same.
        later = later >> number << number
        while later:
            bit = later & -later
            later ^= bit
            event = bit.bit_length() - 1
            done = self.ops[event]
            if (event, id(obj)) in self.states or done is None or self._unknown & bit or _may_matter(done):
                return self.states.get((event, id(obj)))
        return ObjectBefore(obj, task) if _is_plain(obj) else None

    def _near(self, op: Operation, obj: object) -> tuple[int, int]:
        """The events that depend on `op` done to `obj`, as one comparison for each kind of them says; others that may.

        Of the second ones each is still to be compared.
        """
        sure = 0
        if self._footprint(op, obj) in REACHING:
            return sure, (1 << len(self.who)) - 1
        maybe = self._wide
        if op is START:
            return sure, maybe
        for other, events in self._kinds.get(self._key(obj), _NONE).items():
            if self.dependent(op, obj, other, obj):
                sure |= events
        if op.region:
            maybe |= self._graces
        if op.grace:
            maybe |= self._regions
        return sure, maybe

    def touched(self, op: Operation | None, obj: object, events: int) -> Iterator[int]:
        """Those of `events` that `op` done to `obj` depends on, the first one first."""
        if op is None:
            return
        sure, maybe = self._near(op, obj)
        left = (sure | maybe) & events
        while left:
            bit = left & -left
            left ^= bit
            number = bit.bit_length() - 1
            if sure & bit or self.dependent(op, obj, self.ops[number], self.objs[number]):
                yield number

    def after(self, number: int) -> int:
        """The events that are ordered after event `number`, and itself; asked when the execution is over."""
        found = self._after.get(number)
        if found is None:
            found = 0
            for later in range(number, len(self.before)):
                if self.before[later] >> number & 1:
                    found |= 1 << later
            self._after[number] = found
        return found

    def events_of(self, task: int) -> list[int]:
        """The events of a task."""
        return self._of[task]

    def last_of(self, task: int) -> int:
        """The last event of a task so far; -1 if it has made none."""
        events = self._of[task]
        return events[-1] if events else -1

    def turn(self, task: int, start: int, skip: int) -> int | None:
        """The event of `task` that comes after `skip` of its own from event `start` on; None if there is none."""
        events = self._of.get(task, [])
        at = bisect_left(events, start) + skip
        return events[at] if at < len(events) else None


def _may_matter(op: Operation) -> bool:
    """Whether an operation may change what another task waits for: not if it has one field only, and wakes no task."""
    return op.place is None or op.wakes or op.ready is not None


def _is_plain(obj: object) -> bool:
    """Whether `obj` can be copied attribute by attribute (`copied`)."""
    return type(obj).__new__ is object.__new__
