"""Loading many entries in ascending order, as fork did: nodes taken ahead, and splits that leave the left side
fuller.

Models mas_expected_entries() and mas_destroy_rebalance(), v6.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sugarbush.tree.core import (
    ARANGE_64,
    LEAF_64,
    MIN_SLOTS,
    RANGE_64,
    SLOTS,
    MapleNode,
    NodeRange,
    NoMemory,
    first_key,
)
from sugarbush.tree.read import range_walk, reset, start
from sugarbush.tree.write.publish import replace_subtree, update_gap
from sugarbush.tree.write.stash import need, take

if TYPE_CHECKING:
    from sugarbush.tree.core import Cursor


def nodes_for(count: int, *, gaps: bool) -> int:
    """How many nodes `count` ascending entries need, with a gap between any two and some room to split.

    >>> nodes_for(30, gaps=True)  # 61 slots in leaves of 14: five leaves; one node above them, and three
    9
    """
    # As mas_expected_entries(): two slots of each node are reckoned as empty, and a split under way needs three nodes
    # more, two and a new parent.
    leaves = -(-(2 * count + 1) // (SLOTS[LEAF_64] - 2))
    inner = -(-leaves // (SLOTS[ARANGE_64 if gaps else RANGE_64] - 2))
    return leaves + inner + 3


def finish(mas: Cursor) -> None:
    """The last leaf of a bulk load may hold too little: even it out with the one before."""
    if not mas.uneven:
        return
    mas.uneven = False
    reset(mas)
    start(mas, None)
    if mas.node is None:
        return
    range_walk(mas, None)
    node = mas.node
    parent, slot = node.up
    if len(node.slots) < MIN_SLOTS[LEAF_64] - 1 and isinstance(parent, MapleNode) and slot:
        _even_out(mas, NodeRange(parent, first_key(parent), parent.pivots[-1], slot))
    reset(mas)


def _even_out(mas: Cursor, at: NodeRange) -> None:
    """Divide what the leaf in a slot and the one before it hold evenly between the two."""
    parent = at.node
    left, right = parent.slots[at.offset - 1 : at.offset + 1]
    split = SLOTS[LEAF_64] // 2
    if left.slots[split] is None:
        split += 1
    if mas.tree.rcu:
        try:
            need(mas, 3)
        except NoMemory:
            return  # nothing is wrong with the tree as it is: the right-most leaf may be small
        left, right = _exchange(mas, at, left, right, split)
    else:
        right.slots[:0] = left.slots[split + 1 :]
        right.pivots[:0] = left.pivots[split + 1 :]
        del left.slots[split + 1 :], left.pivots[split + 1 :]
        parent.pivots[at.offset - 1] = left.pivots[-1]
    begin = at.low if at.offset == 1 else parent.pivots[at.offset - 2] + 1
    update_gap(mas.tree, left, begin)
    update_gap(mas.tree, right, left.pivots[-1] + 1)


def _exchange(
    mas: Cursor, at: NodeRange, before: MapleNode, last: MapleNode, split: int
) -> tuple[MapleNode, MapleNode]:
    """In RCU mode: two new leaves, below a new parent, since a reader may be in the old ones."""
    parent = at.node
    left, right, top = (take(mas) for _ in range(3))
    left.fill(LEAF_64, before.slots[: split + 1], before.pivots[: split + 1])
    right.fill(LEAF_64, before.slots[split + 1 :] + last.slots, before.pivots[split + 1 :] + last.pivots)
    slots = parent.slots.copy()
    slots[at.offset - 1 : at.offset + 1] = [left, right]
    pivots = parent.pivots.copy()
    pivots[at.offset - 1] = left.pivots[-1]
    top.fill(parent.kind, slots, pivots, None if parent.gaps is None else parent.gaps.copy())
    top.up = parent.up
    left.up = (top, at.offset - 1)
    right.up = (top, at.offset)
    replace_subtree(mas, top, parent, at.low, mas.tree.height)
    return left, right
