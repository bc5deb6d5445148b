"""A store that leaves its leaf: join what is left of it on one edge with what is left on the other.

Models mas_wr_spanning_store() and mas_extend_spanning_null(), v6.6.

Four leaves, of twenty keys a slot; the first three have fifteen slots each:

>>> from sugarbush.tree import MapleTree
>>> tree = MapleTree()
>>> for number in range(55):
...     tree.store_range(20 * number, 20 * number + 19, f"e{number}")
>>> leaves = lambda: [(len(leaf.slots), leaf.pivots[-1]) for leaf in tree.root.slots]
>>> leaves()[:3]
[(15, 299), (15, 599), (15, 899)]

A store from inside slot 5 of the first leaf to inside slot 3 of the third. The scratch node gets six slots of the
first leaf (of the last of them half is left), the entry, and twelve of the third: 19, which take two new leaves. All
three old ones have left the tree, the one in the middle with all that was in it, and the last one is as it was:

>>> old = list(tree.root.slots)
>>> tree.store_range(110, 669, "over")
>>> leaves()[:2]
[(10, 719), (9, 899)]
>>> [leaf in tree.root.slots for leaf in old]
[False, False, False, True]
>>> [tree.load(key) for key in (109, 110, 669, 670)]
['e5', 'over', 'over', 'e33']
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from sugarbush.tree.core import LEAF_64, MAX, NodeRange, StoreType
from sugarbush.tree.write.big import BigNode
from sugarbush.tree.write.rebalance import divide_upwards
from sugarbush.tree.write.roots import new_root
from sugarbush.tree.write.stash import need

if TYPE_CHECKING:
    from sugarbush.tree.core import Cursor

SPANNING_STORE = StoreType.SPANNING_STORE


def spanning_store(mas: Cursor, entry: Any) -> Any:
    """Store over the cursor's range, from the node where it was found to span; gives what was at its first key."""
    height = mas.tree.height
    need(mas, SPANNING_STORE.nodes(height))
    # The right edge is looked for at the first key behind the store, and not at its last one: if the store ends where
    # a leaf does, nothing of that leaf is kept, and the next leaf is the one to be joined with.
    left = _leaf_at(mas, mas.index)
    right = _leaf_at(mas, min(mas.last + 1, MAX))
    content = left.content
    if entry is None:
        _widen_null(mas, left, right)
        if not mas.index and mas.last == MAX:
            # Known only now, since it takes both edges to widen: the one kind that `tree.write.decide` cannot tell.
            # The nodes taken suffice, as a new root needs one.
            new_root(mas, entry)
            return content
    node = left.node
    slots = node.slots[: left.offset]
    pivots = node.pivots[: left.offset]
    if (pivots[-1] + 1 if pivots else left.low) < mas.index:
        slots.append(node.slots[left.offset])
        pivots.append(mas.index - 1)
    slots.append(entry)
    pivots.append(mas.last)
    big = BigNode(LEAF_64, slots, pivots, None)
    _keep_behind(big, right, mas.last)
    # One level more than the tree has: three leaves out of two, below a full root, take a new one.
    divide_upwards(mas, big, left, right, height + 1)
    return content


def _keep_behind(big: BigNode, right: NodeRange, last: int) -> None:
    """Add what the leaf on the right edge holds behind the store's last key, which may be nothing.

    Whether there is something is told by the keys, not by the slot: where nothing is left, the slot is the leaf's
    last, whose entry has just been stored over (bea07fd63192, CVE-2024-50200).
    """
    if right.high > last:
        big.append(right.node, right.offset)


def _leaf_at(mas: Cursor, key: int) -> NodeRange:
    """The leaf that holds a key, from the cursor's node down, and the slot there."""
    node, low = mas.node, mas.low
    while True:
        pivots = node.pivots
        # A store that ends where this sub-tree ends has nothing behind it here: then the last slot, whose range ends
        # at the store's last key, so that nothing of it is kept (the walk of mas_wr_walk_index() stops there, too).
        offset = min(bisect_left(pivots, key), len(pivots) - 1)
        if node.kind == LEAF_64:
            return NodeRange(node, low, pivots[-1], offset)
        if offset:
            low = pivots[offset - 1] + 1
        node = node.slots[offset]


def _widen_null(mas: Cursor, left: NodeRange, right: NodeRange) -> None:
    """Let the store of None swallow what is unset before it in the left leaf and behind it in the right one."""
    if left.content is None:
        mas.index = left.first
    elif mas.index == left.first and left.offset and left.node.slots[left.offset - 1] is None:
        left.offset -= 1
        mas.index = left.first
    # On the right the edge stands behind the store already, so it need only step over one slot, if that is unset. The
    # kernel has a branch for an edge that stands at the store's end, with two arguments swapped; nothing reaches it
    # (S6).
    if right.content is None:
        mas.last = right.node.pivots[right.offset]
        right.offset += 1
