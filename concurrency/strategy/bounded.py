"""DPOR within a bound on preemptions: depth first, but another way is tried only where a race below asks for it.

Coons, Musuvathi and McKinley, "Bounded Partial-Order Reduction", OOPSLA 2013, section 4: a bound makes independent
operations dependent, so backtrack points are added where blocks begin, too. Here they are *marks*, put while an
execution goes on, as in Abdulla et al., "Source Sets", JACM 64(4), 2017, algorithm 1, and sleep respects what a switch
costs. There are no wakeup trees: what they are told to do first may cost more than the bound has left.

A *place* is a choice of who goes on. It is *free* if a switch costs nothing there: the task that ran has ended, has to
wait, or offers its CPU (`can_be_preempted`). A *block* is what one task does between two switches; where it offers its
CPU a new one begins.

1. First, whoever ran goes on; else the task of lowest number that is awake.
2. Before an event e of task t is made, the places of the events of others that it depends on, and that are not ordered
   before it by another one, become *racy*, and so do the places where their blocks began (back over places where the
   task offered its CPU). If e may have to wait, *all* events that it depends on count that are not ordered before t's
   last event, those before a release among them: that the lock is free at the release does not mean that it could not
   have been taken before. If e begins a block and has found any, the place where t's block before began is racy, too.
   The same for each task that waits in the end, and the place where a failure came is racy.
3. Going back, each task that can go on and is awake is tried at a racy place; where that costs, within the bound only.
   What is forbidden so is counted (`cut`): with 0 no schedule was left out for its preemptions.
4. A task that was preempted before an operation a *sleeps* until an event is made that depends on a, or until the task
   that runs has to wait by an operation that depends on a. Where nobody is awake nothing new can come.
5. All values of a data choice are tried.

Why no outcome within the bound is lost (docs/exploration.md has it in full). A preemption before a can be put off
behind the next event e of others if a and e are independent: the trace is the same, no switch is added, and none that
was free comes to cost, since a wakes nobody there. So for a whole block. If they are dependent, "a, then what led to e"
costs no more, its trace is made below the turn a by induction, and there (a, e) is a pair of step 2. Sleep (4) is the
first half of that. Plain sleep sets would be wrong here: of ``x = 1; y = 1`` beside ``y = 2`` both traces have a
schedule without a preemption, ``y = 2`` first or last; with the first task put to sleep after it was tried, the second
one is reached by ``x = 1, y = 2, y = 1`` only, which costs one.

Executions of one trace may be made more than once: their schedules differ in cost. `traces` counts the traces.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from concurrency.dependence import REACHING, Dependence, Footprint
from concurrency.failure import BadSchedule, ConcurrencyError
from concurrency.operation import Operation, Place
from concurrency.runtime import active, checked, current_task, domain
from concurrency.sight import NO_SIGHT, Sights
from concurrency.slab import FREE, SlabDomain
from concurrency.strategy.base import Pruned, can_be_preempted
from concurrency.strategy.dfs import Rising
from concurrency.strategy.trace import Edges, Trace
from concurrency.task import Task
from concurrency.touching import current as touching
from concurrency.touching import have_told

_BITS = (1 << 61) - 1


class _Events(Trace):
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
        """For each object that tells when it is touched the events in whose turns it was (`concurrency.touching`)."""
        self._kept: list[object] = []
        """The objects of these places: an id is one's own only as long as there is the object."""

    def look_with(self, sights: Sights) -> None:
        """What the checks see."""
        self.sights = sights
        self._by_kind = [0] * sights.bits

    def made(self, obj: object) -> None:
        """An object of a slab cache is new. If it is known who touches it, freeing it is compared with these turns."""
        entry = domain(SlabDomain).alive.get(id(obj))
        # Where nobody looks for such touches they fail nothing, and nobody would know of those that come after the free.
        if entry is not None and entry[1].frees_for_all and checked("use-after-free") and have_told(obj):
            self._told[id(obj)] = 0
            self._kept.append(obj)
            touching.touched = self._touched

    def _touched(self, obj: object) -> None:
        if id(obj) in self._told:
            self._told[id(obj)] |= 1 << (len(self.who) - 1)

    def places_of(self, task: Task) -> Sequence[Place] | None:
        """What the next operation of `task` touches, if that is known: it says so, or it frees what tells of touches."""
        op = task.op
        if op is FREE and id(task.obj) in self._told:
            return ((task.obj, None, True),)
        if op is None or op.touches is None:
            return None
        # As in an effect, nothing that it looks at is an operation; what was freed meanwhile is the business of those
        # only that touch it.
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
            for bit in sights.places(sights.kinds(op, obj)):
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
        """The events that say that they touch this place, where the order matters."""
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
        if sights.bits and sights.kinds(op, obj) & sights.sees(sights.kinds(other, on)):
            return True
        if op is FREE or other is FREE:
            # Which turns to come touch the object is not known yet.
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
        """`task` goes on."""
        if self.sights.bits:
            # By what it is before it takes effect, which is what `edges` has asked.
            kinds, bit = self.sights.kinds(*self.next_of(task)), 0
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
        """The last event has made a data choice."""
        self._hashes[-1] = made = hash((self._hashes[-1], value))
        self.signature = (self.signature + made) & _BITS


_NONE: dict[Operation, int] = {}
_NOWHERE: dict[tuple[str | None, bool], int] = {}


def meet(field: str | None, changes: bool, op: Operation, footprint: Footprint) -> bool:
    """Whether a place of an object and an operation on that object, which stays in its own place, meet."""
    if footprint is Footprint.NOTHING or not (changes or footprint is not Footprint.READ):
        return False
    return field is None or op.place is None or field == op.place


@dataclass(slots=True, eq=False)
class _Place:
    """A choice of who goes on, what was tried there, and whether another way can matter.

    `current` is who ran and can go on, `spent` what the schedule has cost so far, `asleep` who need not be tried.
    """

    enabled: tuple[int, ...]
    current: int | None
    free: bool
    spent: int
    asleep: frozenset[int]
    turn: int = -1
    tried: list[int] = field(default_factory=list)
    racy: bool = False
    edges: Edges | None = None
    """Of the event of this turn; None if it was not made yet."""
    block: _Place | None = None
    """Where the block of this turn begins: this place, or an earlier one."""
    before: _Place | None = None
    """If it begins a block: where the block of the same task before that began."""
    joined: _Place | None = None
    """If this place begins a block of the task that has run before it, too: where its block before began."""

    def mark(self) -> None:
        """Another way may matter here, and where the block began: the task may have to come first as a whole.

        Also right after the start of a task. It looks as if a switch before the start did as well, at less cost. But a
        start comes before or after whatever may touch anything, and what the others do then may be that.
        """
        self.racy = True
        block = self.block
        while block is not None:
            block.racy = True
            block = block.joined


@dataclass(slots=True)
class _Datum:
    """A data choice: `value` of `ways` is made."""

    ways: int
    value: int = 0


class BoundedDPOR:
    """Makes, of each trace that has a schedule with at most `bound` preemptions, one such schedule or a few.

    `left` says whether there is another execution; `cut` counts the racy places at which the bound forbade to try
    another task, `spent` the preemptions of the last execution, and `traces` how many traces were completed.
    """

    name = "dpor"
    unit = "preemption"
    thorough = True
    numbers = None
    lease = 1

    def __init__(self, bound: int, dependence: Dependence | None = None) -> None:
        if type(bound) is not int or bound < 0:
            raise ConcurrencyError(f"the preemption bound is a whole number, at least 0, not {bound!r}")
        self.bound: int | None = bound
        self._most = bound
        self._dependence = dependence or Dependence()
        self.left = True
        self.cut = 0
        self.spent = 0
        self._seen: set[int] = set()
        self._sum = 0
        """Of a hash of each trace: it does not depend on the order in which they came."""
        self._path: list[_Place | _Datum] = []
        self.begin(0)

    @property
    def traces(self) -> int:
        """How many traces were completed."""
        return len(self._seen)

    @property
    def digest(self) -> str:
        """A hash of the set of the traces that were completed; the same on every machine."""
        return f"{self._sum % (1 << 256):064x}"

    # -- one execution ------------------------------------------------------------------------------------------

    def begin(self, execution: int) -> None:  # noqa: ARG002
        """Start from the first choice: task 0 goes on."""
        self._trace = _Events(self._dependence)
        self._runnable: Sequence[Task] = ()
        self._at = 0
        self.spent = 0
        self._asleep: frozenset[int] = frozenset()
        self._made: list[_Place | None] = [None]
        """The place of each event; that task 0 starts was nobody's choice."""
        self._began: dict[int, _Place] = {}
        """Where the last block of each task began."""

    def look_with(self, sights: Sights) -> None:
        """See `Seeing.look_with`."""
        self._trace.look_with(sights)

    def made(self, obj: object) -> None:
        """See `Seeing.made`."""
        self._trace.made(obj)

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:  # noqa: ARG002
        """The task of this place; it is asked at every operation, also if only one task can go on."""
        trace = self._trace
        if not trace.tasks:
            trace.tasks[0] = current_task()
        self._runnable = runnable
        trace.arrive(runnable)
        enabled = tuple([task.id for task in runnable])
        if self._at < len(self._path):
            place = self._path[self._at]
            if not isinstance(place, _Place) or place.enabled != enabled:
                raise BadSchedule(
                    f"the program is not deterministic: after the same choices the tasks {enabled} can go on now"
                )
            assert place.spent == self.spent
            self._asleep = place.asleep
        else:
            place = self._arrive(enabled, current)
        self._at += 1
        self._go(place)
        return trace.tasks[place.turn]

    def _arrive(self, enabled: tuple[int, ...], current: Task | None) -> _Place:
        """A new place, and who goes on first there."""
        trace = self._trace
        if current is None and self._asleep:
            self._wait(trace.tasks[trace.who[-1]])
        place = _Place(
            enabled,
            None if current is None else current.id,
            not can_be_preempted(current),
            self.spent,
            self._asleep,
        )
        if current is not None:
            place.turn = current.id
        else:
            awake = [number for number in enabled if number not in self._asleep]
            if not awake:
                self._look_back()
                raise Pruned("all that can go on has been tried elsewhere")
            place.turn = awake[0]
        assert place.turn not in self._asleep, "who ran has not slept since"
        place.tried.append(place.turn)
        self._path.append(place)
        return place

    def _wait(self, ran: Task) -> None:
        """`ran` has to wait, or has ended: who sleeps may be whom it waits for, and its turn is wanted before that."""
        if not ran.ended:
            self._asleep = self._undisturbed(ran)

    def _go(self, place: _Place) -> None:
        """Make the event of the turn: mark what it races with, and see who sleeps."""
        trace = self._trace
        chosen = trace.tasks[place.turn]
        edges = place.edges
        if edges is None:
            edges = place.edges = trace.edges(chosen)
            self._begin_block(place, edges)
            self._mark(edges)
        if place.block is place:
            self._began[place.turn] = place
        if place.current not in (None, place.turn) and not place.free:
            self.spent += 1
            self._asleep |= {place.current}
        if self._asleep:
            self._asleep = self._undisturbed(chosen)
        trace.make(chosen, edges)
        self._made.append(place)
        assert self.spent <= self._most

    def _begin_block(self, place: _Place, edges: Edges) -> None:
        """Say to which block the turn of `place` belongs."""
        last = self._made[-1]
        if last is not None and last.turn == place.turn:
            if not place.free:
                place.block, place.joined = last.block, None
                return
            # It offers its CPU, or it has waited and nobody has come between: the others could have, at no cost.
            place.block, place.joined = place, last.block
            return
        place.block, place.joined = place, None
        place.before = self._began.get(place.turn)
        self._mark_block_before(place.turn, edges)

    def _mark_block_before(self, task: int, edges: Edges) -> None:
        """The task goes on, or waits to the end, after others have come between: its block before may belong later."""
        if edges.dependent and task in self._began:
            self._began[task].mark()

    def _mark(self, edges: Edges) -> None:
        for number in edges.dependent:
            place = self._made[number]
            if place is not None:
                place.mark()

    def _mark_frees(self, last: _Place) -> None:
        """The last turn has failed: it may have touched what was freed, which no event before has told of."""
        trace = self._trace
        frees = [number for number, op in enumerate(trace.ops) if op is FREE and trace.who[number] != last.turn]
        for number in frees:
            place = self._made[number]
            if place is not None:
                place.mark()
        if frees and last.before is not None:
            last.before.mark()

    def _undisturbed(self, by: Task) -> frozenset[int]:
        """Those that sleep, and whose next operation does not depend on that of `by`, which may be one of them."""
        trace = self._trace
        return frozenset(
            [number for number in self._asleep if number != by.id and not trace.meet(trace.tasks[number], by)]
        )

    def data(self, n: int, label: str) -> int:  # noqa: ARG002
        """The value that is tried; 0 first."""
        if self._at == len(self._path):
            self._path.append(_Datum(n))
        datum = self._path[self._at]
        if not isinstance(datum, _Datum) or datum.ways != n:
            raise BadSchedule(
                "the program is not deterministic: after the same choices it makes another one now"
            )
        self._at += 1
        self._trace.chose(datum.value)
        return datum.value

    def end(self, steps: int, forced: int) -> None:  # noqa: ARG002
        """Count the trace, and go back. If there is still a task that could go on, the last turn was a failure."""
        if self._at != len(self._path):
            raise BadSchedule("the program is not deterministic: after the same choices it ended now")
        signature = self._trace.signature
        if signature not in self._seen:
            self._seen.add(signature)
            self._sum += int.from_bytes(sha256(str(signature).encode()).digest())
        last = self._made[-1]
        if self._runnable and last is not None:
            # What the others would have done is not known: each is tried before the turn that failed.
            last.mark()
            self._mark_frees(last)
        self._look_back()

    # -- what to try next -----------------------------------------------------------------------------------------

    def _look_back(self) -> None:
        """Nothing more comes: have who waits to the end tried earlier; go back to the last place with a way left."""
        trace = self._trace
        for task in trace.tasks.values():
            if not task.ended and task not in self._runnable and task.op is not None:
                edges = trace.edges(task)
                self._mark(edges)
                self._mark_block_before(task.id, edges)
        path = self._path
        while path and not self._turn(path[-1]):
            path.pop()
        self.left = bool(path)

    def _turn(self, last: _Place | _Datum) -> bool:
        """Take the next way at the last place of the path, if there is one."""
        if isinstance(last, _Datum):
            last.value += 1
            return last.value < last.ways
        if not last.racy:
            return False
        ways = [number for number in last.enabled if number not in last.tried and number not in last.asleep]
        if not ways:
            return False
        if not last.free and last.spent == self._most:
            self.cut += 1
            return False
        last.turn = ways[0]
        last.tried.append(last.turn)
        last.edges = last.block = last.joined = last.before = None
        return True


class RisingDPOR(Rising[BoundedDPOR]):
    """`BoundedDPOR` under bound 0, then 1, 2 and so on."""

    thorough = True

    def look_with(self, sights: Sights) -> None:
        """See `Seeing.look_with`."""
        self._inner.look_with(sights)

    def made(self, obj: object) -> None:
        """See `Seeing.made`."""
        self._inner.made(obj)

    @property
    def traces(self) -> int:
        """How many traces were completed within the bound of now."""
        return self._inner.traces

    @property
    def digest(self) -> str:
        """See `BoundedDPOR.digest`, within the bound of now."""
        return self._inner.digest
