"""A store: have its kind decided, and do it.

Which kind it is says `tree.write.decide`; here stands what is done for each: in the root word (`tree.write.roots`),
over several leaves (`tree.write.spanning`), or in one. Models mas_wr_store_entry(), mas_wr_modify() and mas_insert(),
v6.6. Storing None unsets a range and first takes in the unset ranges on either side, since two of them never stand
side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sugarbush.tree.core import (
    LEAF_64,
    STORE_PIVOT,
    STORE_SLOT,
    Exists,
    MapleNode,
    MapleStatus,
    StoreType,
    stepping,
)
from sugarbush.tree.read import reset, start
from sugarbush.tree.write.decide import store_type
from sugarbush.tree.write.publish import replace_node, update_gap
from sugarbush.tree.write.rebalance import rebalance
from sugarbush.tree.write.roots import new_root, store_root
from sugarbush.tree.write.spanning import spanning_store
from sugarbush.tree.write.split import split
from sugarbush.tree.write.stash import need, take

if TYPE_CHECKING:
    from sugarbush.tree.core import Cursor

NEW_ROOT = StoreType.NEW_ROOT
SPANNING_STORE = StoreType.SPANNING_STORE
EXACT_FIT = StoreType.EXACT_FIT
SLOT_STORE = StoreType.SLOT_STORE
SPLIT_STORE = StoreType.SPLIT_STORE
REBALANCE = StoreType.REBALANCE
IN_PLACE = (StoreType.NODE_STORE, SLOT_STORE, StoreType.APPEND)
"""What changes the leaf itself while no reader can be in it; the commonest first."""


def store_setup(mas: Cursor, entry: Any) -> None:
    """Send a cursor that has left START back to the root, unless the store begins and ends in its node.

    `mas_wr_store_setup`, v6.6. At ROOT there is no node to be in.
    """
    if mas.state is MapleStatus.ROOT:
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
    kind, content, begin, offset_end = store_type(mas, entry)
    if mas.planned is not None:
        _as_planned(mas, entry, kind)
    if offset_end >= 0:
        _modify(mas, entry, kind, begin, offset_end)
    elif kind is SPANNING_STORE:
        return spanning_store(mas, entry)
    elif kind is NEW_ROOT:
        new_root(mas, entry)
    else:
        start(mas, None)
        store_root(mas, entry)
    return content


def _as_planned(mas: Cursor, entry: Any, kind: StoreType) -> None:
    """The other half of `worst_case`: nodes were counted for one kind of store, and this must be it.

    Unless the plan was made for another range or another tree; then the nodes taken may be too few, or of no use, and
    the store asks for what it needs, as any other.
    """
    planned, mas.planned = mas.planned, None
    assert planned is not None
    tree = mas.tree
    if planned == (planned[0], mas.index, mas.last, entry is None, tree.rcu, tree.changes):
        assert planned[0] is kind, f"nodes were taken for a {planned[0].value}, and it is a {kind.value}"


def insert(mas: Cursor, entry: Any) -> None:
    """Store over the cursor's range if all of it is unset; raises `Exists` if not."""
    first = mas.index
    last = mas.last
    kind, content, begin, offset_end = store_type(mas, entry)
    if entry is None:
        mas.index = first  # nothing will change, so the cursor's range has no reason to be widened
        mas.last = last
    # All that is unset lies in one slot, since two unset ranges never stand side by side: a store that goes on behind
    # it, or behind the leaf, meets an entry. So does one over all keys, where there are nodes at all.
    if content is not None or kind is SPANNING_STORE or kind is NEW_ROOT or mas.offset < offset_end:
        raise Exists(f"a key of {first}..{last} is already set")
    if offset_end < 0:
        start(mas, None)
        store_root(mas, entry)
    elif entry is not None:
        _modify(mas, entry, kind, begin, offset_end)


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


def takes_largest_gap(node: MapleNode, begin: int, offset: int, beyond: int) -> bool:
    """Whether storing an entry over the slots from `offset` to before `beyond` can change the leaf's largest gap.

    `begin` is the first key of slot `offset`. Gaps only shrink by it, so only the largest one matters, which the
    parent knows.
    """
    parent, slot = node.up
    if not isinstance(parent, MapleNode) or parent.gaps is None:
        return False
    largest = parent.gaps[slot]
    slots = node.slots
    pivots = node.pivots
    for at in range(offset, beyond):
        if slots[at] is None and pivots[at] - (pivots[at - 1] if at > offset else begin - 1) >= largest:
            return True
    return False


def _modify(mas: Cursor, entry: Any, kind: StoreType, begin: int, offset_end: int) -> None:
    """Do a store of this kind in the cursor's leaf, from the cursor's slot, which begins at key `begin`, on."""
    tree = mas.tree
    node = mas.node
    slots = node.slots
    pivots = node.pivots
    offset = mas.offset
    if kind is EXACT_FIT:
        rt = stepping(tree)
        if rt is not None:
            rt.step(STORE_SLOT, node)
        had = slots[offset]
        slots[offset] = entry
        if (entry is None) is not (had is None):
            update_gap(tree, node, mas.low)
        return

    beyond = offset_end + 1
    kept_before = begin < mas.index
    # Asked now: a store in place changes what the question looks at.
    gap = tree.track_gaps and (entry is None or takes_largest_gap(node, begin, offset, beyond))
    if kind is SLOT_STORE and tree.rcu:
        _move_boundary(mas, entry, kept_before=kept_before)
        if gap:
            update_gap(tree, node, mas.low)
        return
    new_slots, new_pivots = in_leaf(node, begin, offset, offset_end, mas.index, mas.last, entry)
    if not tree.rcu and kind in IN_PLACE:
        # Nobody reads without the lock, so there is nobody for whom an old leaf would have to stay whole. The kernel
        # builds a node store on the stack and copies it back; the outcome is the same, and a list does it by itself.
        slots[offset:beyond] = new_slots
        pivots[offset:beyond] = new_pivots
        mas.offset += kept_before
        if gap:
            update_gap(tree, node, mas.low)
        return

    new_slots = slots[:offset] + new_slots + slots[beyond:]
    new_pivots = pivots[:offset] + new_pivots + pivots[beyond:]
    if kind is SPLIT_STORE:
        split(mas, new_slots, new_pivots)
    elif kind is REBALANCE:
        rebalance(mas, new_slots, new_pivots)
    else:
        need(mas, kind.nodes(tree.height))
        new = take(mas)
        new.fill(LEAF_64, new_slots, new_pivots)
        new.up = node.up
        mas.node = new
        mas.offset += kept_before
        replace_node(mas, new, node)
        if gap:
            update_gap(tree, new, mas.low)


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
