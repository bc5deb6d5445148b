"""Lock classes: what the validator knows about all locks of one key and subclass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockdep.keys import NO_VALIDATE, LockClassKey, LockMap, LockType, Order
from lockdep.usage import usage_chars

if TYPE_CHECKING:
    from lockdep.graph import Edge
    from lockdep.task import Maker
    from lockdep.trace import Trace


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
        """True when holding this class exclusively keeps every other task from holding it: one plain lock."""
        return self.lock_type == LockType.NORMAL and self.family.instances == 1

    @property
    def usage_chars(self) -> str:
        """The four usage characters."""
        return usage_chars(self.usage)

    def __repr__(self) -> str:
        return f"<LockClass {self.number} {self.title}>"
