"""The words in which an operation is declared: accesses, meanings to lockdep and RCU, barriers, footprints, holds.

`concurrency.core.operation.Operation` takes them and `concurrency.checks` reads them from there. Nobody keeps a list of
operations, so a new primitive is right without being known anywhere.
"""

from __future__ import annotations

from enum import IntEnum


class Access(IntEnum):
    """What an operation does to its object, as the race detector and the dependence relation see it."""

    READ = 0
    """A plain read: must be ordered against every write by something else."""
    WRITE = 1
    """A plain write: must be ordered against every other access."""
    READ_ONCE = 2
    """A marked read: races are its purpose; orders nothing."""
    WRITE_ONCE = 3
    """A marked write: races are its purpose; orders nothing."""
    ACQUIRE = 4
    """Takes over what the last release of this place made visible (acquire load, rcu_dereference)."""
    RELEASE = 5
    """Makes all earlier work of the task visible to later acquires (release store, rcu_assign_pointer)."""
    ACQ_REL = 6
    """Both (atomic read-modify-write)."""
    NONE = 7
    """Touches no memory that a program could race on (locks, and marks in the event stream)."""


READING = (Access.READ, Access.READ_ONCE, Access.ACQUIRE)
"""What changes nothing."""


class Dep(IntEnum):
    """What an operation means to the lock validator."""

    ACQUIRE = 0
    ACQUIRE_READ = 1
    ACQUIRE_RECURSIVE = 2
    TRY = 3
    TRY_READ = 4
    RELEASE = 5
    DOWNGRADE = 6
    IRQS_OFF = 7
    """This and all below: done to the calling task, not to a lock."""
    IRQS_ON = 8
    BH_OFF = 9
    BH_ON = 10
    HARDIRQ_ENTER = 11
    HARDIRQ_EXIT = 12
    SOFTIRQ_ENTER = 13
    SOFTIRQ_EXIT = 14
    WAIT_FOR = 15
    """Waits until whoever holds the map is done; takes nothing."""
    WAIT_FOR_WRITER = 16
    """The same, for a reader."""
    SYNC = 17
    """Waits until all readers of the map are done, as a grace period of SRCU does; takes nothing."""
    RECLAIM_ENTER = 19
    """This and the next: done to the calling task. It reclaims memory."""
    RECLAIM_EXIT = 20


class Fence(IntEnum):
    """A memory barrier; kernel: Documentation/memory-barriers.txt, v6.6."""

    RMB = 0
    """Reads before it are done before reads after it."""
    WMB = 1
    """Writes of the task before it reach every other task before its writes after it."""
    MB = 2
    """All that the task knows before it has reached every task before it goes on."""


class Moment(IntEnum):
    """What an operation means to grace periods of RCU; `concurrency.rcu.order` says what that orders."""

    READER = 0
    """A reader of plain RCU may begin or end; as for `Operation.region`."""
    BEGINS = 1
    """A reader begins that the result names."""
    ENDS = 2
    """The reader that the argument names ends."""
    WAIT = 3
    """This and the next: a wait for a grace period begins, and ends."""
    WAITED = 4
    CALL = 5
    """A callback is queued, for after a grace period that begins here."""
    CALLBACK = 6
    """This and the next: a callback is called, and has returned."""
    CALLED = 7
    COOKIE = 8
    """The result is the cookie of a grace period that begins no earlier."""
    POLL = 9
    """A cookie (the argument) is looked at; if the result is true, its grace period is over."""
    BARRIER = 10
    """This and the next: a wait for callbacks begins, and ends."""
    BARRIER_OVER = 11
    QUIESCENT = 12
    """The task may pass here for one that has slept (Tasks RCU)."""


class Footprint(IntEnum):
    """What an operation does to its place (the field that it names, else the whole object).

    Most operations need none of these: `local=True` gives READ or CHANGE by their access, and one that declares nothing
    has ANYTHING. The others promise more: that some of them commute although they change the same attributes
    (`concurrency.checks.dependence._COMMUTE`). `lowlevel.audit` makes both orders on copies, and compares.
    """

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


DERIVED = frozenset({Footprint.READ, Footprint.CHANGE, Footprint.ANYTHING, Footprint.PLACES})
"""What follows from `access`, `local` and `touches`: to declare it by hand could only contradict them."""


class Hold(IntEnum):
    """What its task holds of the object after an operation. A loop that takes and gives back has changed nothing.

    Only `concurrency.runtimes.liveness` asks, of tasks that spin. One with a `dep` of a lock has it from that.
    """

    TAKES = 0
    """One more."""
    GIVES = 1
    """One less."""
    TRIES = 2
    """One more if its result is true; else it has only looked."""
    ASKS = 3
    """One more if its result is true; else its task stands in a queue, so it has changed that."""
    IF_TRUE = 4
    """It has changed something for good if its result is true; else it has only looked."""
    KEEPS = 5
    """As much as before, and that is all that there is to it."""
    CHANGES = 6
    """It does more than to take or give back: the number of a sequence counter is another after it."""
