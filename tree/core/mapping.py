"""The tree as a Python mapping from ranges of keys, both ends included."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice, zip_longest
from typing import Any, Generic, TypeVar, overload

from sugarbush.tree.core.errors import BadRange, Unset
from sugarbush.tree.core.layout import MAX

E = TypeVar("E")


class RangeMapping(ABC, Generic[E]):
    """What Python's operators mean for a map from ranges of keys to entries."""

    @abstractmethod
    def load(self, index: int) -> E | None:
        """The entry at a key, or None."""

    @abstractmethod
    def store_range(self, first: int, last: int, entry: E | None) -> None:
        """Store at the keys `first`..`last`."""

    @abstractmethod
    def ranges(self, first: int = 0, last: int = MAX) -> Iterator[tuple[int, int, E]]:
        """The entries that overlap `first`..`last`, in order, each as (first, last, entry)."""

    @property
    @abstractmethod
    def empty(self) -> bool:
        """Nothing is stored."""

    @abstractmethod
    def shown(self) -> Iterator[tuple[int, int, E]]:
        """As `ranges`, for a person who looks from outside: no lock, no steps.

        For `repr` and reports: these are called by debuggers and in the middle of a failure, where an operation would
        change the schedule that is being shown.
        """

    def __iter__(self) -> Iterator[tuple[int, int, E]]:
        """All entries in order, each as (first, last, entry)."""
        return self.ranges()

    @overload
    def __getitem__(self, key: int) -> E: ...
    @overload
    def __getitem__(self, key: slice) -> Iterator[tuple[int, int, E]]: ...
    def __getitem__(self, key: Any) -> Any:
        """`tree[i]` is the entry at a key, or raises `Unset`; `tree[first:last]` is `ranges(first, last)`."""
        if isinstance(key, slice):
            return self.ranges(*_bounds(key))
        entry = self.load(key)
        if entry is None:
            raise Unset(f"key {key} is not set")
        return entry

    def __setitem__(self, key: int | slice, entry: E | None) -> None:
        """`tree[i] = entry`, `tree[first:last] = entry`: store, both ends included; None unsets."""
        first, last = _bounds(key) if isinstance(key, slice) else (key, key)
        self.store_range(first, last, entry)

    def __delitem__(self, key: int | slice) -> None:
        """`del tree[first:last]` unsets these keys; `del tree[i]` unsets one, or raises `Unset`."""
        if not isinstance(key, slice):
            self[key]
        self[key] = None

    def __contains__(self, key: object) -> bool:
        """Whether something is stored at a key."""
        return type(key) is int and 0 <= key <= MAX and self.load(key) is not None

    def __len__(self) -> int:
        """How many ranges hold an entry; counted each time, since no store keeps a count (nor does the kernel)."""
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        """Something is stored."""
        return not self.empty

    def __eq__(self, other: object) -> bool:
        """The same entries at the same ranges; how nodes are filled does not matter."""
        if not isinstance(other, RangeMapping):
            return NotImplemented
        return self is other or all(a == b for a, b in zip_longest(self, other))

    __hash__ = None  # type: ignore[assignment]  # it changes, and equality is by what it holds

    def __repr__(self) -> str:
        """The first few ranges."""
        shown = list(islice(self.shown(), 5))
        ranges = ", ".join(f"{a}..{b}: {entry!r}" for a, b, entry in shown[:4])
        return f"<MapleTree {{{ranges}{', ...' if len(shown) > 4 else ''}}}>"


def _bounds(key: slice) -> tuple[int, int]:
    if key.step is not None:
        raise BadRange("a range of keys has no step")
    return 0 if key.start is None else key.start, MAX if key.stop is None else key.stop
