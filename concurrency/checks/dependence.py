"""When the order of two operations may matter: the dependence relation of partial order reduction.

Two operations are independent if, from every state in which both can go on, both orders lead to the same state and
neither makes the other ready or unready (Godefroid, "Partial-Order Methods for the Verification of Concurrent
Systems", LNCS 1032, 1996, definition 3.1). The relation here errs on one side only: it may call two operations
dependent that are not, never the other way round. So an operation counts as reaching anything unless it is known to
stay in its place, which is the case for

- the fields of `Shared` objects, joins and allocations;
- an operation that is declared ``Operation(..., local=True)``: the field that it names, or all of its object. So are
  the engine's own; no module is believed, and `concurrency.audit` verifies what is declared;
- freeing an object of a cache that is declared ``KmemCache(..., stepped=True)``.

"The same state" is what the program can see through operations. What it looks at without one (a list that tasks append
to, an attribute of a lock) is not a part of it, and the order of RCU readers among each other, or of readers in the
queue of a rw_semaphore, has no effect.
"""

from __future__ import annotations

from enum import IntEnum

from sugarbush.concurrency.core import JOIN, READING, START, Dep, Operation
from sugarbush.concurrency.locks import (
    DOWN_READ,
    DOWN_READ_SLOW,
    DOWN_READ_TRYLOCK,
    READ_LOCK,
    READ_TRYLOCK,
    READ_UNLOCK,
    UP_READ,
)
from sugarbush.concurrency.memory import ALLOC, ALLOC_REUSABLE, FREE, FREE_STEPPED, REUSE, Shared
from sugarbush.concurrency.rcu import (
    RCU_READ_LOCK,
    RCU_READ_LOCK_NESTED,
    RCU_READ_UNLOCK,
    RCU_READ_UNLOCK_NESTED,
    RCU_WAITS,
    SRCU_READ_LOCK,
    SRCU_READ_UNLOCK,
    SRCU_WAITS,
)


class Scope(IntEnum):
    """Where two operations depend on each other."""

    NOWHERE = 0
    ONE_OBJECT = 1
    ANYWHERE = 2


class Footprint(IntEnum):
    """What an operation does to its place (the field that it names, else the whole object)."""

    READ = 0
    """Looks at it."""
    CHANGE = 1
    """May change it."""
    READER_BEGINS = 2
    """A reader of RCU: only grace periods that begin see whether it is open."""
    READER_ENDS = 3
    """As that, but a grace period that begins before waits for nothing, and one that begins after finds nothing: only
    the end of one sees it."""
    GRACE_BEGINS = 4
    """A grace period: it finds the readers that are open."""
    GRACE_ENDS = 5
    """Waits until the readers that it has found have ended."""
    GRACE_LOOKS = 6
    """Sees which grace periods have begun, and which are over."""
    SHARES = 7
    """Takes a rw_semaphore or rwlock for reading, or gives it back: only writers see that."""
    LEAVES_QUEUE = 8
    """A reader that waited goes on: as `SHARES`, but a read trylock fails while anybody waits, so it sees this."""
    TRIES = 9
    """A read trylock."""
    NOTHING = 10
    """Touches no place: a join is ordered by the end of the task, a new object is known to nobody, and a task starts
    without an operation. But what the task does from here to its next operation belongs to it, and no operation says
    what it looks at on the way: an attribute of an object that another task frees, say. So it comes before or after
    whatever may touch anything, and commutes with the rest."""
    ANYTHING = 11
    """May look at and change any place."""
    FREES = 12
    """Makes every later touch of an object a failure, also one that is no operation: depends on everything, as
    `ANYTHING` does. But no operation on another object waits for what it changes."""
    PLACES = 13
    """What it says itself (`Operation.touches`): the relation, which is asked of kinds of operations, never has it."""


_PAIRS = (
    (Footprint.READ, Footprint.READ),
    (Footprint.READER_BEGINS, Footprint.READER_BEGINS),
    (Footprint.READER_BEGINS, Footprint.READER_ENDS),
    (Footprint.READER_BEGINS, Footprint.GRACE_ENDS),
    (Footprint.READER_BEGINS, Footprint.GRACE_LOOKS),
    (Footprint.READER_ENDS, Footprint.READER_ENDS),
    (Footprint.READER_ENDS, Footprint.GRACE_BEGINS),
    (Footprint.GRACE_BEGINS, Footprint.GRACE_BEGINS),
    (Footprint.GRACE_BEGINS, Footprint.GRACE_ENDS),
    (Footprint.GRACE_ENDS, Footprint.GRACE_ENDS),
    (Footprint.GRACE_ENDS, Footprint.GRACE_LOOKS),
    (Footprint.GRACE_LOOKS, Footprint.GRACE_LOOKS),
    (Footprint.SHARES, Footprint.SHARES),
    (Footprint.SHARES, Footprint.LEAVES_QUEUE),
    (Footprint.SHARES, Footprint.TRIES),
    (Footprint.LEAVES_QUEUE, Footprint.LEAVES_QUEUE),
    (Footprint.TRIES, Footprint.TRIES),
)
_COMMUTE = frozenset({*_PAIRS, *((two, one) for one, two in _PAIRS)})
"""Footprints in one place that commute."""

_COMMUTE_WEAKLY = _COMMUTE - {
    pair
    for looks in (Footprint.GRACE_ENDS, Footprint.GRACE_LOOKS)
    for pair in ((Footprint.READER_BEGINS, looks), (looks, Footprint.READER_BEGINS))
}
"""The same under weak memory, where a reader may count as begun before grace periods that go on, which then wait for it
(`concurrency.runtimes.weak.runtime`): whether one of them is over already is seen by a reader that begins."""

_KNOWN = {
    START: Footprint.NOTHING,
    JOIN: Footprint.NOTHING,
    RCU_READ_LOCK: Footprint.READER_BEGINS,
    RCU_READ_UNLOCK: Footprint.READER_ENDS,
    RCU_READ_LOCK_NESTED: Footprint.NOTHING,
    RCU_READ_UNLOCK_NESTED: Footprint.NOTHING,
    SRCU_READ_LOCK: Footprint.READER_BEGINS,
    SRCU_READ_UNLOCK: Footprint.READER_ENDS,
    **{waits.begin: Footprint.GRACE_BEGINS for waits in (RCU_WAITS, SRCU_WAITS)},
    **{waits.wait: Footprint.GRACE_ENDS for waits in (RCU_WAITS, SRCU_WAITS)},
    **{waits.get_state: Footprint.GRACE_LOOKS for waits in (RCU_WAITS, SRCU_WAITS)},
    **{waits.poll: Footprint.GRACE_LOOKS for waits in (RCU_WAITS, SRCU_WAITS)},
    **{waits.polled: Footprint.NOTHING for waits in (RCU_WAITS, SRCU_WAITS)},
    DOWN_READ: Footprint.SHARES,
    UP_READ: Footprint.SHARES,
    DOWN_READ_SLOW: Footprint.LEAVES_QUEUE,
    DOWN_READ_TRYLOCK: Footprint.TRIES,
    READ_LOCK: Footprint.SHARES,
    READ_TRYLOCK: Footprint.SHARES,
    READ_UNLOCK: Footprint.SHARES,
    ALLOC: Footprint.NOTHING,
    ALLOC_REUSABLE: Footprint.CHANGE,
    REUSE: Footprint.CHANGE,
    FREE: Footprint.FREES,
    FREE_STEPPED: Footprint.CHANGE,
}

REACHING = (Footprint.ANYTHING, Footprint.FREES)
"""What operations with these do may be seen from any place."""

_ALLOCATIONS = (ALLOC, ALLOC_REUSABLE)

_TAKES = (Dep.ACQUIRE, Dep.ACQUIRE_READ, Dep.ACQUIRE_RECURSIVE, Dep.TRY, Dep.TRY_READ)


def takes_lock(op: Operation) -> bool:
    """The operation takes a lock, or tries to."""
    return op.dep in _TAKES


def either_first(one: Operation, other: Operation) -> bool:
    """Whether two dependent operations on one object can come in both orders: a lock is given back by its holder."""
    return (one.dep is None and other.dep is None) or (takes_lock(one) and takes_lock(other))


class Dependence:
    """The dependence relation of one execution after another.

    With `faults` allocations may fail by choice, and how many still may is one number for all caches: every
    allocation then reaches beyond its cache. `weak` says that memory is.
    """

    def __init__(self, *, faults: bool = False, weak: bool = False) -> None:
        self._commute = _COMMUTE_WEAKLY if weak else _COMMUTE
        self._footprints: dict[Operation, Footprint] = dict(_KNOWN)
        self._scopes: dict[Operation, dict[Operation, Scope]] = {}
        if faults:
            self._footprints.update(dict.fromkeys(_ALLOCATIONS, Footprint.ANYTHING))

    def footprint(self, op: Operation, obj: object) -> Footprint:
        """What `op` does to `obj`."""
        found = self._footprints.get(op)
        if found is None:
            found = self._footprints[op] = _footprint(op, obj)
        return found

    def dependent(self, op: Operation | None, obj: object, other: Operation | None, on: object) -> bool:
        """Whether the order of `op` done to `obj` and `other` done to `on`, by two tasks, may matter.

        None stands for a further data choice in the turn of an operation: it cannot be parted from that, so what
        matters is compared with the operation. The start of a task is `START` done to the task.
        """
        if op is None or other is None:
            return False
        try:
            scope = self._scopes[op][other]
        except KeyError:
            scope = self._scope(op, obj, other, on)
            self._scopes.setdefault(op, {})[other] = scope
        return scope is Scope.ANYWHERE or (scope is Scope.ONE_OBJECT and obj is on)

    def _scope(self, op: Operation, obj: object, other: Operation, on: object) -> Scope:
        one, two = self.footprint(op, obj), self.footprint(other, on)
        silent = Footprint.NOTHING in (one, two)
        if silent and (op in _ALLOCATIONS or other in _ALLOCATIONS):
            # With `faults` allocations reach each other, by the number that is left; no attribute tells of that.
            return Scope.NOWHERE
        if one in REACHING or two in REACHING:
            return Scope.ANYWHERE
        if silent:
            return Scope.NOWHERE
        if (op.region and other.grace) or (op.grace and other.region):
            return Scope.ANYWHERE
        apart = op.place is not None and other.place is not None and op.place != other.place
        return Scope.NOWHERE if apart or (one, two) in self._commute else Scope.ONE_OBJECT


def _footprint(op: Operation, obj: object) -> Footprint:
    if op.local or _is_shared_field(op, obj):
        return Footprint.READ if op.access in READING else Footprint.CHANGE
    return Footprint.ANYTHING


def _is_shared_field(op: Operation, obj: object) -> bool:
    """`op` is an access to a declared field, as made by `Shared` itself."""
    if not isinstance(obj, Shared) or op.field is None:
        return False
    field = type(obj)._fields.get(op.field)
    return field is not None and (op in field.ops.values() or op in field.modify.values())
