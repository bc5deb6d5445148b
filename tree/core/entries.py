"""What may be stored: any object but the tree's own marks.

None is NULL: storing it unsets keys. The kernel reserves words for its own use (`xa_mk_internal`); the one
that users meet is the zero entry, which reserves a range while the normal interface shows it as unset.
"""

from __future__ import annotations

from typing import Any, Final

from sugarbush.tree.core.errors import BadKey, BadRange, ReservedEntry
from sugarbush.tree.core.layout import MAX
from sugarbush.tree.core.node import MapleNode


class InternalEntry:
    """A word that the kernel reserves (`xa_mk_internal(number)`)."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    @property
    def word(self) -> int:
        """The bits of the entry."""
        return self.number << 2 | 2

    def __repr__(self) -> str:
        return "ZERO_ENTRY" if self.number == 257 else f"<internal entry {self.number}>"


ZERO_ENTRY: Final = InternalEntry(257)
"""Marks a range as reserved: None for `load` and `find`, itself for everything else (XA_ZERO_ENTRY)."""

# Numbers of include/linux/xarray.h. Above 257 there are more (XA_ERROR and others); those are no business of the tree.
RETRY_ENTRY: Final = InternalEntry(256)
"""Reserved by the kernel for trees under change (XA_RETRY_ENTRY); cannot be stored."""


def check_storable(entry: Any) -> None:
    """Refuse what the normal interface refuses (`xa_is_advanced`): reserved words up to number 256, and nodes."""
    if isinstance(entry, MapleNode) or (
        isinstance(entry, InternalEntry) and entry.number <= RETRY_ENTRY.number
    ):
        raise ReservedEntry(f"{entry!r} is one of the tree's own marks and cannot be stored")


def check_allocatable(entry: Any) -> None:
    """Refuse what the allocating calls refuse (`mt_is_reserved`): every reserved word, and nodes."""
    if isinstance(entry, (MapleNode, InternalEntry)):
        raise ReservedEntry(f"{entry!r} is one of the tree's own marks and cannot be stored")


def check_range(first: Any, last: Any) -> None:
    """Refuse keys that are not integers in 0..MAX, and a range that ends before it begins."""
    if type(first) is int and type(last) is int and 0 <= first <= last <= MAX:
        return  # the common case in one line; what is wrong is found out below
    check_key(first)
    check_key(last)
    if first > last:
        raise BadRange(f"the range begins at {first}, after its end {last}")


def check_key(key: Any) -> None:
    """Refuse a key that is not an integer in 0..MAX."""
    if not isinstance(key, int) or isinstance(key, bool):
        raise BadKey(f"a key must be an integer, not {type(key).__name__}")
    if not 0 <= key <= MAX:
        raise BadKey(f"the key {key} is not in 0..2**64-1")
