"""The common store of a program without tasks: an entry that changes one leaf.

Does what `tree.write.write` does without a cursor: making one, sending it down and setting it afterwards takes as
long as the store itself. What kind of store it is says `tree.write.decide`, here as there. It is taken outside
executions only, where no task can fall between two steps, and where nodes are plain objects that never run out.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from sugarbush.tree.core import DEAD, LEAF_64, MapleNode, StoreType, first_key
from sugarbush.tree.write.decide import leaf_store_type
from sugarbush.tree.write.publish import update_gap
from sugarbush.tree.write.write import in_leaf, takes_largest_gap

if TYPE_CHECKING:
    from sugarbush.tree.core import TreeBody

NODE_STORE = StoreType.NODE_STORE
SPLIT_STORE = StoreType.SPLIT_STORE
REBALANCE = StoreType.REBALANCE


def store_alone(tree: TreeBody, first: int, last: int, entry: Any) -> bool:
    """Store an entry, not None, over a range of a tree that has nodes.

    False, with nothing changed, if more than one leaf must change.
    """
    node: MapleNode = tree.root
    height = tree.height
    while True:
        pivots = node.pivots
        offset = bisect_left(pivots, first)
        height -= 1
        if not height:
            break
        if last > pivots[offset]:
            return False
        node = node.slots[offset]
    # The store ends in this leaf: the slot above it, or the root, which has all keys, was asked. For an entry that is
    # all; None may not end a leaf, so it would have to end before the leaf does.
    offset_end = bisect_left(pivots, last, offset)
    # The leaf's first key is asked of the nodes above it, and only where it matters: to keep it on the way down would
    # cost as much on each level.
    begin = pivots[offset - 1] + 1 if offset else first_key(node)
    kind = leaf_store_type(tree, node, begin, offset, offset_end, first, last)
    if kind is SPLIT_STORE or kind is REBALANCE:
        return False
    new_slots, new_pivots = in_leaf(node, begin, offset, offset_end, first, last, entry)
    beyond = offset_end + 1
    gap = tree.track_gaps and takes_largest_gap(node, begin, offset, beyond)
    if kind is NODE_STORE and tree.rcu:
        node = _exchange(tree, node)
    node.slots[offset:beyond] = new_slots
    node.pivots[offset:beyond] = new_pivots
    if gap:
        update_gap(tree, node, first_key(node))
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
