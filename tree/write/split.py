"""A leaf overflows: push slots into a sibling that has room, else split, and go on one level up.

Models mas_split() and mas_push_data(), v6.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sugarbush.tree.core import ARANGE_64, LEAF_64, MAX, RANGE_64, SLOTS, MapleNode, NodeRange, StoreType
from sugarbush.tree.read import range_walk
from sugarbush.tree.write.big import BigNode, before
from sugarbush.tree.write.publish import replace_subtree
from sugarbush.tree.write.stash import need, take

if TYPE_CHECKING:
    from sugarbush.tree.core import Cursor

SPLIT_STORE = StoreType.SPLIT_STORE


def split(mas: Cursor, slots: list[Any], pivots: list[int]) -> None:
    """Divide the slots that the store would leave to the cursor's leaf, more than fit, over new nodes."""
    assert len(slots) > SLOTS[LEAF_64], f"{len(slots)} slots fit in a leaf, and are to be split"
    need(mas, SPLIT_STORE.nodes(mas.tree.height))
    here = NodeRange(mas.node, mas.low, mas.high)
    big = BigNode(LEAF_64, slots, pivots, None)
    replaced: list[MapleNode] = []
    levels = 1
    sibling: MapleNode | None = None
    # Once a sibling has taken in what was too much, the level above has as many children as before, and the way up
    # ends.
    while sibling is None and len(big.slots) > SLOTS[big.kind]:
        levels += 1
        replaced.append(here.node)
        # The left sibling first, then the right one, then none, as in mas_split().
        sibling, middle = _push(here, big, to_left=True) or _push(here, big, to_left=False) or (None, 0)
        if sibling is None:
            middle, _ = big.split_offset(mas)
        else:
            replaced.append(sibling)
        left, right = take(mas), take(mas)
        big.fill(left, 0, middle + 1)
        big.fill(right, middle + 1, len(big.slots))
        big = _level_above(here, left, right, taken=1 if sibling is None else 2)
    top = take(mas)
    big.fill(top, 0, len(big.slots))
    old = here.node
    if old not in replaced:
        replaced.append(old)
    top.up = old.up
    replace_subtree(mas, top, old, here.low, levels, replaced)
    mas.node = top
    mas.low = here.low
    mas.high = here.high
    range_walk(mas, None)


def _push(here: NodeRange, big: BigNode, *, to_left: bool) -> tuple[MapleNode, int] | None:
    """Take in the sibling on one side, if both together fit in two nodes with a slot to spare.

    Gives the sibling, and the last slot of the left one of the two; `here` is then the left one of the two old nodes.
    """
    parent, slot = here.node.up
    slot += -1 if to_left else 1
    if not isinstance(parent, MapleNode) or not 0 <= slot < len(parent.slots):
        return None
    node = parent.slots[slot]
    total = len(big.slots) + len(node.slots)
    # The margins of mas_push_data(): a slot to spare in leaves, where the split may have to move off an unset slot,
    # and one more at the right end of the tree.
    room = 2 * SLOTS[big.kind] - (big.kind == LEAF_64) - (here.high == MAX)
    if total >= room:
        return None
    last = SLOTS[big.kind] - 2
    if not to_left:
        big.append(node)
        return node, big.not_at_null(total - 2 - last, total)
    big.prepend(node)
    here.take(here.sibling(slot))
    return node, big.not_at_null(last, total - 1)


def _level_above(here: NodeRange, left: MapleNode, right: MapleNode, *, taken: int) -> BigNode:
    """Go up, to the node in which two new nodes take the place of `taken` old ones: what it should hold.

    Above the root that is these two alone.
    """
    low = here.low
    parent, slot = here.node.up
    if isinstance(parent, MapleNode):
        here.ascend()
        big = before(parent, slot)
    else:
        gaps: list[int] | None = [] if parent.track_gaps else None
        big = BigNode(RANGE_64 if gaps is None else ARANGE_64, [], [], gaps)
    big.add_child(right, big.add_child(left, low))
    if isinstance(parent, MapleNode):
        big.append(parent, slot + taken)
    return big
