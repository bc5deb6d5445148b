"""The words in which an operation is declared: accesses, meanings to lockdep and RCU, barriers, footprints, holds.

`Operation` takes them, and `concurrency.checks` reads them from there. There is no list of operations anywhere, so
a new primitive works without being entered in one.
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
    """Touches no memory that a program could race on: operations on locks, memory barriers, the end of a task."""


READING = (Access.READ, Access.READ_ONCE, Access.ACQUIRE)
"""The accesses that change nothing."""


class Dep(IntEnum):
    """What an operation means to the lock validator (kernel: lockdep.h, v6.6).

    The numbers up to 6 are done to a lock (`declared` compares with `IRQS_OFF`), those from 7 to 14 and 19 on to the
    calling task.
    """

    ACQUIRE = 0
    ACQUIRE_READ = 1
    ACQUIRE_RECURSIVE = 2
    TRY = 3
    TRY_READ = 4
    RELEASE = 5
    DOWNGRADE = 6
    IRQS_OFF = 7
    IRQS_ON = 8
    BH_OFF = 9
    BH_ON = 10
    HARDIRQ_ENTER = 11
    HARDIRQ_EXIT = 12
    SOFTIRQ_ENTER = 13
    SOFTIRQ_EXIT = 14
    WAIT_FOR = 15
    """Waits until the task that holds the object is done with it, and takes nothing (del_timer_sync)."""
    WAIT_FOR_WRITER = 16
    """The same, as a reader: waits for a writer only (read_seqcount_begin)."""
    SYNC = 17
    """Waits until all readers of the object are done, as a grace period of SRCU does, and takes nothing."""
    RECLAIM_ENTER = 19
    """The calling task begins to reclaim memory; from here on it holds the pseudo-lock fs_reclaim."""
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
    """A reader of plain RCU may have begun or ended: whether the task is one is looked up, as after `region`."""
    BEGINS = 1
    """A reader of SRCU begins; the result is its index."""
    ENDS = 2
    """The reader of SRCU whose index is the argument ends."""
    WAIT = 3
    """A wait for a grace period begins, and with it the grace period: the first half of synchronize_rcu()."""
    WAITED = 4
    """That wait, and its grace period, are over."""
    CALL = 5
    """A callback is queued, to run after a grace period that begins here."""
    CALLBACK = 6
    """A callback is called: its grace period is over."""
    CALLED = 7
    """The callback has returned."""
    COOKIE = 8
    """The result is a cookie, for a grace period that begins here or later."""
    POLL = 9
    """The argument is a cookie; if the result is true, its grace period is over."""
    BARRIER = 10
    """A wait for all callbacks that were queued before begins: rcu_barrier()."""
    BARRIER_OVER = 11
    """That wait is over."""
    QUIESCENT = 12
    """To Tasks RCU the task has slept here, although it has not (or it runs its program's own code now)."""


class Footprint(IntEnum):
    """What an operation does to its place: the field that it names, else the whole object.

    Most operations declare none of these: `local=True` gives READ or CHANGE by their access, and one that declares
    nothing has ANYTHING. The others promise more: that two operations *commute* (both orders lead to the same state)
    although they change one object. Which pairs do stands in `concurrency.checks.dependence`; `lowlevel.audit` makes
    both orders on copies, and compares.
    """

    READ = 0
    """Looks at its place and changes nothing."""
    CHANGE = 1
    """May change its place."""
    READER_BEGINS = 2
    """A reader of RCU begins. It matters whether a grace period begins before that or after: only one that begins
    after finds the reader open and waits for it. To all else that RCU does it makes no difference (under strong
    memory; see `dependence._COMMUTE_WEAKLY`)."""
    READER_ENDS = 3
    """A reader of RCU ends. It matters to an operation that waits for the end of a grace period, or looks whether
    one is over. It does not matter whether a grace period *begins* before or after it: either way there is nothing
    left that this one has to wait for."""
    GRACE_BEGINS = 4
    """A grace period begins: it finds the readers that are open."""
    GRACE_ENDS = 5
    """Waits until the readers that a grace period has found have ended."""
    GRACE_LOOKS = 6
    """Looks at which grace periods have begun, and which are over."""
    SHARES = 7
    """Takes a rw_semaphore or rwlock for reading, or gives it back: readers cannot tell in which order they did."""
    LEAVES_QUEUE = 8
    """A reader that waited in the queue goes on: as `SHARES`, except that a read trylock depends on it (that fails
    while any task waits)."""
    TRIES = 9
    """A read trylock: as `SHARES`, except that `LEAVES_QUEUE` decides whether it fails."""
    NOTHING = 10
    """Touches no place. A join is ordered by the end of the task that it waits for, a new object is known to no other
    task, the start of a task is no operation. But the code from here to the task's next operation belongs to this one,
    and no operation says what that looks at: an attribute of an object that another task frees, say. So it depends on
    whatever may touch anything, and commutes with all else."""
    ANYTHING = 11
    """May look at and change any place."""
    FREES = 12
    """Makes every later touch of an object a failure, also a touch that is no operation; so it depends on
    everything, as `ANYTHING` does. Unlike that it makes no operation on another object ready or unready."""
    PLACES = 13
    """The places that `Operation.touches` names. The dependence relation never sees it: that is asked about kinds of
    operations, and the places are known only right before an operation takes effect."""
    CALLS = 14
    """Queues a callback of RCU, for after a grace period that begins here: to readers as `GRACE_BEGINS`. This and the
    four that follow commute with others only where a search asks for that (`Dependence`); else they are `CHANGE`."""
    CALLBACK_BEGINS = 15
    """Takes the first callback out of the queue of one task, which no other task takes from, once its grace period is
    over: as `GRACE_ENDS`. The callback is a stretch without preemption, so a reader begins (`READER_BEGINS`)."""
    CALLBACK_ENDS = 16
    """That reader ends (`READER_ENDS`), and one more callback has run, for which a barrier may wait."""
    BARRIER_BEGINS = 17
    """Counts what was queued so far, by whom. What has run of it by then is no matter."""
    BARRIER_ENDS = 18
    """Waits until so much has run."""


DERIVED = frozenset({Footprint.READ, Footprint.CHANGE, Footprint.ANYTHING, Footprint.PLACES})
"""Footprints that follow from `access`, `local` and `touches`. Declared by hand they could only contradict those,
so they are refused."""


class Hold(IntEnum):
    """How an operation changes what its task holds of the object.

    `concurrency.runtimes.liveness` asks, about tasks that spin: a look that takes something and gives it back has
    changed nothing, so the next look will be the same. An operation with the `dep` of a lock has its `hold` from that
    (`operation._HELD`).
    """

    TAKES = 0
    """The task holds one more."""
    GIVES = 1
    """The task holds one less."""
    TRIES = 2
    """One more if the result is true; otherwise the task has only looked."""
    ASKS = 3
    """One more if the result is true; otherwise the task stands in a queue now, and that is a change."""
    IF_TRUE = 4
    """A lasting change if the result is true; otherwise the task has only looked."""
    KEEPS = 5
    """The task holds as much as before, and nothing else has changed for other tasks."""
    CHANGES = 6
    """More is changed than what the task holds: a sequence counter has another number afterwards."""
