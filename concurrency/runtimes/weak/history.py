"""What was written to each location, in which order, and what a task knows of it.

A location is one field of one object. Its *history* is its modification order, the oldest write first. A *view* says
for locations how new a write is at least known; a location that is missing in a view may be as old as its oldest kept
write. The form is that of Kang, Hur, Lahav, Vafeiadis and Dreyer, "A Promising Semantics for Relaxed-Memory
Concurrency", POPL 2017, section 4, without promises; which views move when is the kernel's
(`concurrency.runtimes.weak.memory`).
"""

from __future__ import annotations

from typing import Any, Final
from weakref import ref

KEPT: Final = 8
"""So many writes of one location are kept; no task reads an older one. That leaves out some of what the kernel's model
allows (docs/memory.md), and adds nothing to it."""


class Write:
    """One write in the history of a location.

    `view` is what a task comes to know that reads it, `strong` the part of it that a full barrier has made known to
    every task that comes later. `taken` says that an atomic read-modify-write follows: nothing may come between. `at`
    is its number in the history: it only grows, also where an earlier write is inserted late, so that views stay
    right. `clock` is the race detector's.
    """

    __slots__ = ("at", "clock", "strong", "taken", "value", "view")

    def __init__(self, value: Any, at: int, view: View, strong: View) -> None:
        self.value = value
        self.at = at
        self.view = view
        self.strong = strong
        self.taken = False
        self.clock: Any = None


class Taken(Write):
    """What taking a lock writes to its word; `before` is what the unlock before told, or NOTHING if `view` has it."""

    __slots__ = ("before",)

    def __init__(self, value: Any, at: int, view: View, strong: View, onto: Write) -> None:
        super().__init__(value, at, view, strong)
        self.before = onto.view


class Location:
    """The history of one field of one object, whose `Home` dies with the object."""

    __slots__ = ("history", "home")

    def __init__(self, value: Any, home: Home) -> None:
        # Views name locations and may outlive the object, so they must not keep it alive (`prune` drops those that
        # are gone).
        self.home = ref(home)
        self.history = [Write(value, 0, NOTHING, NOTHING)]

    def insert(self, spot: int, write: Write) -> None:
        """Put `write` at index `spot` of the history, at least 1; what comes after it moves up."""
        history = self.history
        # Views hold the writes themselves and not their numbers, so all that is numbered anew stays known.
        write.at = history[spot - 1].at + 1
        for later in history[spot:]:
            later.at += 1
        history.insert(spot, write)
        if len(history) > KEPT:
            self.forget(1)

    def forget(self, count: int) -> None:
        """Drop the oldest writes. Views may still name them, as something old, so they keep nothing alive."""
        for write in self.history[:count]:
            write.value = write.clock = None
            write.view = write.strong = NOTHING
        del self.history[:count]


View = dict[Location, Write]
NOTHING: Final[View] = {}
"""The view that knows nothing; never changed."""


def learn(view: View, other: View) -> None:
    """Have `view` know what `other` knows."""
    known = view.get
    for location, write in other.items():
        have = known(location)
        if have is None or have.at < write.at:
            view[location] = write


def joined(one: View, other: View) -> View:
    """What either view knows; neither is changed, but the result may be one of them."""
    if not other or one is other:
        return one
    if not one:
        return other
    both = one.copy()
    learn(both, other)
    return both


class Home:
    """What weak memory keeps about one object, in one execution.

    `birth` is a location that is written once, when the object is made by a task. A task that does not know of that
    write may find the object's fields as they were before.
    """

    __slots__ = ("__weakref__", "birth", "locations", "memory", "obj", "syncs")

    def __init__(self, memory: Any, obj: object) -> None:
        self.memory = memory
        self.obj = obj
        self.birth: Location | None = None
        self.locations: dict[str, Location] = {}
        self.syncs: dict[str | None, Sync] = {}


class Sync:
    """What a lock or the like hands on: what each task that gave it back had seen (`view`), and had itself done
    (`own`).
    """

    __slots__ = ("own", "strong", "taker", "view")

    def __init__(self) -> None:
        self.view: View = NOTHING
        self.own: View = NOTHING
        self.strong: View = NOTHING
        self.taker: Knowledge | None = None
        """What the task knows that took it last; that knows all that it hands on. None if it was given back since."""


class Knowledge:
    """What one task knows.

    `floor`: its reads return nothing older. `seen`: what it has read and written, with what came along; its writes
    come later in each history. `own`: what it has written itself. `released`: what its next write tells of, and
    `strong` what that one tells of because a full barrier made it known to all. `through`: for an object, by its id,
    what reads through the pointer know that led there. `aside`: what only reads of atomics without a result were told
    (``atomic_inc``): `smp_rmb` does not order those (tools/memory-model/linux-kernel.cat, v6.6: R4rmb), all else that
    goes by `seen` counts it.
    """

    __slots__ = (
        "aside",
        "floor",
        "given",
        "own",
        "released",
        "seen",
        "settled",
        "snapshot",
        "stamp",
        "strong",
        "through",
    )

    def __init__(self) -> None:
        self.floor: View = {}
        self.seen: View = {}
        self.aside: View = NOTHING
        self.own: View = {}
        self.released: View = NOTHING
        self.strong: View = NOTHING
        self.stamp: View | None = NOTHING
        """`released` and `strong` together, None if that has changed."""
        self.snapshot: View | None = None
        """A copy of `seen`, None if that has changed."""
        self.through: dict[int, tuple[object, View]] = {}
        self.settled = False
        """Nothing was done since it looked, so all that was written has reached it: it reads the newest."""
        self.given: tuple[View, View] | None = None
        """What it had seen and done at its last unlock: a later lock of its own orders both (kernel:
        tools/memory-model/Documentation/explanation.txt, "Locking")."""

    def frozen(self) -> View:
        """A copy of `seen` and `aside` that never changes."""
        copy = self.snapshot
        if copy is None:
            copy = self.snapshot = self.seen.copy()
            if self.aside:
                learn(copy, self.aside)
        return copy

    def newest(self, location: Location) -> Write | None:
        """The newest write of a location that it has seen; its own writes come after that."""
        write = self.seen.get(location)
        if self.aside:
            other = self.aside.get(location)
            if other is not None and (write is None or write.at < other.at):
                return other
        return write

    def told(self) -> View:
        """What a write tells of that releases nothing itself."""
        stamp = self.stamp
        if stamp is None:
            stamp = self.stamp = joined(self.released, self.strong)
        return stamp
