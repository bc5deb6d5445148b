"""Which kind a store is: decided here, once, for the code that plans it and for the code that does it.

`store_type` is asked by `tree.write.preallocate`, which takes the nodes, and by `tree.write.write`, which does the
store; `leaf_store_type`, the part of it for a store within one leaf, by `tree.write.alone` too, which has no cursor.
Models mas_wr_store_type(), v6.12, with the outcome of v6.6: there mas_wr_store_entry(), mas_wr_modify() and
mas_preallocate() decide each for itself.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from sugarbush.tree.core import LEAF_64, MAX, MIN_SLOTS, SLOTS, MapleNode, MapleStatus, StoreType
from sugarbush.tree.read import start

if TYPE_CHECKING:
    from sugarbush.tree.core import Cursor, TreeBody

LEAF_SLOTS = SLOTS[LEAF_64]
LEAF_MIN = MIN_SLOTS[LEAF_64]
ACTIVE = MapleStatus.ACTIVE
STORE_ROOT = StoreType.STORE_ROOT
NEW_ROOT = StoreType.NEW_ROOT
SPANNING_STORE = StoreType.SPANNING_STORE
EXACT_FIT = StoreType.EXACT_FIT
SLOT_STORE = StoreType.SLOT_STORE
APPEND = StoreType.APPEND
NODE_STORE = StoreType.NODE_STORE
SPLIT_STORE = StoreType.SPLIT_STORE
REBALANCE = StoreType.REBALANCE


def store_type(mas: Cursor, entry: Any) -> tuple[StoreType, Any, int, int]:
    """Walk to where `entry` is stored over the cursor's range, and say what kind of store it is.

    Gives the kind; what is at the first key now (None for a spanning store, which finds that itself); and for a store
    within a leaf the first key of the first slot that it touches, which is the cursor's, and the last slot (else -1).
    Storing None widens the cursor's range over what is unset on both sides.
    """
    first = mas.index
    last = mas.last
    if last == MAX and not first:
        # Before the walk, which would call it spanning in a tree of several levels; and a plan leaves the cursor
        # where it is then, as mas_preallocate() does.
        return NEW_ROOT if mas.tree.height else STORE_ROOT, _first_entry(mas.tree), 0, -1
    start(mas, None)
    if mas.state is not ACTIVE:
        return STORE_ROOT, None if first else mas.tree.root, 0, -1
    # Down to the leaf that has the whole store, or to the node where it turns out to span several. Storing None up to
    # the end of a leaf counts as spanning, since only the right-most leaf may end unset.
    node = mas.node
    low = mas.low
    high = mas.high
    reaches = last if entry is None and last != MAX else last - 1
    while True:
        pivots = node.pivots
        offset = bisect_left(pivots, first)
        if node.kind == LEAF_64:
            within = reaches < high
            break
        above = pivots[offset]
        if reaches >= above:
            within = False
            break
        if offset:
            low = pivots[offset - 1] + 1
        high = above
        node = node.slots[offset]
    mas.node = node
    mas.low = low
    mas.high = high
    mas.offset = offset
    if not within:
        return SPANNING_STORE, None, 0, -1
    content = node.slots[offset]
    offset_end = bisect_left(pivots, last, offset)
    if entry is None:
        # Before it is asked whether the store fits exactly: a None over exactly one range may take in an unset
        # neighbour, and then needs nodes. v6.6 asks in the other order where it plans, and runs out (S3).
        offset_end = widen_null(mas, node, offset_end)
        first = mas.index
        last = mas.last
        if last == MAX and not first:
            return NEW_ROOT, content, 0, -1
        offset = mas.offset
    begin = pivots[offset - 1] + 1 if offset else low
    kind = leaf_store_type(mas.tree, node, begin, offset, offset_end, first, last, mas.bulk)
    return kind, content, begin, offset_end


def leaf_store_type(
    tree: TreeBody,
    node: MapleNode,
    begin: int,
    offset: int,
    offset_end: int,
    first: int,
    last: int,
    bulk: bool = False,
) -> StoreType:
    """Say what kind of store one over `first`..`last` is, which lies in the slots `offset`..`offset_end` of a leaf.

    `begin` is the first key of slot `offset`.

    The order of the questions is that of v6.6: a leaf that is too small already may still change in place, as long
    as it does not shrink. v6.12 asks for the rebalance first.
    """
    # As `slots_after`, written out: a call would cost as much as the whole decision.
    pivots = node.pivots
    had = len(pivots)
    count = had + offset - offset_end + (begin < first) + (last < pivots[offset_end])
    if count == had:
        if offset == offset_end:
            return EXACT_FIT
        # With two slots touched one boundary moves, and each key goes from its old entry to the new one once,
        # whatever a reader sees first. With three, two boundaries would have to move at the same moment.
        if not tree.rcu or offset_end - offset == 1:
            return SLOT_STORE
    elif count > LEAF_SLOTS:
        return SPLIT_STORE
    if not tree.rcu and offset == had - 1:
        return APPEND
    # The root may hold as little as it likes, and in a bulk load the right-most leaf is still to be filled.
    if count > LEAF_MIN or bulk or node.up[0] is tree:
        return NODE_STORE
    return REBALANCE


def slots_after(node: MapleNode, begin: int, offset: int, offset_end: int, first: int, last: int) -> int:
    """How many slots the leaf will have: `mas_wr_new_end()` + 1.

    What is kept of the first old range and of the last one has a slot each beside the entry. Half of the range 10..19
    and half of the next, out of four ranges: one slot more.

    >>> leaf = MapleNode()
    >>> leaf.fill(LEAF_64, ["a", "b", "c", "d"], [9, 19, 29, 39])
    >>> slots_after(leaf, 10, 1, 2, 15, 24), slots_after(leaf, 10, 1, 2, 10, 29)
    (5, 3)
    """
    pivots = node.pivots
    return len(pivots) + offset - offset_end + (begin < first) + (last < pivots[offset_end])


def _first_entry(tree: TreeBody) -> Any:
    """What is at key 0."""
    node = tree.root
    while isinstance(node, MapleNode):
        node = node.slots[0]
    return node


def widen_null(mas: Cursor, node: MapleNode, offset_end: int) -> int:
    """Let the store of None swallow what is unset on both sides; gives the new last slot."""
    slots = node.slots
    pivots = node.pivots
    offset = mas.offset
    first_content = slots[offset]
    if slots[offset_end] is None:
        mas.last = pivots[offset_end]
    elif mas.last == pivots[offset_end] and offset_end + 1 < len(slots) and slots[offset_end + 1] is None:
        offset_end += 1
        mas.last = pivots[offset_end]
    begin = pivots[offset - 1] + 1 if offset else mas.low
    if first_content is None:
        mas.index = begin
    elif mas.index == begin and offset and slots[offset - 1] is None:
        mas.offset = offset - 1
        mas.index = pivots[offset - 2] + 1 if offset > 1 else mas.low
    return offset_end
