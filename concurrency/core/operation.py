"""What a task can do that others could notice.

An `Operation` describes one kind of visible step, once for all executions; the object it is done to travels beside
it. `concurrency.checks.dependence` says which operations depend on each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any

from sugarbush.concurrency.core.declared import check
from sugarbush.concurrency.core.failure import ConcurrencyError
from sugarbush.concurrency.core.kinds import READING, Access, Dep, Fence, Footprint, Hold, Moment

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


_OWN = ("IRQS_", "BH_", "HARDIRQ_", "SOFTIRQ_", "RECLAIM_")
_HELD: dict[Dep, Hold | None] = {
    **dict.fromkeys((Dep.ACQUIRE, Dep.ACQUIRE_READ, Dep.ACQUIRE_RECURSIVE), Hold.TAKES),
    **dict.fromkeys((Dep.TRY, Dep.TRY_READ), Hold.TRIES),
    Dep.RELEASE: Hold.GIVES,
    # Another hold than before, so a change; and waiting for others to be done is a part of what comes after it.
    **dict.fromkeys((Dep.DOWNGRADE, Dep.WAIT_FOR, Dep.WAIT_FOR_WRITER, Dep.SYNC), None),
    # All that is done to the task itself is a part of its own state.
    **dict.fromkeys((one for one in Dep if one.name.startswith(_OWN)), Hold.KEEPS),
}
assert set(_HELD) == set(Dep), "what an operation holds follows from each kind of dep"

Place = tuple[object, str | None, bool]
"""A part of an object, None for all of it, and whether it may be changed."""


class Operation:
    """One kind of visible step, and all that the engine knows of it: nobody else keeps a list of operations.

    `name` is what reports print (``mutex_lock``, ``read``). `effect(obj, task, arg)` makes it take effect and gives its
    result. The rest is declared in five groups. What contradicts itself is refused when the operation is declared
    (`declared.check`), what contradicts its effect when a program that uses it is audited (`lowlevel.audit`).

    **Touches.** `local` promises that it touches nothing but its place: `field` of the object, or with `whole`, and
    without a field, all of it. With a reading `access` it must not change it either. What its task does up to its next
    operation counts, too. `footprint` says more than that, of what changes an object in ways that commute all the same
    (two readers that take a lock). One that says none of these is taken to reach anything, which is always right, and
    makes a search slow. `touches(obj, task, arg)` says right before it takes effect which places it is going to touch:
    (object, field, whether it may change that), with None as the field for all of the object, or None for anything.
    What it looks at to say so must be among them, and what decides its readiness. So far only `dpor` with a bound asks.
    `tracked`: the place is declared plain, so the race detector compares this access with the others there. `word` is
    the attribute that `Runtime.load` and `Runtime.store` read and write. `allocates`: it may fail by choice. Without
    `meets` it is no sign that tasks have met, although they do it to one object: they look at the clock.

    **Waits.** `ready(obj, task)` says, without side effects, whether it can take effect now; None means always. `alike`
    promises that `ready` ignores `task`: all waiters are ready or none is, so the runtime asks once. `spins`: a task
    that waits for it keeps its CPU, so that waiting is no voluntary switch.

    **Wakes.** `wakes` says that the effect may make an operation of another task on the same object ready, or end its
    readiness; who waits for the object is asked again then. An operation that does not say is taken to do so if it has
    an effect and no reading `access`; False is a promise.

    **Orders.** `acquires` and `releases` name the orderings of the object that it takes over and adds to (a
    rw_semaphore has two: what writers left and what readers left). `orders(obj, arg, result)` says whose orderings
    these are, once it is known how the operation turned out: None if it orders nothing, as a trylock that fails;
    without it they are those of the object, always. A name that only one side has is an error when the next program
    runs (`settle_orderings`). `before` and `after` are the memory barriers that belong to it.

    **Means.** `dep`: to the lock validator. `rcu`: to grace periods. `region`: the effect may turn the task's
    preemption, bottom halves or interrupts off or on; `grace`: it begins or looks at grace periods of RCU, which wait
    for such tasks. `hold`: what its task has of the object afterwards, where `dep` does not say it; with `idle` it
    changes nothing that another task could see, although its `access` is no reading one. `begins` and `ends` name the
    section that its task is inside of in between, for reports; a result that is False begins none.
    """

    __slots__ = (
        "access",
        "acquires",
        "after",
        "alike",
        "allocates",
        "before",
        "begins",
        "dep",
        "effect",
        "ends",
        "field",
        "footprint",
        "grace",
        "heeds",
        "hold",
        "looks",
        "meets",
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
        effect: Callable[[Any, Any, Any], Any] | None = None,
        # What it touches.
        field: str | None = None,
        local: bool | None = None,
        whole: bool = False,
        footprint: Footprint | None = None,
        touches: Callable[[Any, Any, Any], Iterable[Place] | None] | None = None,
        tracked: bool | None = None,
        word: str | None = None,
        allocates: bool = False,
        meets: bool = True,
        # What it waits for.
        ready: Callable[[Any, Any], bool] | None = None,
        alike: bool = False,
        spins: bool = False,
        # Whom it wakes.
        wakes: bool | None = None,
        # What it orders.
        acquires: tuple[str, ...] = (),
        releases: tuple[str, ...] = (),
        orders: Callable[[Any, Any, Any], Any] | None = None,
        before: Fence | None = None,
        after: Fence | None = None,
        # What it means to those who watch.
        dep: Dep | None = None,
        rcu: Moment | None = None,
        region: bool = False,
        grace: bool = False,
        hold: Hold | None = None,
        idle: bool = False,
        begins: str | None = None,
        ends: str | None = None,
    ) -> None:
        check(name, {key: value for key, value in locals().items() if key not in ("self", "name")})
        self.name = name
        self.access = access
        self.effect = effect

        self.field = field
        self.place = None if whole else field
        """The part of the object that it touches, as the dependence relation sees it; None is all of it."""
        if footprint is None:
            reads = access in READING
            footprint = (Footprint.READ if reads else Footprint.CHANGE) if local else Footprint.ANYTHING
        self.footprint = footprint
        self.touches = touches
        self.tracked = access <= Access.WRITE if tracked is None else tracked
        self.word = word
        self.allocates = allocates
        self.meets = meets

        self.ready = ready
        self.alike = alike
        self.spins = spins

        # The safe side: who waits and is not asked again waits for ever, and that is a false deadlock. What reads
        # changes nothing, and a step has no effect here.
        self.wakes = effect is not None and access not in READING if wakes is None else wakes

        self.acquires = acquires
        self.releases = releases
        self.orders = orders
        self.before = before
        self.after = after
        self.surely = orders is None and dep is not Dep.TRY and dep is not Dep.TRY_READ
        """Whatever its result, it orders what its object says: `ordered` need not be asked."""
        if acquires or releases:
            _unsettled.append(self)

        self.dep = dep
        self.rcu = rcu
        self.region = region
        self.grace = grace
        self.heeds = rcu is not None or region
        """Grace periods of RCU are told of it."""
        self.looks = idle or access in READING
        """It changes nothing that another task could see."""
        self.hold = _HELD.get(dep) if hold is None and dep is not None else hold
        """What its task holds of the object after it; None if that is not all that it does."""
        self.begins = begins
        self.ends = ends

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
