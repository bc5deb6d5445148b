"""The scratch node in which a store gathers what it is about to divide among new nodes, and how it divides it.

Models struct maple_big_node, mab_calc_split() and mab_no_null_split(), v6.6: 34 slots there, three lists
here.
"""

from __future__ import annotations

from typing import Any

from tree.layout import LEAF_64, MIN_SLOTS, SLOTS
from tree.node import MapleNode, max_gap


class BigNode:
    """Slots, pivots, and for inner nodes of a gap tree gaps, of more than one node."""

    __slots__ = ("gaps", "kind", "pivots", "slots")

    def __init__(self, kind: int, slots: list[Any], pivots: list[int], gaps: list[int] | None) -> None:
        self.kind = kind
        self.slots = slots
        self.pivots = pivots
        self.gaps = gaps

    def append(self, node: MapleNode, first: int = 0) -> None:
        """Add the slots of `node` from slot `first` on."""
        self.slots += node.slots[first:]
        self.pivots += node.pivots[first:]
        if self.gaps is not None and node.gaps is not None:
            self.gaps += node.gaps[first:]

    def prepend(self, node: MapleNode, until: int | None = None) -> None:
        """Put the slots of `node` before slot `until` (or all) in front."""
        self.slots[:0] = node.slots[:until]
        self.pivots[:0] = node.pivots[:until]
        if self.gaps is not None and node.gaps is not None:
            self.gaps[:0] = node.gaps[:until]

    def add_child(self, node: MapleNode, low: int, high: int) -> None:
        """Add a new node of the level below as one slot."""
        self.slots.append(node)
        self.pivots.append(high)
        if self.gaps is not None:
            self.gaps.append(max_gap(node, low))

    def fill(self, node: MapleNode, begin: int, end: int) -> None:
        """Give a new node the slots from `begin` to before `end`; new children among them learn their parent."""
        gaps = None if self.gaps is None else self.gaps[begin:end]
        node.fill(self.kind, self.slots[begin:end], self.pivots[begin:end], gaps)

    def split_offset(self, *, bulk: bool) -> tuple[int, int]:
        """The last slot of the left node, and that of the middle node if three are needed (else 0).

        The parts are as equal as possible, and none ends unset. In a `bulk` load the right part is as small as can be.
        """
        end = len(self.slots) - 1
        if bulk:
            split = end - MIN_SLOTS[self.kind]
            return split - (self.slots[split] is None), 0
        limit = SLOTS[self.kind]
        split = end // 2
        middle = 0
        if end >= 2 * limit or (self.slots[split] is None and end >= 2 * limit - 1):
            split = end // 3
            middle = self.not_at_null(2 * split, end)
        return self.not_at_null(split, end), middle

    def not_at_null(self, split: int, end: int) -> int:
        """Move a split so that the left part does not end unset; `end` is how far the scratch node counts."""
        if self.slots[split] is not None:
            return split
        if split < SLOTS[self.kind] - 1 and end - split > MIN_SLOTS[self.kind]:
            return split + 1
        return split - 1


def gather(node: MapleNode) -> BigNode:
    """An empty scratch node for slots as those of `node`."""
    return BigNode(node.kind, [], [], None if node.gaps is None else [])


def adopt_new(parent: MapleNode, children: list[MapleNode]) -> None:
    """Tell those of the new `children` that hang below the new `parent`."""
    if parent.kind == LEAF_64:
        return
    slots = parent.slots
    for child in children:
        if child in slots:
            child.up = (parent, slots.index(child))
