"""Copying a tree node for node, as fork does since v6.7.

Models __mt_dup(), lib/maple_tree.c, v6.12: every node is copied as it is, so nothing is split or rebalanced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sugarbush.tree.core import LEAF_64, BadRange, MapleNode, NoMemory

if TYPE_CHECKING:
    from sugarbush.tree.core import TreeBody


def duplicate(old: TreeBody, new: TreeBody, gfp: int) -> None:
    """Give the empty tree `new` a copy of every node of `old`. Both locks are held.

    Raises `BadRange` if `new` is not empty or tracks gaps where `old` does not (or the other way round), and
    `NoMemory`, with `new` still empty.
    """
    if new.root is not None:
        raise BadRange("the copy must begin empty")
    if new.track_gaps != old.track_gaps:
        raise BadRange("the copy must track gaps if and only if the original does")
    root = old.root
    if isinstance(root, MapleNode):
        root = _copy_nodes(root, new, gfp)
    new.root = root
    new.height = old.height
    new.changes += 1


def _copy_nodes(root: MapleNode, new: TreeBody, gfp: int) -> MapleNode:
    top = new.source.alloc(gfp)
    if top is None:
        raise NoMemory("no memory for a copy of the root")
    top.up = (new, 0)
    # Both lists grow while the loop goes over them, in the same order: a level's children follow the level. So the
    # place of a node among the originals is that of its copy, and no table of the two is needed.
    copies = [top]
    for node, copy in zip(_top_down(root), copies, strict=False):
        copy.fill(
            node.kind, node.slots.copy(), node.pivots.copy(), None if node.gaps is None else node.gaps.copy()
        )
        copy.gap_offset = node.gap_offset  # as it is: of equal gaps `fill` would choose the right-most
        if node.kind == LEAF_64:
            continue
        children = new.source.alloc_bulk(gfp, len(node.slots))
        if not children:
            new.source.free(copies)
            raise NoMemory("no memory for a copy of the nodes")
        for slot, child in enumerate(children):
            child.up = (copy, slot)
        copy.slots = list(children)
        copies += children
    return top


def _top_down(root: MapleNode) -> list[MapleNode]:
    nodes = [root]
    for node in nodes:
        if node.kind != LEAF_64:
            nodes += node.slots
    return nodes
