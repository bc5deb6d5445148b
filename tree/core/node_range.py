"""A node together with the keys that it covers: what a writer needs in order to move about under the lock.

The kernel uses a second and a third `struct ma_state` for this (`l_mas` and `r_mas` of mas_wr_spanning_store()), whose
status, tree and stash it then does not use; here the four fields that are used have a class of their own.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from sugarbush.tree.core.layout import MAX
from sugarbush.tree.core.node import MapleNode


class NodeRange:
    """A node, its first and last key, and a slot in it."""

    __slots__ = ("high", "low", "node", "offset")

    def __init__(self, node: MapleNode, low: int, high: int, offset: int = 0) -> None:
        self.node = node
        self.low = low
        self.high = high
        self.offset = offset

    def copy(self) -> NodeRange:
        """Give another one that can move on its own, in the same node at the same slot."""
        return NodeRange(self.node, self.low, self.high, self.offset)

    def take(self, other: NodeRange) -> None:
        """Go to the node and slot at which `other` is."""
        self.node = other.node
        self.low = other.low
        self.high = other.high
        self.offset = other.offset

    @property
    def covers_all(self) -> bool:
        """The node has all keys (`mas_is_root_limits`)."""
        return self.low == 0 and self.high == MAX

    @property
    def content(self) -> Any:
        """What is in the slot."""
        return self.node.slots[self.offset]

    @property
    def first(self) -> int:
        """The first key of the slot."""
        return self.node.pivots[self.offset - 1] + 1 if self.offset else self.low

    def ascend(self) -> None:
        """Go to the parent, and to the slot in it that holds the node."""
        parent, self.offset = self.node.up
        self.node = parent
        self.high = parent.pivots[-1]
        # In slot 0 the parent begins where the child did. Only in another slot is the first key lost on the way down,
        # and has to be asked of the ancestors (mas_ascend() climbs for both ends: its nodes do not hold the last one).
        if self.offset:
            self.low = first_key(parent)

    def descend(self) -> None:
        """Go to the child in the slot."""
        pivots = self.node.pivots
        offset = self.offset
        if offset:
            self.low = pivots[offset - 1] + 1
        self.high = pivots[offset]
        self.node = self.node.slots[offset]
        self.offset = 0

    def seek(self, key: int) -> None:
        """Go to the slot that holds `key`."""
        self.offset = bisect_left(self.node.pivots, key)

    def sibling(self, slot: int) -> NodeRange:
        """The node in another slot of the same parent."""
        parent = self.node.up[0]
        low = parent.pivots[slot - 1] + 1 if slot else first_key(parent)
        return NodeRange(parent.slots[slot], low, parent.pivots[slot])


def first_key(node: MapleNode) -> int:
    """The first key of a node, told by its ancestors."""
    while not node.is_root:
        node, slot = node.up
        if slot:
            return node.pivots[slot - 1] + 1
    return 0
