"""A leaf overflows: push slots into a sibling that has room, else split, and go on one level up.

Models mas_split() and mas_push_data(), v6.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tree.big import BigNode, adopt_new
from tree.layout import ARANGE_64, LEAF_64, MAX, RANGE_64, SLOTS
from tree.lookup import range_walk
from tree.node import MapleNode
from tree.place import Place
from tree.publish import replace_subtree
from tree.stash import need, take

if TYPE_CHECKING:
    from tree.state import MaState


def split(mas: MaState[Any], slots: list[Any], pivots: list[int]) -> None:
    """Divide the slots that the cursor's leaf should have had, more than fit, over new nodes."""
    tree = mas.tree
    need(mas, 2 * tree.height + 1)
    here = Place(mas.node, mas.low, mas.high)
    big = BigNode(LEAF_64, slots, pivots, None)
    new: list[MapleNode] = []
    replaced: list[MapleNode] = []
    levels = 1
    while len(big.slots) > SLOTS[big.kind]:
        left, right = take(mas), take(mas)
        levels += 1
        replaced.append(here.node)
        sibling = _push(here, big, left, right, new, to_left=True) or _push(
            here, big, left, right, new, to_left=False
        )
        if sibling is not None:
            replaced.append(sibling)
            new = [left, right]
            break
        middle, _ = big.split_offset(bulk=mas.bulk)
        _divide(big, middle, left, right, new)
        new = [left, right]
        _go_up(here, big, left, right, taken=1)
    old = here.node
    if old.up[0] is tree:
        big.kind = ARANGE_64 if tree.track_gaps else RANGE_64
    top = take(mas)
    big.fill(top, 0, len(big.slots))
    adopt_new(top, new)
    top.up = old.up
    if old not in replaced:
        replaced.append(old)
    replace_subtree(mas, top, old, here.low, levels, replaced)
    mas.node = top
    mas.low = here.low
    mas.high = here.high
    range_walk(mas, None)


def _push(
    here: Place, big: BigNode, left: MapleNode, right: MapleNode, new: list[MapleNode], *, to_left: bool
) -> MapleNode | None:
    """Even out with the sibling on one side, if both together fit in two nodes with a slot to spare.

    Gives the sibling that was taken in, or None.
    """
    parent, slot = here.node.up
    slot += -1 if to_left else 1
    if not isinstance(parent, MapleNode) or not 0 <= slot < len(parent.slots):
        return None
    total = len(big.slots) + len(parent.slots[slot].slots)
    room = 2 * SLOTS[big.kind] - (big.kind == LEAF_64) - (here.high == MAX)
    if total >= room:
        return None
    sibling = here.sibling(slot)
    last = SLOTS[big.kind] - 2
    if to_left:
        big.prepend(sibling.node)
        middle = big.not_at_null(last, total - 1)
    else:
        big.append(sibling.node)
        middle = big.not_at_null(total - 2 - last, total)
    _divide(big, middle, left, right, new)
    if to_left:
        here.take(sibling)
    _go_up(here, big, left, right, taken=2)
    return sibling.node


def _divide(big: BigNode, middle: int, left: MapleNode, right: MapleNode, new: list[MapleNode]) -> None:
    big.fill(left, 0, middle + 1)
    big.fill(right, middle + 1, len(big.slots))
    adopt_new(left, new)
    adopt_new(right, new)


def _go_up(here: Place, big: BigNode, left: MapleNode, right: MapleNode, *, taken: int) -> None:
    """Turn the scratch node into the level above, where two new nodes take the place of `taken` old ones."""
    low = here.low
    middle = left.pivots[-1]
    high = right.pivots[-1]
    if here.node.is_root:
        big.slots, big.pivots = [], []
        big.gaps = [] if here.node.up[0].track_gaps else None
        big.add_child(left, low, middle)
        big.add_child(right, middle + 1, high)
        return
    slot = here.node.up[1]
    here.ascend()
    node = here.node
    big.kind = node.kind
    big.slots = node.slots[:slot]
    big.pivots = node.pivots[:slot]
    big.gaps = None if node.gaps is None else node.gaps[:slot]
    big.add_child(left, low, middle)
    big.add_child(right, middle + 1, high)
    big.append(node, slot + taken)
