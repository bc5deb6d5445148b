"""How a store becomes visible: put the new nodes in, mark the old ones dead, mend parents and gaps.

In RCU mode the order matters, and every step here is one that a reader may fall between: the new sub-tree is
complete before it is reachable; it is reachable before the old node is marked dead, so that a reader that
starts again at the root makes progress; only then do the children that live on learn their new parent, so
that a reader that climbs through the old one must look whether it is dead. Models mas_put_in_tree(),
mas_topiary_replace(), mas_update_gap(), v6.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sugarbush.concurrency.core import Runtime
from sugarbush.tree.core import (
    DEAD,
    LEAF_64,
    MARK_DEAD,
    MENDED,
    STORE_PARENT,
    STORE_ROOT,
    STORE_SLOT,
    MapleNode,
    max_gap,
    stepping,
)
from sugarbush.tree.write.stash import discard, link_dead

if TYPE_CHECKING:
    from sugarbush.tree.core import Cursor, TreeBody


def set_root(tree: TreeBody, root: Any, height: int) -> None:
    """Publish a new root word: None, an entry, or a node."""
    rt = stepping(tree)
    if rt is not None:
        rt.step(STORE_ROOT, tree)
    tree.root = root
    tree.height = height


def put_in_tree(mas: Cursor, new: MapleNode, old: MapleNode, height: int) -> None:
    """Make `new` reachable in the place of `old`, then mark `old` dead; `height` is the tree's if `new` is its root."""
    tree = mas.tree
    parent, slot = new.up
    rt = stepping(tree)
    # Reachable first, dead afterwards (72bcf4aa86ec). The other way round a reader that starts again at the root
    # comes to the same dead node, for as long as the writer does not run: catalogue, tree-livelock.
    if parent is tree:
        set_root(tree, new, height)
    else:
        if rt is not None:
            rt.step(STORE_SLOT, parent)
        parent.slots[slot] = new
    tree.mending = rt is not None and new.kind != LEAF_64
    mark_dead(old, rt)


def mark_dead(node: MapleNode, rt: Runtime | None) -> None:
    """Tell readers that hold `node` to start again."""
    if rt is None:
        node.up = DEAD
    else:
        rt.store(MARK_DEAD, node, DEAD)


def replace_node(mas: Cursor, new: MapleNode, old: MapleNode) -> None:
    """Exchange one node for another of the same range and the same children."""
    put_in_tree(mas, new, old, mas.tree.height)
    discard(mas, old)


def replace_subtree(
    mas: Cursor,
    new: MapleNode,
    old: MapleNode,
    low: int,
    height: int,
    replaced: list[MapleNode] | None = None,
) -> None:
    """Exchange the sub-tree at `old`, which begins at key `low`, for the one at `new`, in part made of its children.

    `replaced` are the nodes that it loses, `old` first; None if they have to be found: then those whose whole range
    was stored over go as one sub-tree each, the others one by one.
    """
    rt = stepping(mas.tree)
    # The children that live on learn their parent only now. Before, a reader that climbs from one of them would come
    # into nodes that are not in the tree, and might not be yet complete; now it comes into the dead node, and
    # notices.
    put_in_tree(mas, new, old, height)
    _adopt(new, rt)
    if rt is not None and mas.tree.mending:
        rt.perform(MENDED, mas.tree)
    whole: list[MapleNode] = []
    if replaced is None:
        replaced, whole = _find_replaced(mas, old, low)
    for node in replaced:
        if node is not old:
            mark_dead(node, rt)
        discard(mas, node)
    for node in whole:
        destroy_subtree(mas.tree, node)
    if new.kind != LEAF_64:
        update_gap(mas.tree, new, low)


def _adopt(top: MapleNode, rt: Runtime | None) -> None:
    """Tell the old children of the new nodes, top down, where they hang now."""
    new = [top]
    for node in new:
        if node.kind == LEAF_64:
            return
        for slot, child in enumerate(node.slots):
            # A new node was told its parent when that was filled, so who names it is new, and its children come next.
            # All others were in the tree before; theirs have not moved.
            if child.up[0] is node:
                new.append(child)
            elif rt is None:
                child.up = (node, slot)
            else:
                rt.store(STORE_PARENT, child, (node, slot))


def _find_replaced(mas: Cursor, old: MapleNode, low: int) -> tuple[list[MapleNode], list[MapleNode]]:
    """What hung below `old` and was not adopted: single nodes, and tops of sub-trees that were stored over.

    Told by the parent word: a child that still names its old parent was not taken over by a new node. The kernel
    makes the difference between the two for the sake of callbacks: a sub-tree goes by one (`mas_topiary_replace`).
    """
    first, last = mas.index, mas.last
    whole: list[MapleNode] = []
    replaced = [old]
    lows = [low]
    for node, start in zip(replaced, lows, strict=False):
        if node.kind == LEAF_64:
            break
        begin = start
        for child, end in zip(node.slots, node.pivots, strict=True):
            if child.up[0] is node:
                if first <= begin and end <= last:
                    whole.append(child)
                else:
                    replaced.append(child)
                    lows.append(begin)
            begin = end + 1
    return replaced, whole


def destroy_subtree(tree: TreeBody, top: MapleNode) -> None:
    """Mark all nodes from `top` down dead and free them: at once, or by one callback in RCU mode."""
    rt = stepping(tree)
    nodes = [top]
    for node in nodes:
        if tree.rcu:
            mark_dead(node, rt)
        if node.kind != LEAF_64:
            nodes += node.slots
        link_dead(node, rt)
    if tree.rcu:
        tree.source.free_rcu(nodes)
    else:
        tree.source.free(nodes)


def update_gap(tree: TreeBody, node: MapleNode, low: int) -> None:
    """Have the nodes above know the largest gap of `node`, which begins at key `low`."""
    if not tree.track_gaps:
        return
    parent, slot = node.up
    if parent is tree:
        return
    gap = max_gap(node, low)
    while parent is not tree:
        gaps = parent.gaps
        # The way up ends where the node's largest gap does not change: what is above knows only that one.
        if gaps[slot] == gap:
            return
        top = parent.gap_offset
        before = gaps[top]
        gaps[slot] = gap
        if before == gap:
            return
        if slot != top:
            if before > gap:
                return
            parent.gap_offset = slot
        elif gap < before:
            gap = max(gaps)
            # Unlike `largest`: without any gap this points to the last slot (ma_max_gap()).
            parent.gap_offset = len(gaps) - 1 - gaps[::-1].index(gap)
        parent, slot = parent.up
