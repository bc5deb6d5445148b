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

_MARKS_OF_READERS = (Footprint.READER_BEGINS, Footprint.READER_ENDS)
_GRACE = (Footprint.GRACE_BEGINS, Footprint.GRACE_ENDS, Footprint.GRACE_LOOKS)
# Each as the footprints of which it is made up: `CALLBACK_BEGINS` is `GRACE_ENDS` and `READER_BEGINS`, and so commutes
# with what both commute with; that two callbacks begin commutes since each is taken out of a queue of its own.
_CALLBACK_PAIRS = (
    (Footprint.CALLS, Footprint.READER_ENDS),
    (Footprint.CALLS, Footprint.GRACE_BEGINS),
    (Footprint.CALLS, Footprint.GRACE_ENDS),
    # Not CALLS and CALLS: of two that queue one head the second is the one that is reported.
    (Footprint.CALLS, Footprint.CALLBACK_ENDS),
    (Footprint.CALLS, Footprint.BARRIER_ENDS),
    (Footprint.CALLBACK_BEGINS, Footprint.READER_BEGINS),
    (Footprint.CALLBACK_BEGINS, Footprint.GRACE_ENDS),
    (Footprint.CALLBACK_BEGINS, Footprint.GRACE_LOOKS),
    (Footprint.CALLBACK_BEGINS, Footprint.CALLBACK_BEGINS),
    # What has begun has not run yet, and what a barrier waits for is what has run.
    (Footprint.CALLBACK_BEGINS, Footprint.BARRIER_BEGINS),
    (Footprint.CALLBACK_BEGINS, Footprint.BARRIER_ENDS),
    (Footprint.CALLBACK_ENDS, Footprint.READER_BEGINS),
    (Footprint.CALLBACK_ENDS, Footprint.READER_ENDS),
    (Footprint.CALLBACK_ENDS, Footprint.GRACE_BEGINS),
    (Footprint.CALLBACK_ENDS, Footprint.CALLBACK_ENDS),
    (Footprint.CALLBACK_ENDS, Footprint.BARRIER_BEGINS),
    *((Footprint.BARRIER_BEGINS, other) for other in (*_MARKS_OF_READERS, *_GRACE, Footprint.BARRIER_BEGINS)),
    *((Footprint.BARRIER_ENDS, other) for other in (*_MARKS_OF_READERS, *_GRACE, Footprint.BARRIER_BEGINS)),
    (Footprint.BARRIER_ENDS, Footprint.BARRIER_ENDS),
)
_WITH_CALLBACKS = _COMMUTE | {*_CALLBACK_PAIRS, *((two, one) for one, two in _CALLBACK_PAIRS)}
"""Footprints in one place that commute, where callbacks of RCU are told apart."""

STAYS_READY = (Footprint.GRACE_ENDS, Footprint.CALLBACK_BEGINS, Footprint.BARRIER_ENDS)
"""A grace period that is over stays over, a callback is taken by one task only, and what has run has run. Not under
weak memory, where a reader that begins may count as begun before a grace period, which then waits for it."""

REACHING = (Footprint.ANYTHING, Footprint.FREES)
"""What operations with these do may be seen from any place."""

_TAKES = (Dep.ACQUIRE, Dep.ACQUIRE_READ, Dep.ACQUIRE_RECURSIVE, Dep.TRY, Dep.TRY_READ)


def takes_lock(op: Operation) -> bool:
    """Whether the operation takes a lock, or tries to."""
    return op.dep in _TAKES


def either_first(one: Operation, other: Operation) -> bool:
    """Whether two dependent operations on one lock can come in both orders: only its holder gives it back."""
    return (one.dep is None and other.dep is None) or (takes_lock(one) and takes_lock(other))


def _takes_part(stretch: Operation, grace: Operation) -> bool:
    """Whether the order matters of an operation that begins or ends a stretch and one of grace periods.

    Both on objects of their own. A stretch is a reader: where it begins as a lock is taken it is to grace periods what
    `READER_BEGINS` is, and where it ends as a lock is given back what `READER_ENDS` is.
    """
    if stretch.footprint is Footprint.CALLBACK_BEGINS or takes_lock(stretch):
        return (Footprint.READER_BEGINS, grace.footprint) not in _WITH_CALLBACKS
    if stretch.footprint is Footprint.CALLBACK_ENDS or stretch.dep is Dep.RELEASE:
        return (Footprint.READER_ENDS, grace.footprint) not in _WITH_CALLBACKS
    return True


class Dependence:
    """The dependence relation of one execution after another.

    With `faults` allocations may fail by choice, and how many still may is one number for all caches: every
    allocation then reaches beyond its cache. `weak` says that memory is. With `callbacks` what callbacks of RCU do is
    told apart (`Footprint.CALLS` and the four that follow), and so are the begin and the end of a stretch; not under
    weak memory, and not for a search that makes effects on copies, as that of a callback takes from the true queue.
    """

    def __init__(self, *, faults: bool = False, weak: bool = False, callbacks: bool = False) -> None:
        assert not (weak and callbacks), (
            "under weak memory what a reader sees of grace periods is another thing"
        )
        self.callbacks = callbacks
        self.stays_ready = () if weak else STAYS_READY
        """The footprints of operations that nobody can make wait again once they can go on."""
        self._commute = _COMMUTE_WEAKLY if weak else _WITH_CALLBACKS if callbacks else _COMMUTE
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
            if not self.callbacks:
                return Scope.ANYWHERE
            if (op.region and other.grace and _takes_part(op, other)) or (
                op.grace and other.region and _takes_part(other, op)
            ):
                return Scope.ANYWHERE
        apart = op.place is not None and other.place is not None and op.place != other.place
        return Scope.NOWHERE if apart or (one, two) in self._commute else Scope.ONE_OBJECT
