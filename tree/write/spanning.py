"""A store that leaves its leaf: join what is left of it on one edge with what is left on the other.

Models mas_wr_spanning_store() and mas_extend_spanning_null(), v6.6.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from sugarbush.tree.core import LEAF_64, MAX, NodeRange
from sugarbush.tree.write.big import BigNode
from sugarbush.tree.write.rebalance import divide_upwards
from sugarbush.tree.write.roots import new_root
from sugarbush.tree.write.stash import need

if TYPE_CHECKING:
    from sugarbush.tree.core import Cursor


def spanning_store(mas: Cursor, entry: Any) -> Any:
    """Store over the cursor's range, from the node where it was found to span; gives what was at its first key."""
    if not mas.index and mas.last == MAX:
        content = _leaf_at(mas, 0).content
        new_root(mas, entry)
        return content
    height = mas.tree.height
    need(mas, 3 * height + 1)
    left = _leaf_at(mas, mas.index)
    right = _leaf_at(mas, min(mas.last + 1, MAX))
    content = left.content
    if entry is None:
        _widen_null(mas, left, right)
        if not mas.index and mas.last == MAX:
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
    divide_upwards(mas, big, left, right, height + 1)
    return content


def _keep_behind(big: BigNode, right: NodeRange, last: int) -> None:
    """Add what the leaf on the right edge holds behind the store's last key, which may be nothing.

    Whether there is something is told by the keys, not by the slot: where nothing is left, the slot is the leaf's last,
    whose entry has just been stored over (bea07fd63192, CVE-2024-50200).
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
    if right.content is None:
        mas.last = right.node.pivots[right.offset]
        right.offset += 1
