"""What a task can do that others could notice: operations, and the names of what they order.

An `Operation` describes one kind of visible step, once for all executions; the object that it is done to is handed
over at each call. `concurrency.checks.dependence` says which operations depend on each other. Example of a
declaration with an ordering: in the docstring of `Operation`.
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
# Sets of all operations ever declared: that the two sides of a name are on the same class is not asked here, where no
# object is known. `lowlevel.audit` compares the names class by class (`Watch.compare_names`).
_acquired: set[str] = set()
_released: set[str] = set()


def settle_orderings() -> None:
    """Refuse an operation that acquires an ordering which no operation releases, or the reverse: a misspelt name.

    Raises `ConcurrencyError`, once for each such operation.
    """
    # Not when the operation is declared: the one that releases a name may be declared after the one that acquires it.
    # When a program is about to run, all that it can use are declared.
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
                    # The rest is looked at when the next program runs. This one is not named again: one wrong
                    # declaration stops one program, not all later ones of the process.
                    _unsettled.extend(new[number:])
                    alike = get_close_matches(name, sorted(others))
                    guess = (
                        f"did you mean {alike[0]!r}?" if alike else "declare one that does, or leave it out"
                    )
                    raise ConcurrencyError(
                        f"the operation {op.name} {does} the ordering {name!r}, which no operation {nobody}: {guess}"
                    )


# What each kind of `dep` says about `Operation.hold`, so that no primitive has to say both.
_OWN = ("IRQS_", "BH_", "HARDIRQ_", "SOFTIRQ_", "RECLAIM_")
_HELD: dict[Dep, Hold | None] = {
    **dict.fromkeys((Dep.ACQUIRE, Dep.ACQUIRE_READ, Dep.ACQUIRE_RECURSIVE), Hold.TAKES),
    **dict.fromkeys((Dep.TRY, Dep.TRY_READ), Hold.TRIES),
    Dep.RELEASE: Hold.GIVES,
    # A downgrade leaves another kind of hold than before, which is neither one more nor one less. An operation that
    # only announces a wait (`Dep.WAIT_FOR` and so on) takes nothing; what follows it says what was waited for.
    **dict.fromkeys((Dep.DOWNGRADE, Dep.WAIT_FOR, Dep.WAIT_FOR_WRITER, Dep.SYNC), None),
    # Interrupts, bottom halves and reclaim are the calling task's own state, which is compared as such when the task
    # spins (`_kept_by` in runtimes/liveness.py): to count it as something held as well would be to count it twice.
    **dict.fromkeys((one for one in Dep if one.name.startswith(_OWN)), Hold.KEEPS),
}
assert set(_HELD) == set(Dep), "each kind of dep has a row in _HELD: add the new one there"

Place = tuple[object, str | None, bool]
"""One entry of `Operation.touches`: an object, a field of it (None for all of it), and whether that may be changed."""


class Operation:
    """One kind of visible step that a task makes, and all that the engine knows of it.

    There is one `Operation` for each kind of step (`RCU_READ_LOCK`, say), made once at import; the object that the
    step is done to is handed over at each call. A task makes a step in one of two ways:

    - ``perform(op, obj, arg)`` waits until ``op.ready(obj, task)`` is true, calls ``op.effect(obj, task, arg)``, and
      returns what that returned. No other task runs during the effect, so it is atomic.
    - ``step(op, obj)`` is for steps that never wait and have no `effect`: it returns as soon as the task may go on,
      and the caller then makes the change itself. The fields of `Shared` classes are read and written so.

    `name` is what reports print (``mutex_lock``, ``read``). Everything else is declared in the five groups below. A
    declaration that contradicts itself raises `ConcurrencyError` when it is made (`declared.check`). One that is not
    true of the effect is found by running a program under `lowlevel.audit`.

    **Touches.** Which parts of the program's state the step reads and writes. "The step" is here the effect,
    `ready`, and all that the task does afterwards up to its next operation. The *place* of an operation is the
    attribute `field` of its object; without `field`, or with ``whole=True``, it is the whole object.

    - `access` says what the step does to its place. The `READING` ones promise to change nothing.
    - ``local=True`` promises that the step touches nothing but its place, and what belongs to its task alone.
    - `footprint` stands in place of `local` where two steps change one object and still commute: two readers that take
      one lock.
    - `touches(obj, task, arg)` stands in place of both where the step touches several objects. It is called right
      before the effect and returns the places (`Place`), or None for "anything". They must include what `ready`
      looks at, and what `touches` itself looks at. Only `dpor` with a bound and the audit ask for it; to every
      other search the step may touch anything.
    - ``keeps_arg=True``: the argument is kept from the announcement to the effect, for checks whose `Sight.kinds` asks
      what the step is about to do; with `touches` it always is.
    - With none of the three the step may touch anything. That is always right, and makes a reduced search slow.
    - `tracked`: the race detector compares the access with the others to its place, as it does for plain fields; by
      default that is so if `access` is READ or WRITE. `word` is the attribute that `Runtime.load` and
      `Runtime.store` read and write. `allocates`: the step may fail by choice (`Settings.faults`). ``meets=False``:
      that two tasks do it to one object does not count as a meeting of the two (`checks.meeting`); they look at the
      clock, say.

    **Waits.** When the step can take effect.

    - `ready(obj, task)` says whether it can take effect now; None means always. It is called often, and also on
      copies of the object, so it must change nothing. It gets no `arg`: what this task waits for must be found in
      `obj` or `task`. A task that waits for a number therefore writes it into the object first, by an operation of
      its own, into a dictionary under the task: ``obj.waiting[task] = number`` (`rcu.domain.begin_wait` and
      `wait_is_over`).
    - Such a dictionary has the `Task` itself as its key. A task is equal to itself only, and dictionaries keep the
      order of insertion, so all executions of a schedule go through it in one order. A set of tasks has another
      order in each process and must not be gone through. The audit takes an entry under a task for that task's own.
    - A reduced search asks what would have been ready in another order: it makes effects on a copy of the object,
      with None as `arg`, and calls `ready` on that. The copy has copies of the containers that are attributes of
      the object, but not of what is inside of those. So keep what operations wait for in attributes and in flat
      containers. (An effect that raises there does no harm: the search then takes the safe side.)
    - ``alike=True`` promises that `ready` ignores `task`: all that wait are ready or none is. The runtime may then ask
      once for all of them.
    - `spins`: a task that waits for it keeps its CPU, as for a spinlock. So Tasks RCU does not count the wait as
      sleep.

    **Wakes.** `wakes` says that the effect may make a step ready, or end its readiness, for which another task
    waits at *the same object*. Only after such an effect, and only for those tasks, does the runtime call `ready`
    again. So `ready` must depend on nothing but what operations on its object change. If `wakes` is not given it is
    True for every operation that has an effect and no reading access; False is a promise.

    **Orders.** What the step makes visible to other tasks, for the race detector and for weak memory.

    - `releases` and `acquires` are names of *orderings*, which are chosen freely and belong to the object. A step that
      acquires an ordering knows afterwards what each task had done before it released that ordering. A rw_semaphore
      has two: "writers" is released by writers and acquired by all, "readers" is released by readers and acquired by
      writers, so readers do not order each other. A name that is acquired by some operation and released by none, or
      the reverse, is an error when the next program runs (`settle_orderings`).
    - `orders(obj, arg, result)` is called after the effect, and returns the object whose orderings are meant; None
      says that the step orders nothing this time. That may be any object: it is known by its identity, needs no
      hash, and is kept alive until the execution ends. It must be the same one for whoever releases and whoever
      acquires, so not a tuple that is made anew. Without `orders` it is `obj`, but for a trylock (`Dep.TRY`,
      `Dep.TRY_READ`) that fails.
    - `before` and `after` are the memory barriers that belong to the step.

    Here one task writes a plain field and then fills a slot, and another one reads the field if it finds the slot
    full. To look in vain must order nothing, so `orders` is `if_it_succeeds`:

    >>> from sugarbush import Plain, Shared, check, explore, spawn
    >>> class Letter(Shared):
    ...     text: Plain[str] = ""
    >>> class Slot:
    ...     def __init__(self):
    ...         self.name, self.full = "slot", False
    >>> def fill(slot, _task, _arg):
    ...     slot.full = True
    >>> def look(slot, _task, _arg):
    ...     return slot.full
    >>> LOOK = Operation(
    ...     "look", Access.READ_ONCE, effect=look, local=True, acquires=("filled",), orders=if_it_succeeds
    ... )
    >>> def program(op):
    ...     slot, letter = Slot(), Letter()
    ...     def send():
    ...         letter.text = "hello"
    ...         perform(op, slot)
    ...     spawn(send)
    ...     if perform(LOOK, slot):
    ...         check(letter.text == "hello", "what was sent arrives")
    >>> from sugarbush.concurrency.lowlevel import perform
    >>> FILL = Operation("fill", effect=fill, local=True, releases=("filled",))
    >>> explore(lambda: program(FILL), strategy="dpor").verdict.value
    'passed'
    >>> forgotten = Operation("fill", effect=fill, local=True)
    >>> explore(lambda: program(forgotten), strategy="dpor").failures[0].failure.headline
    'BUG: KCSAN: data-race in Letter.text: write by send, read by main'

    **Means.** What the step is to those who watch. `dep`: to the lock validator. `rcu`: to grace periods of RCU.
    `region`: the effect may turn preemption, bottom halves or interrupts of its task off or on. `grace`: the step
    begins or looks at grace periods of plain RCU, which wait for tasks that have any of these off. `hold`: how much
    more or less of the object its task holds afterwards, where `dep` does not say it already. `idle`: the step
    changes nothing that another task could see, although its `access` is not a reading one (a memory barrier).
    `begins` and `ends` name the section of code that the task is inside of between two such steps, for reports; a
    step whose result is False begins none.
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
        "keeps_arg",
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
        keeps_arg: bool = False,
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
        # All arguments as they were given, so that a rule in `declared` can name any of them, one added later too.
        check(name, {key: value for key, value in locals().items() if key not in ("self", "name")})
        self.name = name
        self.access = access
        self.effect = effect

        self.field = field
        self.place = None if whole else field
        """The part of the object that it touches, as the dependence relation sees it; None is all of it."""
        # Nothing declared is ANYTHING, whatever the access: a newcomer's operation is then never wrongly reduced.
        if footprint is None:
            reads = access in READING
            footprint = (Footprint.READ if reads else Footprint.CHANGE) if local else Footprint.ANYTHING
        self.footprint = footprint
        self.touches = touches
        self.keeps_arg = keeps_arg or touches is not None
        self.tracked = access <= Access.WRITE if tracked is None else tracked
        self.word = word
        self.allocates = allocates
        self.meets = meets

        self.ready = ready
        self.alike = alike
        self.spins = spins

        # The default is the safe side: a task that waits and is not asked again waits for ever, and that is a false
        # deadlock. A reading operation changes nothing; a bare step has no effect that the runtime could see.
        self.wakes = effect is not None and access not in READING if wakes is None else wakes

        self.acquires = acquires
        self.releases = releases
        self.orders = orders
        self.before = before
        self.after = after
        # Settled here, once, because the race detector asks at every `performed`, and most operations are sure.
        self.surely = orders is None and dep is not Dep.TRY and dep is not Dep.TRY_READ
        """The orderings are those of the object, whatever the result: `ordered` need not be called."""
        if acquires or releases:
            _unsettled.append(self)

        self.dep = dep
        self.rcu = rcu
        self.region = region
        self.grace = grace
        self.heeds = rcu is not None or region
        """`rcu.GraceOrder` is told of it: it may begin or end a reader or a grace period."""
        self.looks = idle or access in READING
        """It changes nothing that another task could see."""
        self.hold = _HELD.get(dep) if hold is None and dep is not None else hold
        """How much more or less of the object its task holds after it; None if it changes more than that."""
        self.begins = begins
        self.ends = ends

    def ordered(self, obj: Any, arg: Any, result: Any) -> Any:
        """The object whose orderings it has acquired and released, now that it has given `result`; None if none."""
        if self.orders is not None:
            return self.orders(obj, arg, result)
        # Not `surely` means a trylock here: one that fails orders nothing (see `if_it_succeeds`).
        return obj if result or self.surely else None

    def __repr__(self) -> str:
        place = "" if self.field is None else f" .{self.field}"
        return f"<Operation {self.name}{place}>"


def if_it_succeeds(obj: Any, _arg: Any, result: Any) -> Any:
    """A function for `Operation.orders`: the step orders only if its result is true.

    Documentation/memory-barriers.txt, v6.6: "Failed locks do not imply any sort of barrier" ("Lock acquisition
    functions", (4)). A look at a completion or a flag that finds nothing orders nothing for the same reason.
    """
    return obj if result else None
