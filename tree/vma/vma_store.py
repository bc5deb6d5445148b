"""What an address space asks of the structure that holds its VMAs, whichever it is.

The maple tree (`MapleTree`, `MaState`) and what it replaced (`RbStore`, `RbState`) both answer to this face, so that
everything above runs on either.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeVar

from sugarbush.lockdep.model import GFP_KERNEL
from sugarbush.tree.core import MAX

E = TypeVar("E")


class VmaCursor(Protocol[E]):
    """A place in the store, and what an address space does from there; what the calls mean stands at `MaState`."""

    index: int
    last: int

    def walk(self) -> E | None:
        """Go to `index`; `index`..`last` become the range there, set or unset."""

    def find(self, limit: int = MAX) -> E | None:
        """The entry at or after `index`; called again, the next one."""

    def next(self, limit: int = MAX) -> E | None:
        """The entry after."""

    def prev(self, limit: int = 0) -> E | None:
        """The entry before."""

    def preallocate(self, entry: E | None, gfp: int = GFP_KERNEL) -> int:
        """Take what storing `entry` over `index`..`last` can need."""

    def store_prealloc(self, entry: E | None) -> None:
        """Store with what was taken."""

    def store_gfp(self, entry: E | None, gfp: int = GFP_KERNEL) -> None:
        """Store over `index`..`last`, over whatever is there."""

    def empty_area(self, low: int, high: int, size: int) -> None:
        """Set `index`..`last` to the lowest fit."""

    def empty_area_rev(self, low: int, high: int, size: int) -> None:
        """Set `index`..`last` to the highest fit."""

    def set_range(self, first: int, last: int) -> None:
        """Go to a range."""

    def destroy(self) -> None:
        """Give back what was taken and not used."""


class VmaStore(Protocol[E]):
    """The structure as a whole, of which an address space uses this much; what the calls mean stands at `MapleTree`."""

    def shown(self) -> Iterator[tuple[int, int, E]]:
        """All entries, for a person who looks from outside: no lock, no steps."""

    def cursor(self, first: int = 0, last: int | None = None) -> VmaCursor[E]:
        """A cursor at a range."""

    def load(self, index: int) -> E | None:
        """The entry at a key."""

    def store_range(self, first: int, last: int, entry: E | None, gfp: int = GFP_KERNEL) -> None:
        """Store at the keys `first`..`last`; None unsets them."""

    def ranges(self, first: int = 0, last: int = MAX) -> Iterator[tuple[int, int, E]]:
        """The entries that overlap `first`..`last`, in order."""

    def validate(self) -> None:
        """Raise `Corrupt` unless the structure is well formed."""

    def destroy(self) -> None:
        """Empty it."""
