"""A store: find the leaf, decide how to change it, and change it.

The decisions are those of v6.6 (mas_wr_store_entry(), mas_wr_modify(), mas_insert(), mas_preallocate()), in
their order: a store into the root word; one that spans leaves; a new root; an exact fit (one slot changes);
too many slots (split); in place if no lock-free reader can look, or if only one boundary moves; too few slots
(rebalance); else a new leaf in the place of the old. Storing None unsets a range and first swallows the unset
ranges on either side, since two of them never stand side by side.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from sugarbush.tree.core import (
    LEAF_64,
    MAX,
    MIN_SLOTS,
    SLOTS,
    STORE_PIVOT,
    STORE_SLOT,
    Exists,
    MapleNode,
    MapleStatus,
    stepping,
)
from sugarbush.tree.read import reset, start
from sugarbush.tree.write.publish import replace_node, update_gap
from sugarbush.tree.write.rebalance import rebalance
from sugarbush.tree.write.roots import new_root, store_root
from sugarbush.tree.write.spanning import spanning_store
from sugarbush.tree.write.split import split
from sugarbush.tree.write.stash import need, take

if TYPE_CHECKING:
    from sugarbush.tree.core import Cursor, TreeBody

LEAF_SLOTS = SLOTS[LEAF_64]
LEAF_MIN = MIN_SLOTS[LEAF_64]
ACTIVE = MapleStatus.ACTIVE


def store_setup(mas: Cursor, entry: Any) -> None:
    """Send a cursor back to the root unless the store begins and ends in its node (`mas_wr_store_setup`)."""
    if mas.state is MapleStatus.START or mas.state is MapleStatus.ROOT:
        return
    node = mas.node
    if (
        node is None
        or not mas.low <= mas.index <= mas.last <= mas.high
        or (entry is None and node.kind == LEAF_64 and mas.last == mas.high)
    ):
        reset(mas)


def store(mas: Cursor, entry: Any) -> Any:
    """Store over the cursor's range; gives what was at its first key.

    Raises `NoMemory`, with nothing changed, if the nodes cannot be had without blocking.
    """
    content = start(mas, None)
    if mas.state is not ACTIVE:
        # Not what `start` gave: of a cursor that stands at ROOT already it does not look at the word.
        content = None if mas.index else mas.tree.root
        store_root(mas, entry)
        return content
    if not descend(mas, entry):
        return spanning_store(mas, entry)
    node = mas.node
    slots = node.slots
    pivots = node.pivots
    offset = mas.offset
    content = slots[offset]
    offset_end = bisect_left(pivots, mas.last, offset)
    if entry is None:
        offset_end = widen_null(mas, node, offset_end)
    if not mas.index and mas.last == MAX:
        new_root(mas, entry)
    else:
        _modify(mas, entry, offset_end)
    return content


def insert(mas: Cursor, entry: Any) -> None:
    """Store over the cursor's range if all of it is unset; raises `Exists` if not."""
    if start(mas, None) is not None:
        raise Exists(f"key {mas.index} is already set")
    if mas.state is not ACTIVE:
        store_root(mas, entry)
        return
    if not descend(mas, entry):
        raise Exists(f"a key of {mas.index}..{mas.last} is already set")
    offset = mas.offset
    if mas.node.slots[offset] is not None or mas.last > mas.node.pivots[offset]:
        raise Exists(f"a key of {mas.index}..{mas.last} is already set")
    if entry is not None:
        _modify(mas, entry, offset)


def descend(mas: Cursor, entry: Any) -> bool:
    """Walk to the leaf that holds the whole store; False at the node where it turns out to span several.

    Storing None up to the end of a leaf counts as spanning, since only the right-most leaf may end unset.
    """
    index = mas.index
    last = mas.last
    node = mas.node
    low = mas.low
    high = mas.high
    reaches = last if entry is None and last != MAX else last - 1
    while True:
        pivots = node.pivots
        offset = bisect_left(pivots, index)
        leaf = node.kind == LEAF_64
        above = pivots[offset]
        if reaches >= (high if leaf else above):
            within = False
            break
        if leaf:
            within = True
            break
        if offset:
            low = pivots[offset - 1] + 1
        high = above
        node = node.slots[offset]
    mas.node = node
    mas.low = low
    mas.high = high
    mas.offset = offset
    return within


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


def slots_after(mas: Cursor, node: MapleNode, offset_end: int) -> int:
    """How many slots the leaf would use after the store, less one (`mas_wr_new_end`)."""
    pivots = node.pivots
    offset = mas.offset
    begin = pivots[offset - 1] + 1 if offset else mas.low
    end = len(pivots) + 1 - (offset_end - offset)
    return end - (begin == mas.index) - (pivots[offset_end] == mas.last)


def in_leaf(
    node: MapleNode, begin: int, offset: int, offset_end: int, first: int, last: int, entry: Any
) -> tuple[list[Any], list[int]]:
    """What takes the place of the slots `offset`..`offset_end`, which begin at key `begin`, of a leaf.

    Gives slots and pivots: what is kept of the first old range, the entry, what is kept of the last.
    """
    slots = node.slots
    pivots = node.pivots
    end = pivots[offset_end]
    if begin < first:
        if last < end:
            return [slots[offset], entry, slots[offset_end]], [first - 1, last, end]
        return [slots[offset], entry], [first - 1, last]
    if last < end:
        return [entry, slots[offset_end]], [last, end]
    return [entry], [last]


def takes_largest_gap(node: MapleNode, low: int, offset: int, beyond: int) -> bool:
    """Whether storing an entry over the slots from `offset` to before `beyond` can change the leaf's largest gap.

    `low` is the leaf's first key. Gaps only shrink by it, so only the largest one matters, which the parent knows.
    """
    parent, slot = node.up
    if not isinstance(parent, MapleNode) or parent.gaps is None:
        return False
    largest = parent.gaps[slot]
    slots = node.slots
    pivots = node.pivots
    for at in range(offset, beyond):
        if slots[at] is None and pivots[at] - (pivots[at - 1] if at else low - 1) >= largest:
            return True
    return False


def may_be_small(tree: TreeBody, node: MapleNode, offset: int, count: int) -> bool:
    """Outside RCU mode a leaf with few slots is changed in place if it does not shrink, or is the root."""
    return count == len(node.slots) or offset == len(node.slots) - 1 or node.up[0] is tree


def _modify(mas: Cursor, entry: Any, offset_end: int) -> None:
    """Change the cursor's leaf, or exchange it, so that the cursor's range holds the entry."""
    tree = mas.tree
    node = mas.node
    slots = node.slots
    pivots = node.pivots
    offset = mas.offset
    begin = pivots[offset - 1] + 1 if offset else mas.low
    if begin == mas.index and pivots[offset] == mas.last:
        rt = stepping(tree)
        if rt is not None:
            rt.step(STORE_SLOT, node)
        had = slots[offset]
        slots[offset] = entry
        if (entry is None) is not (had is None):
            update_gap(tree, node, mas.low)
        return

    new_slots, new_pivots = in_leaf(node, begin, offset, offset_end, mas.index, mas.last, entry)
    beyond = offset_end + 1
    count = len(slots) + len(new_slots) - beyond + offset
    kept_before = begin < mas.index
    gap = tree.track_gaps and (entry is None or takes_largest_gap(node, mas.low, offset, beyond))
    if tree.rcu and count == len(slots) and beyond - offset == 2:
        _move_boundary(mas, entry, kept_before=kept_before)
        if gap:
            update_gap(tree, node, mas.low)
        return
    if not tree.rcu and count <= LEAF_SLOTS:
        roomy = count > LEAF_MIN or mas.bulk
        if roomy or may_be_small(tree, node, offset, count):
            slots[offset:beyond] = new_slots
            pivots[offset:beyond] = new_pivots
            mas.offset += kept_before
            if gap:
                update_gap(tree, node, mas.low)
            return

    new_slots = slots[:offset] + new_slots + slots[beyond:]
    new_pivots = pivots[:offset] + new_pivots + pivots[beyond:]
    if count > LEAF_SLOTS:
        split(mas, new_slots, new_pivots)
    elif count > LEAF_MIN or mas.bulk or node.up[0] is tree:
        need(mas, 1)
        new = take(mas)
        new.fill(LEAF_64, new_slots, new_pivots)
        new.up = node.up
        mas.node = new
        mas.offset += kept_before
        replace_node(mas, new, node)
        if gap:
            update_gap(tree, new, mas.low)
    else:
        rebalance(mas, new_slots, new_pivots)


def _move_boundary(mas: Cursor, entry: Any, *, kept_before: bool) -> None:
    """In RCU mode: the store takes one slot whole and a part of its neighbour, so one slot and one pivot change.

    Each key goes from old to new once, whichever of the two a reader sees first.
    """
    node = mas.node
    offset = mas.offset
    rt = stepping(mas.tree)
    mas.offset += kept_before
    if rt is not None:
        rt.step(STORE_SLOT, node)
    node.slots[mas.offset] = entry
    if rt is not None:
        rt.step(STORE_PIVOT, node)
    node.pivots[offset] = mas.index - 1 if kept_before else mas.last
