"""How many nodes a store can need at most, asked before a lock is taken under which nothing may be allocated.

Models mas_preallocate(), v6.6, with one difference: the kernel takes a None over exactly one range for a store into one
slot, although it first widens over unset neighbours and may then need nodes; here it is counted (S3 of docs/tree.md).

In a tree of three levels one more entry in a leaf with room takes a new leaf, since readers may be in the old one. In a
full leaf it may split all nodes above; and what is left of two leaves may take three nodes on each level, and a root:

>>> from sugarbush.tree import MapleTree
>>> tree = MapleTree(track_gaps=True, rcu=True)
>>> for number in range(200):
...     tree.store_range(10 * number, 10 * number + 4, number)
>>> tree.height
3
>>> [tree.cursor(first, last).preallocate("new") for first, last in ((33, 34), (503, 504), (500, 1504))]
[1, 7, 10]

The same range once more, with another entry: only the entry changes, whatever the mode.

>>> tree.cursor(500, 504).preallocate("new")
0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sugarbush.tree.core import LEAF_64, MIN_SLOTS, StoreType
from sugarbush.tree.read import reset
from sugarbush.tree.write.decide import slots_after, store_type

if TYPE_CHECKING:
    from sugarbush.tree.core import Cursor

SPANNING_STORE = StoreType.SPANNING_STORE
EXACT_FIT = StoreType.EXACT_FIT
APPEND = StoreType.APPEND
NODE_STORE = StoreType.NODE_STORE
REBALANCE = StoreType.REBALANCE
LEAF_MIN = MIN_SLOTS[LEAF_64]


def worst_case(mas: Cursor, entry: Any) -> int:
    """Walk to where `entry` will be stored over the cursor's range, and say how many nodes that can need.

    What kind of store it will be is kept in the cursor, for the store to compare.
    """
    tree = mas.tree
    first, last = mas.index, mas.last
    kind, _, begin, offset_end = store_type(mas, entry)
    mas.planned = (kind, mas.index, mas.last, entry is None, tree.rcu, tree.changes)
    if kind is SPANNING_STORE:
        reset(mas)  # it stands in the middle of the way down, where no store may begin
    # What follows asks for more than the kind needs, since v6.6 does and what it asks for is compared: it knows no
    # append, takes only a range that was not widened for an exact fit, and fears a rebalance two slots early.
    widened = tree.rcu and (mas.index, mas.last) != (first, last)
    if kind is APPEND or (kind is EXACT_FIT and widened):
        kind = NODE_STORE
    if kind is NODE_STORE and mas.node.up[0] is not tree:
        count = slots_after(mas.node, begin, mas.offset, offset_end, mas.index, mas.last)
        if count - 2 <= LEAF_MIN:
            kind = REBALANCE
    return kind.nodes(tree.height)
