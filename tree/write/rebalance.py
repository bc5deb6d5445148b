"""Divide a scratch node over one, two or three new nodes, level by level, until the tree fits together again.

Two kinds of store end here: one that leaves too little in a leaf (which is joined with a sibling), and one that spans
leaves (with what is left on both edges). All new nodes are made before any is reachable: what is built is one sub-tree,
put in by one store, so that a reader sees the tree of before or of after. Models mas_spanning_rebalance() and
mas_rebalance(), v6.6.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sugarbush.tree.core import LEAF_64, MAX, MIN_SLOTS, SLOTS, MapleNode, NodeRange, StoreType, largest
from sugarbush.tree.read import range_walk
from sugarbush.tree.write.big import BigNode, before
from sugarbush.tree.write.publish import replace_subtree
from sugarbush.tree.write.stash import need, take

if TYPE_CHECKING:
    from sugarbush.tree.core import Cursor, TreeBody

REBALANCE = StoreType.REBALANCE


def rebalance(mas: Cursor, slots: list[Any], pivots: list[int]) -> None:
    """Join the slots that the store leaves to the cursor's leaf, too few, with the right or else the left sibling."""
    assert len(slots) <= MIN_SLOTS[LEAF_64], (
        f"{len(slots)} slots suffice for a leaf, and are to be rebalanced"
    )
    height = mas.tree.height
    need(mas, REBALANCE.nodes(height))
    big = BigNode(LEAF_64, slots, pivots, None)
    here = NodeRange(mas.node, mas.low, mas.high)
    parent, slot = mas.node.up
    # The right one first, as the kernel. There is one on either side: an inner node has two children at least, and the
    # root is never rebalanced.
    if slot + 1 < len(parent.slots):
        left, right = here, here.sibling(slot + 1)
        big.append(right.node)
    else:
        left, right = here.sibling(slot - 1), here
        big.prepend(left.node)
    divide_upwards(mas, big, left, right, height)


def divide_upwards(mas: Cursor, big: BigNode, left: NodeRange, right: NodeRange, levels: int) -> None:
    """Replace the nodes from `left` to `right` by new ones with the contents of `big`, and so on upwards.

    `levels` is how many levels this can take at most; drawing in a neighbour may add one.
    """
    tree = mas.tree
    top: MapleNode | None = None
    if not (left.low == 0 and right.high == MAX) and len(big.slots) <= MIN_SLOTS[big.kind]:
        _draw_in(big, left, right)
    # `left` and `right` go up together, and on each level all nodes from one to the other are replaced. From the lowest
    # node that has both below it they are the same.
    depth = 0
    while levels and top is None:
        levels -= 1
        depth += 1
        low, high = left.low, right.high
        new = _distribute(mas, big)
        if len(new) == 1 and low == 0 and high == MAX:
            # One node with all keys: the root, and the tree is lower than before by what stood above.
            top = new[0]
            while not left.node.is_root:
                left.ascend()
            break
        big = _level_above(left, right, low, high, new)
        if len(big.slots) <= MIN_SLOTS[big.kind]:
            if left.covers_all:
                break
            _draw_in(big, left, right)
            levels = levels or 1  # what was drawn in has to be divided, even if no level was left for it
        elif left.node is right.node and len(big.slots) <= SLOTS[big.kind] and _settled(tree, left.node):
            break
    if top is None:
        depth += 1
        top = take(mas)
        big.fill(top, 0, len(big.slots))
    old = left.node
    top.up = old.up
    replace_subtree(mas, top, old, left.low, depth)
    if tree.plain or not tree.rcu:
        _refresh_gap_offsets(tree, top)
    # The cursor's node is gone. It goes to where its key is now, so that a loop of stores and nexts goes on.
    mas.node = top
    mas.low = left.low
    mas.high = left.high
    range_walk(mas, None)


def _settled(tree: TreeBody, node: MapleNode) -> bool:
    """Whether the nodes above would only be copied, and nobody could tell; the kernel copies them.

    Somebody could tell in RCU mode with counted nodes: by the nodes queued, and by readers that are sent back. And if a
    node above holds too little, which a rebalance on the way would mend, it is not only copied.
    """
    if tree.rcu and not tree.plain:
        return False
    while node.up[0] is not tree:
        node = node.up[0]
        if len(node.slots) <= MIN_SLOTS[node.kind] and node.up[0] is not tree:
            return False
    return True


def _refresh_gap_offsets(tree: TreeBody, node: MapleNode) -> None:
    """What copying the nodes above would have done: of equal gaps, point to the right-most."""
    while tree.track_gaps and node.up[0] is not tree:
        node = node.up[0]
        assert node.gaps is not None
        node.gap_offset = largest(node.gaps)


def _distribute(mas: Cursor, big: BigNode) -> list[MapleNode]:
    """Fill one to three new nodes from the scratch node."""
    count = len(big.slots)
    if count <= SLOTS[big.kind]:
        bounds = [0, count]
    else:
        split, middle = big.split_offset(mas)
        bounds = [0, split + 1, middle + 1, count] if middle else [0, split + 1, count]
    nodes = []
    for begin, end in pairwise(bounds):
        node = take(mas)
        big.fill(node, begin, end)
        nodes.append(node)
    return nodes


def _level_above(left: NodeRange, right: NodeRange, low: int, high: int, new: list[MapleNode]) -> BigNode:
    """Go up on both sides and gather what stands left of the new nodes, them, and what stands right of them."""
    if not left.node.is_root:
        left.ascend()
        right.ascend()
    left.seek(low)
    right.seek(high)
    big = before(left.node, left.offset)
    for node in new:
        low = big.add_child(node, low)
    if high < right.high:
        big.append(right.node, right.offset + 1)
    return big


def _draw_in(big: BigNode, left: NodeRange, right: NodeRange) -> None:
    """The scratch node holds too little: add the whole neighbour to the right, else to the left, if there is one."""
    # A cousin will do if there is no sibling: up until there is a node on that side, then as many levels down.
    beyond_left, beyond_right = left.copy(), right.copy()
    levels = 0
    while not beyond_right.node.is_root:
        beyond_right.ascend()
        beyond_left.ascend()
        levels += 1
        if beyond_right.offset < len(beyond_right.node.slots) - 1:
            beyond_right.offset += 1
            for _ in range(levels):
                beyond_right.descend()
            big.append(beyond_right.node)
            right.take(beyond_right)
            return
        if beyond_left.offset:
            beyond_left.offset -= 1
            for _ in range(levels):
                beyond_left.descend()
                beyond_left.offset = len(beyond_left.node.slots) - 1
            big.prepend(beyond_left.node)
            left.take(beyond_left)
            return
