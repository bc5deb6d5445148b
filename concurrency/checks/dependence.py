"""When the order of two operations may matter: the dependence relation of partial order reduction.

Two operations are independent if, from every state in which both can go on, both orders lead to the same state and
neither makes the other ready or unready (Godefroid, "Partial-Order Methods for the Verification of Concurrent
Systems", LNCS 1032, 1996, definition 3.1). The relation here errs on one side only: it may call two operations
dependent that are not, never the other way round. So an operation counts as reaching anything unless it is known to
stay in its place: by `local=True` (the field that it names, or all of its object) or by a `footprint=` of its own.
Both stand on the operation, beside its effect; no module and no name is believed, and `lowlevel.audit` verifies them.
The operations on the fields of `Shared` classes are declared where they are made, and freeing an object of a cache
that is declared ``KmemCache(..., stepped=True)`` stays in its place as well.

"The same state" is what the program can see through operations. What it looks at without one (a list that tasks append
to, an attribute of a lock) is not a part of it, and the order of RCU readers among each other, or of readers in the
queue of a rw_semaphore, has no effect.
"""

from __future__ import annotations

from enum import IntEnum

from sugarbush.concurrency.core import Dep, Footprint, Operation


class Scope(IntEnum):
    """Where two operations depend on each other."""

    NOWHERE = 0
    ONE_OBJECT = 1
    ANYWHERE = 2


# The audit makes operations of such a pair in both orders, on copies, and compares what comes of it
# (`concurrency.runtimes.audit.both_orders`).
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

REACHING = (Footprint.ANYTHING, Footprint.FREES)
"""What operations with these do may be seen from any place."""

_TAKES = (Dep.ACQUIRE, Dep.ACQUIRE_READ, Dep.ACQUIRE_RECURSIVE, Dep.TRY, Dep.TRY_READ)


def takes_lock(op: Operation) -> bool:
    """Whether the operation takes a lock, or tries to."""
    return op.dep in _TAKES


def either_first(one: Operation, other: Operation) -> bool:
    """Whether two dependent operations on one lock can come in both orders: only its holder gives it back."""
    return (one.dep is None and other.dep is None) or (takes_lock(one) and takes_lock(other))


class Dependence:
    """The dependence relation of one execution after another.

    With `faults` allocations may fail by choice, and how many still may is one number for all caches: every
    allocation then reaches beyond its cache. `weak` says that memory is.
    """

    def __init__(self, *, faults: bool = False, weak: bool = False) -> None:
        self._commute = _COMMUTE_WEAKLY if weak else _COMMUTE
        self._faults = faults
        self._scopes: dict[Operation, dict[Operation, Scope]] = {}

    def footprint(self, op: Operation, obj: object = None) -> Footprint:  # noqa: ARG002
        """What `op` does to its object, as it declares; that is the same whatever the object is."""
        return Footprint.ANYTHING if self._faults and op.allocates else op.footprint

    def dependent(self, op: Operation | None, obj: object, other: Operation | None, on: object) -> bool:
        """Whether the order of `op` done to `obj` and `other` done to `on`, by two tasks, may matter.

        None stands for a further data choice in the turn of an operation: it cannot be parted from that, so what
        matters is compared with the operation. The start of a task is `START` done to the task.

        >>> from sugarbush.concurrency.core import Access
        >>> read = Operation("read", Access.READ_ONCE, field="x", local=True)
        >>> write = Operation("write", Access.WRITE_ONCE, field="x", local=True)
        >>> aside = Operation("write", Access.WRITE_ONCE, field="y", local=True)
        >>> undeclared = Operation("walk")
        >>> here, there, dependent = object(), object(), Dependence().dependent
        >>> dependent(read, here, read, here), dependent(read, here, write, here)
        (False, True)
        >>> dependent(write, here, aside, here), dependent(write, here, write, there)
        (False, False)
        >>> dependent(undeclared, here, read, there)
        True
        """
        if op is None or other is None:
            return False
        # Asked for each pair of events that may meet, so the answer is kept; operations are few and never made anew.
        try:
            scope = self._scopes[op][other]
        except KeyError:
            scope = self._scope(op, other)
            self._scopes.setdefault(op, {})[other] = scope
        return scope is Scope.ANYWHERE or (scope is Scope.ONE_OBJECT and obj is on)

    def _scope(self, op: Operation, other: Operation) -> Scope:
        one, two = self.footprint(op), self.footprint(other)
        silent = Footprint.NOTHING in (one, two)
        if silent and (op.allocates or other.allocates):
            # With `faults` an allocation reaches every other one, by the number of those that may still fail. No
            # attribute tells of that number, so what a task does around an operation that touches nothing cannot see
            # it.
            return Scope.NOWHERE
        if one in REACHING or two in REACHING:
            return Scope.ANYWHERE
        if silent:
            return Scope.NOWHERE
        # Grace periods wait for stretches without preemption or interrupts, which are done to other objects.
        if (op.region and other.grace) or (op.grace and other.region):
            return Scope.ANYWHERE
        apart = op.place is not None and other.place is not None and op.place != other.place
        return Scope.NOWHERE if apart or (one, two) in self._commute else Scope.ONE_OBJECT
