"""What a task can do that others could notice.

An `Operation` describes one kind of visible step, once for all executions; the object it is done to travels beside
it. `concurrency.checks.dependence` says which operations depend on each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from enum import IntEnum
from typing import Any

from sugarbush.concurrency.core.failure import ConcurrencyError
from sugarbush.concurrency.core.unrun import check_runs


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


_unsettled: list[Operation] = []
"""The operations with orderings that were declared since `settle_orderings` looked."""
_acquired: set[str] = set()
_released: set[str] = set()


def settle_orderings() -> None:
    """Refuse an operation that takes over an ordering which nobody hands on, or the reverse: a name misspelt.

    Called when a program is about to run: then all operations are declared that it can use, in whatever order. Raises
    `ConcurrencyError`, once for each such operation.
    """
    if not _unsettled:
        return
    new = _unsettled.copy()
    _unsettled.clear()
    for op in new:
        _acquired.update(op.acquires)
        _released.update(op.releases)
    for number, op in enumerate(new, 1):
        for names, others, does, nobody in (
            (op.acquires, _released, "acquires", "releases"),
            (op.releases, _acquired, "releases", "acquires"),
        ):
            for name in names:
                if name not in others:
                    _unsettled.extend(new[number:])
                    alike = get_close_matches(name, sorted(others))
                    guess = (
                        f"did you mean {alike[0]!r}?" if alike else "declare one that does, or leave it out"
                    )
                    raise ConcurrencyError(
                        f"the operation {op.name} {does} the ordering {name!r}, which no operation {nobody}: {guess}"
                    )


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


Place = tuple[object, str | None, bool]
"""A part of an object, None for all of it, and whether it may be changed."""


class Operation:
    """One kind of visible step.

    `name` is what reports print (``mutex_lock``, ``read``). `field` names the part of the object that it touches, so
    that two fields of one object are two places; None stands for the object as a whole.

    `ready(obj, task)` says, without side effects, whether the operation can take effect now; None means always.
    With `alike` that is the same for all tasks at any moment.
    `effect(obj, task, arg)` makes it take effect and gives its result. `wakes` says that the effect may make an
    operation of another task on the same object ready, or end its readiness; who waits for the object is asked again
    then. An operation that does not say is taken to do so if it has an effect and no reading `access`; False is a
    promise, which `concurrency.audit` verifies.

    `acquires` and `releases` name the orderings of the object that a synchronising operation takes over and adds to
    (a rw_semaphore has two: what writers left and what readers left). `orders(obj, arg, result)` says whose orderings
    these are, once it is known how the operation turned out: None if it orders nothing, as a trylock that fails;
    without it they are those of the object, always. A name that only one side has is an error when the next
    program runs (`settle_orderings`). `rcu` says what it means to grace periods.

    `tracked` says that the place is declared plain, so that the race detector compares this access with the others
    there. `before` and `after` are the memory barriers that belong to the operation, and `word` is the attribute of
    the object that `Runtime.load` and `Runtime.store` read and write.

    `local` declares that the operation touches nothing but its place: `field` of the object, or the whole object if
    that is None. With a reading `access` it must not change it either. What its task does up to its next operation
    counts, too. With `whole` the place is all of the object, although `field` names a part of it. An operation that is
    neither declared so nor one of the engine's own is taken to reach anything (`concurrency.checks.dependence`).

    `touches(obj, task, arg)` says of an operation that is not declared `local` which places it is going to touch, right
    before it takes effect: (object, field, whether it may change that), with None as the field for all of the object.
    What it looks at to say so must be among them, and what decides its readiness. None in the place of that says that
    it may touch anything. It is for operations with an effect, or that wait. So far only `dpor` with a bound asks.

    `spins` says that a task that waits for it keeps its CPU, so that waiting is no voluntary switch. `region` says
    that the effect may turn the task's preemption, bottom halves or interrupts off or on, and `grace` that it begins
    or looks at grace periods of RCU, which wait for such tasks.
    """

    __slots__ = (
        "access",
        "acquires",
        "after",
        "alike",
        "before",
        "dep",
        "effect",
        "field",
        "grace",
        "heeds",
        "local",
        "name",
        "orders",
        "place",
        "rcu",
        "ready",
        "region",
        "releases",
        "spins",
        "surely",
        "touches",
        "tracked",
        "wakes",
        "word",
    )

    def __init__(
        self,
        name: str,
        access: Access = Access.NONE,
        *,
        field: str | None = None,
        ready: Callable[[Any, Any], bool] | None = None,
        effect: Callable[[Any, Any, Any], Any] | None = None,
        alike: bool = False,
        wakes: bool | None = None,
        dep: Dep | None = None,
        acquires: tuple[str, ...] = (),
        releases: tuple[str, ...] = (),
        orders: Callable[[Any, Any, Any], Any] | None = None,
        rcu: Moment | None = None,
        tracked: bool | None = None,
        local: bool | None = None,
        whole: bool = False,
        touches: Callable[[Any, Any, Any], Iterable[Place] | None] | None = None,
        before: Fence | None = None,
        after: Fence | None = None,
        word: str | None = None,
        spins: bool = False,
        region: bool = False,
        grace: bool = False,
    ) -> None:
        for part in (ready, effect, touches):
            if part is not None:
                check_runs(part, f"a function of the operation {name}")
        self.name = name
        self.access = access
        self.field = field
        self.ready = ready
        self.effect = effect
        self.alike = alike
        # The safe side: who waits and is not asked again waits for ever, and that is a false deadlock. What reads
        # changes nothing, and a step has no effect here.
        self.wakes = effect is not None and access not in READING if wakes is None else wakes
        self.dep = dep
        self.acquires = acquires
        self.releases = releases
        self.orders = orders
        # Grace periods of RCU are told of it.
        self.heeds = rcu is not None or region
        self.surely = orders is None and dep is not Dep.TRY and dep is not Dep.TRY_READ
        """Whatever its result, it orders what its object says: `ordered` need not be asked."""
        self.rcu = rcu
        self.local = local
        self.place = None if whole else field
        """The part of the object that it touches, as the dependence relation sees it; None is all of it."""
        self.touches = touches
        if touches is not None and (local or region or grace or (effect is None and ready is None)):
            raise ConcurrencyError(
                f"the operation {name} has touches=: leave out local, region and grace, and give it an effect or ready"
            )
        self.before = before
        self.after = after
        self.word = word
        self.spins = spins
        self.region = region
        self.grace = grace
        self.tracked = access <= Access.WRITE if tracked is None else tracked
        if acquires or releases:
            _unsettled.append(self)

    def ordered(self, obj: Any, arg: Any, result: Any) -> Any:
        """Whose orderings it has taken over and added to, now that it has given `result`; None for nobody's."""
        if self.orders is not None:
            return self.orders(obj, arg, result)
        return obj if result or self.surely else None

    def __repr__(self) -> str:
        place = "" if self.field is None else f" .{self.field}"
        return f"<Operation {self.name}{place}>"


def if_it_succeeds(obj: Any, _arg: Any, result: Any) -> Any:
    """For `Operation.orders`: it orders only if its result is true, as Documentation/memory-barriers.txt, v6.6, has it.

    "Failed locks do not imply any sort of barrier" ("Lock acquisition functions", (4)); to look in vain is the same.
    """
    return obj if result else None
