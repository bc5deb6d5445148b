"""Lock classes, and the dependencies between them: what the validator knows about all locks of one key and subclass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sugarbush.lockdep.model.keys import NO_VALIDATE, LockClassKey, LockMap, LockType, Order
from sugarbush.lockdep.model.trace import RawFrame
from sugarbush.lockdep.model.usage import usage_chars

if TYPE_CHECKING:
    from sugarbush.lockdep.model.contexts import Maker
    from sugarbush.lockdep.model.trace import Trace


class Family:
    """All classes of one key: they differ in subclass only. `instances` counts the maps seen."""

    __slots__ = ("instances", "token")

    def __init__(self, token: int) -> None:
        self.token = token
        self.instances = 0


class LockClass:
    """One class (kernel: `struct lock_class`).

    `number` counts classes from 1 in order of their first acquire. `after` and `before` hold the dependencies
    that leave from and arrive at this class, by the number of the other one. `usage` is a mask of usage bits,
    `traces` where each was set first, and `makers` by whom.
    """

    __slots__ = (
        "after",
        "before",
        "checked",
        "family",
        "key",
        "lock_type",
        "makers",
        "name",
        "name_version",
        "number",
        "order",
        "subclass",
        "traces",
        "usage",
        "wait_inner",
        "wait_outer",
    )

    def __init__(
        self, number: int, lock_map: LockMap, subclass: int, name_version: int, family: Family
    ) -> None:
        self.number = number
        self.family = family
        self.key: LockClassKey = lock_map.key
        self.subclass = subclass
        self.name = lock_map.name
        self.name_version = name_version
        self.wait_inner = lock_map.wait_inner
        self.wait_outer = lock_map.wait_outer
        self.lock_type = lock_map.lock_type
        self.order: Order | None = lock_map.order
        self.checked = lock_map.key is not NO_VALIDATE
        self.usage = 0
        self.traces: dict[int, Trace] = {}
        self.makers: dict[int, Maker] = {}
        self.after: dict[int, Edge] = {}
        self.before: dict[int, Edge] = {}

    @property
    def title(self) -> str:
        """The name as reports print it: ``name``, ``name#2`` for the second key of that name, ``name/1``."""
        version = f"#{self.name_version}" if self.name_version > 1 else ""
        nested = f"/{self.subclass}" if self.subclass else ""
        return f"{self.name}{version}{nested}"

    @property
    def excludes(self) -> bool:
        """True when holding this class exclusively keeps every other task from holding it: one plain lock.

        With two instances, two tasks can hold the class at once, whatever they hold it for; so it guards nothing.
        """
        return self.lock_type == LockType.NORMAL and self.family.instances == 1

    @property
    def usage_chars(self) -> str:
        """The four usage characters."""
        return usage_chars(self.usage)

    def __repr__(self) -> str:
        return f"<LockClass {self.number} {self.title}>"


EN: Final = 1
ER: Final = 2
SN: Final = 4
SR: Final = 8
FROM_EXCLUSIVE: Final = EN | ER
TO_BLOCKING: Final = EN | SN
KIND_NAMES: Final = ((EN, "EN"), (ER, "ER"), (SN, "SN"), (SR, "SR"))


def kind_of(held_read: int, wanted_read: int) -> int:
    """The kind of one dependency, from how the first is held and how the second is wanted.

    A plain reader (1) waits behind a writer that waits, so only a recursive one (2) is an R:

    >>> [dict(KIND_NAMES)[kind_of(held, wanted)] for held in (0, 1) for wanted in (0, 1, 2)]
    ['EN', 'EN', 'ER', 'SN', 'SN', 'SR']
    """
    if wanted_read == 2:
        return SR if held_read else ER
    return SN if held_read else EN


class Made(NamedTuple):
    """How an edge came to have a kind: who asked for `next` at `trace`, and where it had taken `prev`."""

    kind: int
    by: Maker
    trace: Trace
    held: RawFrame


class Edge:
    """A dependency between two classes (kernel: `struct lock_list`).

    `distance` is 1 when the two were neighbours on a held stack. `made` tells for each of its kinds how it was seen
    first, oldest first.
    """

    __slots__ = ("distance", "kinds", "made", "next", "prev")

    def __init__(self, prev: LockClass, next_: LockClass, distance: int) -> None:
        self.prev = prev
        self.next = next_
        self.kinds = 0
        self.distance = distance
        self.made: tuple[Made, ...] = ()

    def add(self, made: Made) -> None:
        """The edge has one more kind. One that it has already stays as it was."""
        if not self.kinds & made.kind:
            self.kinds |= made.kind
            self.made += (made,)

    def __repr__(self) -> str:
        names = "|".join(name for kind, name in KIND_NAMES if self.kinds & kind)
        return f"<Edge {self.prev.title} -({names})-> {self.next.title}>"
