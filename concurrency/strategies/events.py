"""The events of an execution as the bounded reduced search asks for them: which of them depend on each other, and why.

Beside the dependence relation there are three more reasons: the places that operations say themselves that they touch
(`Operation.touches`), what checks look at (`concurrency.core.sight`), and the turns that have touched what is freed
(`concurrency.checks.touching`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sugarbush.concurrency.checks import REACHING, Dependence, touching
from sugarbush.concurrency.core import (
    NO_SIGHT,
    Footprint,
    Operation,
    Place,
    Sights,
    Task,
    active,
    checked,
    domain,
)
from sugarbush.concurrency.memory import FREE, SlabDomain
from sugarbush.concurrency.strategies.trace import Edges, Trace

_BITS = (1 << 61) - 1
"""A signature has as many bits as Python's hash of a number, so a sum of them is one, too."""
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
        self.signature = 0
        self.sights = NO_SIGHT
        self._by_kind: list[int] = []
        """For each kind of the checks its events."""
        self._hashes = [0]
        self._placed: dict[int, dict[tuple[str | None, bool], int]] = {}
        """Of the events that say which places they touch those that touch an object, by its id: by field, and whether
        they may change it."""
        self._told: dict[int, int] = {}
        """For each object that tells when it is touched the events in whose turns it was
        (`concurrency.checks.touching`).
        """
        self._kept: list[object] = []
        """The objects of these places: an id is one's own only as long as there is the object."""

    def look_with(self, sights: Sights) -> None:
        """Keep the order of what the checks of this execution see: `sights` says what that is."""
        self.sights = sights
        self._by_kind = [0] * sights.bits

    def made(self, obj: object) -> None:
        """Have a new object of a slab cache tell when it is touched, so that freeing it depends on these turns only.

        Where that is not possible, or such touches fail nothing, freeing it depends on everything, as its footprint
        says.
        """
        entry = domain(SlabDomain).alive.get(id(obj))
        # Without the check, a touch after the free fails nothing. Then nothing would show that the free has to be
        # compared with it, for what had touched the object before is all that is known when it is freed.
        if (
            entry is not None
            and entry[1].frees_for_all
            and checked("use-after-free")
            and touching.have_told(obj)
        ):
            self._told[id(obj)] = 0
            self._kept.append(obj)
            touching.current.touched = self._touched

    def _touched(self, obj: object) -> None:
        if id(obj) in self._told:
            self._told[id(obj)] |= 1 << (len(self.who) - 1)

    def places_of(self, task: Task) -> Sequence[Place] | None:
        """What the next operation of `task` touches, as it says itself, or, of a free, as the object tells; None:
        unknown.
        """
        op = task.op
        if op is FREE and id(task.obj) in self._told:
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

    def _meets(self, task: Task) -> tuple[int, int]:
        op, obj = self.next_of(task)
        sights, sure = self.sights, 0
        if op is FREE:
            sure |= self._told.get(id(obj), 0)
        if sights.bits:
            for bit in sights.places(sights.kinds(op, obj, task.arg)):
                sure |= self._by_kind[bit]
        places = self.places_of(task)
        if places is not None:
            sure |= self._wide
            for on, field, changes in places:
                sure |= self._at(on, field, changes)
                for other, events in self._kinds.get(id(on), _NONE).items():
                    if meet(field, changes, other, self._footprint(other, on)):
                        sure |= events
            return sure, 0
        footprint = self._footprint(op, obj)
        if footprint not in REACHING and footprint is not Footprint.NOTHING:
            sure |= self._at(obj, op.place, footprint is not Footprint.READ)
        return sure, self._near(op, obj)

    def _at(self, obj: object, field: str | None, changes: bool) -> int:
        """The events that say they touch this place and whose order with an access to it matters."""
        found = 0
        for (other, alters), events in self._placed.get(id(obj), _NOWHERE).items():
            if (changes or alters) and (field is None or other is None or field == other):
                found |= events
        return found

    def meet(self, one: Task, two: Task) -> bool:
        """Whether the next operations of two tasks depend on each other, by themselves or by what checks see."""
        op, obj = self.next_of(one)
        other, on = self.next_of(two)
        sights = self.sights
        if sights.bits and sights.kinds(op, obj, one.arg) & sights.sees(sights.kinds(other, on, two.arg)):
            return True
        if op is FREE or other is FREE:
            # Which turns to come will touch the object is not known, and one of these may be among them.
            return True
        places, others = self.places_of(one), self.places_of(two)
        if places is None and others is None:
            return self.dependent(op, obj, other, on)
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
        if self.sights.bits:
            # By what it is before it takes effect, which is what `edges` has asked.
            kinds, bit = self.sights.kinds(*self.next_of(task), task.arg), 0
            while kinds:
                if kinds & 1:
                    self._by_kind[bit] |= 1 << len(self.who)
                kinds >>= 1
                bit += 1
        places = self.places_of(task)
        for obj, part, changes in places or ():
            self._kept.append(obj)
            on = self._placed.setdefault(id(obj), {})
            on[part, changes] = on.get((part, changes), 0) | 1 << len(self.who)
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
        self.signature = (self.signature + made) & _BITS
        self.go(task, edges.before, placed=places is not None)

    def chose(self, value: int) -> None:
        """The last event has made a data choice: other values are other traces."""
        self._hashes[-1] = made = hash((self._hashes[-1], value))
        self.signature = (self.signature + made) & _BITS


def meet(field: str | None, changes: bool, op: Operation, footprint: Footprint) -> bool:
    """Whether an access to a place of an object meets an operation on that object, which stays in its own place."""
    if footprint is Footprint.NOTHING or not (changes or footprint is not Footprint.READ):
        return False
    return field is None or op.place is None or field == op.place
