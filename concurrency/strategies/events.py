"""The events of an execution as the bounded reduced search asks for them: which of them depend on each other, and why.

Beside the dependence relation there are three more reasons: the places that operations say themselves that they touch
(`Operation.touches`), what checks look at (`concurrency.core.sight`), and the turns that have touched what is freed
(`concurrency.checks.touching`).

An execution that begins as the one before it did is not computed again up to there: `rewind` keeps what is known of the
first events, and `again` has each of them made by the tasks and on the objects of this execution. So nothing here goes
by the identity of an object of a certain execution: an object has a number, that of how many were named before it. What
is looked at while an execution begins again costs nothing either: its objects tell of no touch before `listen`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from sugarbush.concurrency.checks import REACHING, Dependence, touching
from sugarbush.concurrency.core import (
    JOIN,
    NO_SIGHT,
    START,
    BadSchedule,
    Footprint,
    Operation,
    Place,
    Sights,
    Task,
    active,
    checked,
    domain,
    is_freed,
)
from sugarbush.concurrency.memory import FREE, FREE_STEPPED, SlabDomain
from sugarbush.concurrency.strategies.late_readers import LateReaders
from sugarbush.concurrency.strategies.trace import Edges, Trace
from sugarbush.concurrency.strategies.under_locks import Asks, UnderLocks

_BITS = (1 << 61) - 1
"""A signature has as many bits as Python's hash of a number, so a sum of them is one, too."""
K = TypeVar("K")
_NONE: dict[Operation, int] = {}
_NOWHERE: dict[tuple[str | None, bool], int] = {}


class Events(Trace):
    """A trace of which only `edges` is asked, with a number that tells it from others.

    The number does not depend on the order of independent events: it is the sum over the events of a hash of the task,
    how many events that has made before, and the hashes of the events that come directly before.
    """

    keeps_states = False

    def __init__(self, dependence: Dependence) -> None:
        super().__init__(dependence)
        self._key = self._number_of
        self.sights = NO_SIGHT
        self._by_kind: list[int] = []
        """For each kind of the checks its events."""
        self._hashes = [0]
        """Of each event; the first one has none. That of a turn with data choices has these in it."""
        self._placed: dict[int, dict[tuple[str | None, bool], int]] = {}
        """Of the events that say which places they touch those that touch an object, by its number: by field, and
        whether they may change it."""
        self._numbers: dict[int, int] = {}
        """The number of each object that an event was done to or has touched, by its id in this execution."""
        self._named: dict[int, list[int]] = {}
        """For each event what has got a number by it: its object (-1), or which of the places that it touches."""
        self._told: list[int | None] = []
        """For each object of a slab cache, in the order in which they are made, the events in whose turns it was
        touched (`concurrency.checks.touching`); None if it does not tell."""
        self._births = 0
        self._born: dict[int, int] = {}
        """Which of them an object is, by its id in this execution."""
        self._silent: list[object] = []
        """Those that do not tell yet."""
        self._listens = True
        self._spawned: dict[int, int] = {}
        """For each task but the first the event in whose turn it was spawned."""
        self._things: list[object] = []
        """The objects by their numbers."""
        self._kept: list[object] = []
        """Those that tell: an id is one's own only as long as there is the object."""
        self._locks = UnderLocks(self._thing)
        self._late = LateReaders(self) if dependence.callbacks else None
        self._ahead: tuple[Task, Sequence[Place] | None, int] | None = None
        """A task, and the places and kinds of what it does next, as `edges` has found them a moment ago."""

    @property
    def signature(self) -> int:
        """The number that tells this trace from others."""
        return sum(self._hashes) & _BITS

    # -- one execution after another --------------------------------------------------------------------------------

    def rewind(self, count: int) -> None:
        """A new execution begins with the first `count` events of this trace: forget all others, and all objects."""
        assert 0 < count <= len(self.who), "it begins as the one before"
        known = (1 << count) - 1
        del self.who[count:], self.ops[count:], self.before[count:], self._hashes[count:]
        self.objs, self.tasks, self._numbers, self._things = [None], {}, {}, []
        self._born, self._kept, self._silent = {}, [], []
        self._births, self._listens, self._ahead = 0, False, None
        touching.current.touched = None
        self._wide, self._unknown = self._wide & known, self._unknown & known
        self._regions, self._graces, self._waited_for = self._regions & known, self._graces & known, []
        self._on = _up_to(self._on, known)
        self._kinds = {at: _up_to(events, known) for at, events in self._kinds.items()}
        self._placed = {at: _up_to(events, known) for at, events in self._placed.items()}
        self._by_kind = [events & known for events in self._by_kind]
        self._told = [None if events is None else events & known for events in self._told]
        self._named = {number: what for number, what in self._named.items() if number < count}
        self._spawned = {task: number for task, number in self._spawned.items() if number < count}
        self._of = {
            task: [number for number in events if number < count]
            for task, events in self._of.items()
            if task in self._spawned or not task
        }
        # What is ordered before the next event of a task: its last one, or else the turn that has spawned it.
        self._clock = {
            task: self.before[events[-1] if events else self._spawned[task]]
            for task, events in self._of.items()
        }
        self._locks.rewind(count, self._of)
        if self._late is not None:
            self._late.rewind(count)

    def again(self, task: Task) -> Task:
        """`task` makes the next event that is known, on objects of this execution."""
        op, obj = self.next_of(task)
        number = len(self.objs)
        if op is not self.ops[number] or task.id != self.who[number]:
            raise BadSchedule(
                f"the program is not deterministic: after the same choices {task.name} does {op.name} now"
            )
        self.objs.append(obj)
        named = self._named.get(number)
        if named is not None:
            places = () if named[-1] < 0 else self.places_of(task) or ()
            for which in named:
                self._name(obj if which < 0 else places[which][0])
        return task

    def listen(self) -> None:
        """From here on the execution is another one: have the objects that it has made tell when they are touched."""
        self._listens = True
        del self._told[self._births :]
        touching.current.touched = self._touched
        for obj in self._silent:
            if not is_freed(obj):
                touching.have_told(obj)
        self._silent.clear()

    def _name(self, obj: object) -> None:
        self._numbers[id(obj)] = len(self._things)
        self._things.append(obj)

    def _thing(self, number: int) -> object:
        return self._things[number]

    def _number_of(self, obj: object) -> int:
        return self._numbers.get(id(obj), -1)

    def arrive(self, runnable: Sequence[Task]) -> None:
        """Take in the tasks that the last event has spawned."""
        if runnable[-1].id not in self.tasks:
            for task in runnable:
                self._spawned.setdefault(task.id, len(self.who) - 1)
            super().arrive(runnable)

    def settle(self) -> None:
        """The last event has taken effect: see which locks its task holds now."""
        number, task, op, obj = len(self.who) - 1, self.tasks[self.who[-1]], self.ops[-1], self.objs[-1]
        asks = Asks.NONE if op is None else Asks.of(op, self._footprint(op, obj))
        # Asked from outside: what is looked at here is no touch of the program's.
        rt, active.runtime = active.runtime, None
        try:
            self._locks.settle(number, task, self._number_of(obj), asks)
            if self._late is not None:
                self._late.settle(task, obj)
        finally:
            active.runtime = rt

    # -- what is asked of it ----------------------------------------------------------------------------------------

    def look_with(self, sights: Sights) -> None:
        """Keep the order of what the checks of this execution see: `sights` says what that is."""
        self.sights = sights
        if len(self._by_kind) != sights.bits:
            assert len(self.who) == 1, "each execution has the same checks"
            self._by_kind = [0] * sights.bits

    def made(self, obj: object) -> None:
        """Have a new object of a slab cache tell when it is touched, so that freeing it depends on these turns only.

        Where that is not possible, or such touches fail nothing, freeing it depends on everything, as its footprint
        says.
        """
        number, self._births = self._births, self._births + 1
        if number == len(self._told):
            entry = domain(SlabDomain).alive.get(id(obj))
            # Without the check, a touch after the free fails nothing. Then nothing would show that the free has to be
            # compared with it, for what had touched the object before is all that is known when it is freed.
            tells = (
                entry is not None
                and entry[1].frees_for_all
                and checked("use-after-free")
                and touching.have_told(obj)
            )
            self._told.append(0 if tells else None)
            touching.current.touched = self._touched
        elif self._told[number] is not None:
            self._silent.append(obj)
        if self._told[number] is not None:
            self._born[id(obj)] = number
            self._kept.append(obj)

    def _touched(self, obj: object) -> None:
        number = self._born.get(id(obj))
        if number is not None:
            self._told[number] = (self._told[number] or 0) | 1 << (len(self.who) - 1)

    def places_of(self, task: Task) -> Sequence[Place] | None:
        """What the next operation of `task` touches, as it says itself, or, of a free, as the object tells; None:
        unknown.
        """
        op = task.op
        if op is FREE and id(task.obj) in self._born:
            return ((task.obj, None, True),)
        if op is None or op.touches is None:
            return None
        # As in an effect, nothing that it looks at is an operation. It may look at what was freed meanwhile without
        # that being a failure: the operation itself will touch it, and fail.
        rt, active.runtime = active.runtime, None
        try:
            places = op.touches(task.obj, task, task.arg)
            return None if places is None else tuple(places)
        finally:
            active.runtime = rt

    def _kinds_of(self, task: Task) -> int:
        """Of which kinds the next operation of `task` is to the checks."""
        op, obj = self.next_of(task)
        # From outside, as `places_of`.
        rt, active.runtime = active.runtime, None
        try:
            return self.sights.kinds(task, op, obj, task.arg)
        finally:
            active.runtime = rt

    def _meets(self, task: Task) -> tuple[int, int]:
        op, obj = self.next_of(task)
        sure, kinds = 0, 0
        if op is FREE and id(obj) in self._born:
            sure |= self._told[self._born[id(obj)]] or 0
        if self.sights.bits:
            kinds = self._kinds_of(task)
            for bit in self.sights.places(kinds):
                sure |= self._by_kind[bit]
        places = self.places_of(task)
        self._ahead = task, places, kinds
        if places is not None:
            sure |= self._wide
            for on, field, changes in places:
                at = self._number_of(on)
                sure |= self._at(at, field, changes)
                for other, events in self._kinds.get(at, _NONE).items():
                    if meet(field, changes, other, self._footprint(other, on)):
                        sure |= events
            return sure, 0
        footprint = self._footprint(op, obj)
        if footprint not in REACHING and footprint is not Footprint.NOTHING:
            sure |= self._at(self._number_of(obj), op.place, footprint is not Footprint.READ)
        near, maybe = self._near(op, obj)
        if self._late is not None and (op.grace or op.region or footprint is Footprint.READER_ENDS):
            apart = ~self._late.apart(task, op)
            near, maybe = near & apart, maybe & apart
        return sure | near, maybe

    def _at(self, number: int, field: str | None, changes: bool) -> int:
        """The events that say they touch this place of an object and whose order with an access to it matters."""
        found = 0
        for (other, alters), events in self._placed.get(number, _NOWHERE).items():
            if (changes or alters) and (field is None or other is None or field == other):
                found |= events
        return found

    def spawned_in(self, task: int) -> int:
        """The event in whose turn a task was spawned; -1 for the first task."""
        return self._spawned[task] if task else -1

    def _kept_out(self, task: Task) -> int:
        op, obj = self.next_of(task)
        made = self._of[task.id]
        return self._locks.kept_out(op, self._number_of(obj), self.ops[made[-1]] if made else None)

    def frees_of_others(self, task: int) -> list[int]:
        """The events in which other tasks free an object."""
        frees = (number for number, op in enumerate(self.ops) if op in (FREE, FREE_STEPPED))
        return [number for number in frees if self.who[number] != task]

    def meet(self, one: Task, two: Task) -> bool:
        """Whether the next operations of two tasks depend on each other, by themselves or by what checks see."""
        op, obj = self.next_of(one)
        other, on = self.next_of(two)
        if self.sights.bits and self._kinds_of(one) & self.sights.sees(self._kinds_of(two)):
            return True
        if (op is JOIN and obj is two) or (other is JOIN and on is one):
            # It may end in the turn of its next operation.
            return True
        if op is FREE or other is FREE:
            # Which turns to come will touch the object is not known, and one of these may be among them.
            return True
        places, others = self.places_of(one), self.places_of(two)
        if places is None and others is None:
            apart = self._late is not None and self._late.are_apart(one, op, two, other)
            return not apart and self.dependent(op, obj, other, on)
        if places is None:
            return self._placed_meets(others or (), op, obj)
        if others is None:
            return self._placed_meets(places, other, on)
        return any(
            here is there and (changes or alters) and (field is None or part is None or field == part)
            for here, field, changes in places
            for there, part, alters in others
        )

    def _placed_meets(self, places: Iterable[Place], op: Operation, obj: object) -> bool:
        footprint = self._footprint(op, obj)
        if footprint in REACHING:
            return True
        return any(here is obj and meet(field, changes, op, footprint) for here, field, changes in places)

    def make(self, task: Task, edges: Edges) -> None:
        """`task` makes the next event, of which `edges` has said what comes before it."""
        (op, obj), number = self.next_of(task), len(self.who)
        # By what it is before it takes effect, which is what `edges` has asked.
        if self._ahead is None or self._ahead[0] is not task:
            self._meets(task)
        assert self._ahead is not None
        (_, places, kinds), self._ahead = self._ahead, None
        while kinds:
            self._by_kind[(kinds & -kinds).bit_length() - 1] |= 1 << number
            kinds &= kinds - 1
        named = []
        if places is None and op is not START and id(obj) not in self._numbers:
            named.append(-1)
            self._name(obj)
        for which, (on, part, changes) in enumerate(places or ()):
            if id(on) not in self._numbers:
                named.append(which)
                self._name(on)
            at = self._placed.setdefault(self._number_of(on), {})
            at[part, changes] = at.get((part, changes), 0) | 1 << number
        if named:
            self._named[number] = named
        own = self._of[task.id]
        hashes = self._hashes
        # Numbers only: the hash of a string is another one in each process.
        # By what comes directly before: all else that is ordered before is in the hashes of these.
        made = hash(
            (
                task.id,
                len(own),
                hashes[own[-1]] if own else 0,
                *sorted([hashes[number] for number in edges.direct]),
            )
        )
        hashes.append(made)
        self.go(task, edges.before, placed=places is not None)

    def chose(self, value: int) -> None:
        """The last event has made a data choice: other values are other traces."""
        self._hashes[-1] = hash((self._hashes[-1], value))


def _up_to(table: dict[K, int], known: int) -> dict[K, int]:
    """Those events of each set that are known."""
    return {at: left for at, events in table.items() if (left := events & known)}


def meet(field: str | None, changes: bool, op: Operation, footprint: Footprint) -> bool:
    """Whether an access to a place of an object meets an operation on that object, which stays in its own place."""
    if footprint is Footprint.NOTHING or not (changes or footprint is not Footprint.READ):
        return False
    return field is None or op.place is None or field == op.place
