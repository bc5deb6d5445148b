"""The common store, when nobody else is there: an entry that changes one leaf.

Makes the decisions of `tree.write.write` without a cursor, for speed. It is taken outside executions only, where no
task can fall between two steps, and where nodes are plain objects that never run out.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from sugarbush.tree.core import DEAD, LEAF_64, MIN_SLOTS, SLOTS, MapleNode
from sugarbush.tree.write.publish import update_gap
from sugarbush.tree.write.write import in_leaf, may_be_small, takes_largest_gap

if TYPE_CHECKING:
    from sugarbush.tree.core import TreeBody

LEAF_SLOTS = SLOTS[LEAF_64]
LEAF_MIN = MIN_SLOTS[LEAF_64]


def store_alone(tree: TreeBody, first: int, last: int, entry: Any) -> bool:
    """Store an entry, not None, over a range of a tree that has nodes.

    False, with nothing changed, if more than one leaf must change.
    """
    node: MapleNode = tree.root
    height = tree.height
    low = 0
    while True:
        pivots = node.pivots
        offset = bisect_left(pivots, first)
        height -= 1
        if not height:
            break
        if last > pivots[offset]:
            return False
        if offset:
            low = pivots[offset - 1] + 1
        node = node.slots[offset]
    # The store ends in this leaf: the slot above it, or the root, which has all keys, was asked.
    slots = node.slots
    offset_end = bisect_left(pivots, last, offset)
    begin = pivots[offset - 1] + 1 if offset else low
    new_slots, new_pivots = in_leaf(node, begin, offset, offset_end, first, last, entry)
    beyond = offset_end + 1
    before = len(slots)
    count = before + len(new_slots) - beyond + offset
    if count > LEAF_SLOTS:
        return False
    in_place = not tree.rcu or (count == before and beyond - offset <= 2)
    if count <= LEAF_MIN and not (
        may_be_small(tree, node, offset, count) if in_place else node.up[0] is tree
    ):
        return False
    gap = tree.track_gaps and takes_largest_gap(node, low, offset, beyond)
    if in_place:
        slots[offset:beyond] = new_slots
        pivots[offset:beyond] = new_pivots
    else:
        node = _exchange(tree, node)
        node.slots[offset:beyond] = new_slots
        node.pivots[offset:beyond] = new_pivots
    if gap:
        update_gap(tree, node, low)
    return True


def _exchange(tree: TreeBody, node: MapleNode) -> MapleNode:
    """Put a copy of a leaf in its place: in RCU mode cursors may be parked in it."""
    new = MapleNode()
    new.fill(LEAF_64, node.slots.copy(), node.pivots.copy())
    new.up = node.up
    parent, slot = node.up
    if parent is tree:
        tree.root = new
    else:
        parent.slots[slot] = new
    node.up = DEAD
    return new
