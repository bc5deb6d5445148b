"""One node of the tree.

A node is 256 bytes in the kernel: 16 slots and 15 pivots (leaf_64, range_64), or 10 slots, 9 pivots and 10
gaps (arange_64), and one parent word. Here it is three lists of the length in use. Pivot i is the inclusive
end of slot i; the last pivot, which the kernel takes from the parent when the node is full, is always held.
That is the one liberty taken with the layout: it lets a look-up bisect.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sugarbush.tree.core.layout import KIND_NAMES, LEAF_64

# One object, compared by identity: a dead node must be told from one that was never linked, and the test is made
# after each read of a lock-free reader.
DEAD: Final[tuple[Any, int]] = (None, -1)
"""The parent word of a node that left its tree (the kernel makes such a node its own parent)."""


class MapleNode:
    """A node: `kind`, `slots` and `pivots`; `gaps` and `gap_offset` (where the largest gap is) in arange_64.

    `up` is the parent word: the node above (the tree itself, for the root) and this node's slot there, or
    DEAD. It is one object, so that a reader that climbs gets both halves from one moment.
    """

    __slots__ = ("gap_offset", "gaps", "kind", "pivots", "slots", "up")

    kind: int
    # No `__init__`: a node is a fresh one, or one that a cursor has kept in its stash since it left the tree, and
    # both get their contents by `fill`. Who reads a node that nobody has filled fails, instead of finding an empty
    # one.
    up: tuple[Any, int]
    slots: list[Any]
    pivots: list[int]
    """As many as `slots`, ascending; the last is the last key of the node, which its parent has as a pivot, too."""
    gaps: list[int] | None
    """The largest run of unset keys below each slot; None in a leaf, which `max_gap` searches, and in a plain tree."""
    gap_offset: int
    """Where the largest gap is. Of equals the kernel remembers the one that it came to, and dumps it: so do we."""

    def fill(self, kind: int, slots: list[Any], pivots: list[int], gaps: list[int] | None = None) -> None:
        """Give a node its contents; the caller sets the parent word before the node is published."""
        self.kind = kind
        self.slots = slots
        self.pivots = pivots
        self.gaps = gaps
        self.gap_offset = 0 if gaps is None else largest(gaps)

    @property
    def is_dead(self) -> bool:
        """Whether the node has left its tree (`ma_dead_node`)."""
        return self.up is DEAD

    @property
    def is_root(self) -> bool:
        """Whether nothing stands above the node (`ma_is_root`)."""
        return not isinstance(self.up[0], MapleNode) and self.up is not DEAD

    def __repr__(self) -> str:
        kind = getattr(self, "kind", None)
        if kind is None:
            return "<MapleNode, empty>"
        return f"<MapleNode {KIND_NAMES[kind]}, {len(self.slots)} slots, to {self.pivots[-1]}>"


def largest(gaps: list[int]) -> int:
    """Where the largest gap is: the right-most of equals, and 0 when there is none (as `mab_mas_cp` finds it)."""
    top = max(gaps)
    return len(gaps) - 1 - gaps[::-1].index(top) if top else 0


def max_gap(node: MapleNode, low: int) -> int:
    """The largest run of unset keys below a node that begins at key `low` (`mas_max_gap`)."""
    if node.kind != LEAF_64:
        return 0 if node.gaps is None else node.gaps[node.gap_offset]
    best = 0
    before = low - 1
    for slot, pivot in zip(node.slots, node.pivots, strict=True):
        if slot is None and pivot - before > best:
            best = pivot - before
        before = pivot
    return best


def entries_below(node: MapleNode, low: int) -> Iterator[tuple[int, int, Any]]:
    """All that is stored below a node that begins at key `low`, as (first, last, entry)."""
    for slot, last in zip(node.slots, node.pivots, strict=True):
        if node.kind != LEAF_64:
            yield from entries_below(slot, low)
        elif slot is not None:
            yield low, last, slot
        low = last + 1
