"""How many nodes a store can need at most, asked before a lock is taken under which nothing may be allocated.

Models mas_preallocate(), v6.6, with one difference: the kernel takes a None over exactly one range for a
store into one slot, although it first widens over unset neighbours and may then need nodes; here it is
counted.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from sugarbush.tree.core import LEAF_64, MAX, MIN_SLOTS, SLOTS, MapleStatus
from sugarbush.tree.read import reset, start
from sugarbush.tree.write.write import descend, slots_after, widen_null

if TYPE_CHECKING:
    from sugarbush.tree.core import Cursor


def worst_case(mas: Cursor, entry: Any) -> int:
    """Walk to where `entry` will be stored over the cursor's range, and say how many nodes that can need."""
    tree = mas.tree
    if not mas.index and mas.last == MAX:
        return 1
    start(mas, None)
    if mas.state is not MapleStatus.ACTIVE:
        return 1
    if not descend(mas, entry):
        reset(mas)
        return 3 * tree.height + 1
    node = mas.node
    pivots = node.pivots
    first, last = mas.index, mas.last
    offset = mas.offset
    offset_end = bisect_left(pivots, last, offset)
    exact = last == pivots[offset] and first == (pivots[offset - 1] + 1 if offset else mas.low)
    if entry is None:
        offset_end = widen_null(mas, node, offset_end)
    if exact and (mas.index, mas.last) == (first, last):
        return 0
    new_end = slots_after(mas, node, offset_end)
    if new_end == len(pivots) - 1 and (not tree.rcu or offset_end - mas.offset == 1):
        return 0
    if new_end >= SLOTS[LEAF_64]:
        return 2 * tree.height + 1
    if node.up[0] is tree:
        return 1
    if new_end - 1 <= MIN_SLOTS[LEAF_64]:
        return 2 * tree.height - 1
    return 1
