"""From one leaf to the next: up to where the ways part, and down on the other side.

A reader beside a writer climbs by parent words, which may lead into a node that has left the tree; so every node is
tested after its words are read, and the reader that meets a dead one walks again from the root. Models
mas_next_node(), mas_prev_node() and mas_ascend(), v6.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurrency.runtime import Runtime
from tree.node import DEAD, MapleNode
from tree.operations import LOAD_PARENT, LOAD_PIVOTS, LOAD_SLOT

if TYPE_CHECKING:
    from tree.state import MaState


def dead(node: MapleNode, rt: Runtime | None) -> bool:
    """Whether what was read from `node` must not be used (`ma_dead_node`)."""
    if rt is not None:
        rt.step(LOAD_PARENT, node)
    return node.up is DEAD


def next_leaf(mas: MaState[Any], node: MapleNode, rt: Runtime | None) -> bool:
    """Move to the first slot of the next leaf; False if a dead node was met. There is a next leaf."""
    low = mas.high + 1
    levels = 0
    while True:
        if rt is not None:
            rt.step(LOAD_PARENT, node)
        parent, slot = node.up
        if not isinstance(parent, MapleNode):
            return False
        node = parent
        levels += 1
        if rt is not None:
            rt.step(LOAD_PIVOTS, node)
        last_slot = len(node.pivots) - 1
        if dead(node, rt):
            return False
        if slot < last_slot:
            break
    slot += 1
    while True:
        if rt is not None:
            rt.step(LOAD_SLOT, node)
        high = node.pivots[slot]
        child = node.slots[slot]
        if dead(node, rt):
            return False
        node = child
        levels -= 1
        if not levels:
            break
        slot = 0
    mas.node = node
    mas.low = low
    mas.high = high
    return True


def previous_leaf(mas: MaState[Any], node: MapleNode, rt: Runtime | None) -> bool:
    """Move to the last slot of the previous leaf; False if a dead node was met. There is a previous leaf."""
    high = mas.low - 1
    levels = 0
    while True:
        if rt is not None:
            rt.step(LOAD_PARENT, node)
        parent, slot = node.up
        if not isinstance(parent, MapleNode):
            return False
        node = parent
        levels += 1
        if dead(node, rt):
            return False
        if slot:
            break
    slot -= 1
    low = None
    top = node
    while True:
        if rt is not None:
            rt.step(LOAD_PIVOTS, node)
        if slot:
            low = node.pivots[slot - 1] + 1
        if rt is not None:
            rt.step(LOAD_SLOT, node)
        child = node.slots[slot]
        if dead(node, rt):
            return False
        node = child
        levels -= 1
        if not levels:
            break
        if rt is not None:
            rt.step(LOAD_PIVOTS, node)
        slot = len(node.pivots) - 1
    if low is None:
        low = _low_above(top, rt)
        if low is None:
            return False
    mas.node = node
    mas.low = low
    mas.high = high
    return True


def _low_above(node: MapleNode, rt: Runtime | None) -> int | None:
    """The first key below `node`, told by its ancestors; None if a dead node was met."""
    while True:
        if rt is not None:
            rt.step(LOAD_PARENT, node)
        if node.up is DEAD:
            return None
        parent, slot = node.up
        if not isinstance(parent, MapleNode):
            return 0
        if slot:
            if rt is not None:
                rt.step(LOAD_PIVOTS, parent)
            low = parent.pivots[slot - 1] + 1
            return None if dead(parent, rt) else low
        node = parent
