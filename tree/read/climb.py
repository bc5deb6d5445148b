"""From one leaf to the next: up to where the ways part, and down on the other side.

A reader beside a writer climbs by parent words, which may lead into a node that has left the tree; so every node is
tested after its words are read, and the reader that meets a dead one walks again from the root. Models
mas_next_node(), mas_prev_node() and mas_ascend(), v6.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sugarbush.concurrency.core import Runtime
from sugarbush.tree.core import DEAD, LOAD_PARENT, LOAD_PIVOTS, LOAD_SLOT, MapleNode

if TYPE_CHECKING:
    from sugarbush.tree.core import Cursor


class DeadNode(Exception):
    """A reader has met a node that left the tree, and must walk again; never leaves this package."""


def check_alive(node: MapleNode, rt: Runtime | None) -> None:
    """Raise `DeadNode` if what was read from `node` must not be used (`ma_dead_node`)."""
    if (node.up if rt is None else rt.load(LOAD_PARENT, node)) is DEAD:
        raise DeadNode


def _parent(node: MapleNode, rt: Runtime | None) -> tuple[MapleNode, int]:
    """The node above and the slot there; there is one unless the node is dead."""
    parent, slot = node.up if rt is None else rt.load(LOAD_PARENT, node)
    # Also when it is the tree: the caller knows of a leaf further on, so this node was no root when it looked.
    if not isinstance(parent, MapleNode):
        raise DeadNode
    return parent, slot


def next_leaf(mas: Cursor, node: MapleNode, rt: Runtime | None) -> None:
    """Move from `node` to the first slot of the next leaf. There is one, or `DeadNode` is raised."""
    # Told by the cursor and not by the nodes: it is what the reader has seen, whatever became of the nodes since.
    low = mas.high + 1
    levels = 0
    slot = last_slot = 0
    while slot == last_slot:
        node, slot = _parent(node, rt)
        levels += 1
        if rt is not None:
            rt.step(LOAD_PIVOTS, node)
        last_slot = len(node.pivots) - 1
        # After the words are read, never before: a node that was alive then could die before they are.
        check_alive(node, rt)
    slot += 1
    high = 0
    while levels:
        if rt is not None:
            rt.step(LOAD_SLOT, node)
        high = node.pivots[slot]
        child = node.slots[slot]
        check_alive(node, rt)
        node = child
        levels -= 1
        slot = 0
    mas.node = node
    mas.low = low
    mas.high = high


def previous_leaf(mas: Cursor, node: MapleNode, rt: Runtime | None) -> None:
    """Move from `node` to the last slot of the previous leaf. There is one, or `DeadNode` is raised."""
    high = mas.low - 1
    levels = 0
    slot = 0
    while not slot:
        node, slot = _parent(node, rt)
        levels += 1
        check_alive(node, rt)
    slot -= 1
    # The last slot of a node begins where the one before it ends. On a way down through slots 0 only no pivot tells
    # where the leaf begins; then the nodes above `top` are asked.
    low = None
    top = node
    while levels:
        if rt is not None:
            rt.step(LOAD_PIVOTS, node)
        if node is not top:
            slot = len(node.pivots) - 1
        if slot:
            low = node.pivots[slot - 1] + 1
        if rt is not None:
            rt.step(LOAD_SLOT, node)
        child = node.slots[slot]
        check_alive(node, rt)
        node = child
        levels -= 1
    if low is None:
        low = _low_above(top, rt)
    mas.node = node
    mas.low = low
    mas.high = high


def _low_above(node: MapleNode, rt: Runtime | None) -> int:
    """The first key below `node`, told by its ancestors."""
    while True:
        parent, slot = node.up if rt is None else rt.load(LOAD_PARENT, node)
        if parent is None:
            raise DeadNode
        if not isinstance(parent, MapleNode):
            return 0
        node = parent
        if slot:
            if rt is not None:
                rt.step(LOAD_PIVOTS, node)
            low = node.pivots[slot - 1] + 1
            check_alive(node, rt)
            return low
