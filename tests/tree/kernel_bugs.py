"""Functions that put a known bug into the tree: those of v6.6.87 that ours has not, and others that it once had.

Each is named after what is wrong and takes the place of the function given beside it, wherever that is bound.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from sugarbush.concurrency.core.operation import Access, Operation
from sugarbush.concurrency.core.runtime import Runtime
from sugarbush.lockdep.model.gfp import GFP_NOWAIT
from sugarbush.tree.core import StoreType
from sugarbush.tree.core.layout import LEAF_64, MAX, RANGE_64
from sugarbush.tree.core.node import DEAD, MapleNode
from sugarbush.tree.core.node_range import NodeRange
from sugarbush.tree.core.operations import MARK_DEAD, STORE_PIVOT, STORE_SLOT, stepping
from sugarbush.tree.read import climb, gaps, search
from sugarbush.tree.read.climb import DeadNode
from sugarbush.tree.write import preallocate, publish, spanning, stash, write
from sugarbush.tree.write.big import BigNode


def patch(monkeypatch: pytest.MonkeyPatch, original: Callable[..., Any], bug: Callable[..., Any]) -> None:
    """Put `bug` in the place of `original` in every module of the tree that has it by name."""
    places = [
        (module, name)
        for module in list(sys.modules.values())
        if getattr(module, "__name__", "").startswith("sugarbush.tree.")
        for name, value in vars(module).items()
        if value is original
    ]
    assert places
    for module, name in places:
        monkeypatch.setattr(module, name, bug)


# S1: mas_empty_area_rev() computes the room in a slot as last - min + 1, which is 0 for the whole key space.
_highest = gaps._highest


def s1_highest_passes_over_key_zero(
    mas: Any, node: MapleNode, start: int, low: int, high: int, size: int
) -> int | None:
    if start == 0 and high == MAX:
        kept = [node.pivots[0], *node.pivots[1:]]
        last = None
        for offset in range(len(kept) - 1, 0, -1):
            begin = node.pivots[offset - 1] + 1
            if node.gaps is None:
                fits = node.slots[offset] is None and node.pivots[offset] - max(begin, low) >= size - 1
                last = node.pivots[offset] if fits else None
            elif node.gaps[offset] >= size:
                last = _highest(mas, node.slots[offset], begin, low, high, size)
            if last is not None:
                return last
        return None
    return _highest(mas, node, start, low, high, size)


# S3: mas_preallocate() takes a NULL over exactly one range for an exact fit before it widens it.
_worst_case = preallocate.worst_case


def s3_exact_fit_before_widening(mas: Any, entry: Any) -> int:
    first, last = mas.index, mas.last
    count = _worst_case(mas, entry)
    node = mas.node
    if entry is None and node is not None and node.kind == LEAF_64 and count:
        ends = [mas.low - 1, *node.pivots]
        if first - 1 in ends and last in node.pivots and ends.index(first - 1) == node.pivots.index(last):
            return 0
    return count


# S4: clearing the metadata of a full node hits slot 15, whose low 16 bits are zeroed: a wrong address is freed.
_destroy_subtree = publish.destroy_subtree


def s4_frees_a_wrong_address(tree: Any, top: MapleNode) -> None:
    source = tree.source
    free_rcu = source.free_rcu

    def freed(nodes: list[MapleNode]) -> None:
        for parent in [node for node in nodes if node.kind == RANGE_64 and len(node.slots) == 16]:
            if parent.slots[15].kind == LEAF_64:
                nodes[nodes.index(parent.slots[15])] = MapleNode()
        free_rcu(nodes)

    source.free_rcu = freed
    try:
        _destroy_subtree(tree, top)
    finally:
        del source.free_rcu


# S5: in a tree of four levels the callback takes the metadata of an inner node with 15 children for a child.
def s5_follows_metadata(tree: Any, top: MapleNode) -> None:
    source = tree.source
    free_rcu = source.free_rcu

    def freed(nodes: list[Any]) -> None:
        found = [
            n for n in nodes if n.kind == RANGE_64 and len(n.slots) == 15 and n.slots[0].kind == RANGE_64
        ]
        free_rcu(nodes + [len(node.slots) - 1 for node in found if node is not top])

    source.free_rcu = freed
    try:
        _destroy_subtree(tree, top)
    finally:
        del source.free_rcu


# S6: swapped arguments on a path that nothing reaches; this one says so if it is reached.
_widen_null = spanning._widen_null


def s6_right_side_ends_at_the_store(mas: Any, left: NodeRange, right: NodeRange) -> None:
    pivot = right.node.pivots[right.offset]
    if right.content is not None and pivot == mas.last and pivot < right.high:
        raise AssertionError("mas_extend_spanning_null() reads a pivot by swapped arguments")
    _widen_null(mas, left, right)


# S7: mt_destroy_walk() marks the nodes that it descends through; a root that is a leaf is none of them.
def s7_root_leaf_stays_alive(tree: Any, top: MapleNode) -> None:
    if not tree.rcu or top.kind != LEAF_64 or not top.is_root:
        _destroy_subtree(tree, top)
        return
    tree.source.free_rcu([top])


# S8: with MA_STATE_PREALLOC set, mas_alloc_nodes() is content if anything is left.
_need = stash.need


def s8_content_with_what_is_left(mas: Any, count: int, gfp: int = GFP_NOWAIT) -> None:
    if not mas.stash:
        _need(mas, count, gfp)


# S9: in a bulk load, too, and then mas_pop_node() gives NULL.
def s9_takes_from_an_empty_stash(mas: Any) -> MapleNode:
    return mas.stash.pop()  # type: ignore[no-any-return]


def right_edge_told_by_the_slot(big: BigNode, right: NodeRange, last: int) -> None:
    """bea07fd63192 (CVE-2024-50200): what was stored over last is kept."""
    del last
    if right.offset < len(right.node.slots):
        big.append(right.node, right.offset)


_find_rev_setup = search._find_rev_setup


def reverse_search_passes_its_limit(mas: Any, limit: int, rt: Runtime | None) -> tuple[bool, Any]:
    """An active cursor at its limit goes on, and walks again if its node is dead."""
    if mas.is_active:
        return mas.index < limit, None
    return _find_rev_setup(mas, limit, rt)


def bulk_load_asks_for_the_worst_case(mas: Any, count: int, gfp: int = GFP_NOWAIT) -> None:
    """Each split of a bulk load wants what it can need at most, though what was taken ahead suffices."""
    bulk, mas.bulk = mas.bulk, False
    try:
        _need(mas, count, gfp)
    finally:
        mas.bulk = bulk


def null_is_not_widened_to_the_right(mas: Any, left: NodeRange, right: NodeRange) -> None:
    """A spanning store of None leaves what is unset behind it: two unset ranges in a row."""
    content = right.content
    _widen_null(mas, left, right)
    if content is None:
        right.offset -= 1
        mas.last = right.first - 1


def no_dead_mark(node: MapleNode, rt: Runtime | None) -> None:
    """The mark is forgotten: a parked reader goes on in what has left the tree."""


def no_dead_test(node: MapleNode, rt: Runtime | None) -> None:
    """Readers do not look at the mark."""


def no_grace_period(mas: Any, node: MapleNode) -> None:
    """A node is freed while readers may be in it."""
    mas.tree.source.free([node])


def dead_before_reachable(mas: Any, new: MapleNode, old: MapleNode, height: int) -> None:
    """72bcf4aa86ec: readers restart into the same dead node for as long as the writer is kept from running."""
    rt = stepping(mas.tree)
    if rt is not None:
        rt.step(MARK_DEAD, old)
    up = old.up
    old.up = (None, -1)
    publish.mark_dead(old, None)
    parent, slot = up
    if parent is mas.tree:
        publish.set_root(mas.tree, new, height)
        return
    if rt is not None:
        rt.step(STORE_SLOT, parent)
    parent.slots[slot] = new


_modify = write._modify


def node_reused(mas: Any, entry: Any, kind: StoreType, begin: int, offset_end: int) -> None:
    """A leaf is changed in place although lock-free readers look at it."""
    mas.tree.rcu = False
    try:
        _modify(mas, entry, kind, begin, offset_end)
    finally:
        mas.tree.rcu = True


def two_boundaries_in_place(mas: Any, entry: Any, kind: StoreType, begin: int, offset_end: int) -> None:
    """Both ends of a range move in place, one after the other."""
    rt = stepping(mas.tree)
    node, offset = mas.node, mas.offset
    grows = (
        offset_end - offset == 2 and node.pivots[offset] >= mas.index and node.pivots[offset_end] > mas.last
    )
    if rt is None or not grows:
        _modify(mas, entry, kind, begin, offset_end)
        return
    rt.step(STORE_SLOT, node)
    node.slots[offset + 1] = entry
    for slot, pivot in ((offset, mas.index - 1), (offset + 1, mas.last)):
        rt.step(STORE_PIVOT, node)
        node.pivots[slot] = pivot


_plain_mark = Operation(
    "mte_set_node_dead", Access.WRITE_ONCE, field="parent", word="up", local=True, whole=True
)
_plain_test = Operation("ma_dead_node", Access.READ_ONCE, field="parent", word="up", local=True, whole=True)
_plain_store = Operation("WRITE_ONCE slot", Access.WRITE_ONCE, field="slots", local=True, whole=True)


def z15_mark_without_wmb(node: MapleNode, rt: Runtime | None) -> None:
    """c13af03de46b: what the writer does to a dead node may be seen before the mark."""
    if rt is None:
        node.up = DEAD
    else:
        rt.store(_plain_mark, node, DEAD)


def z15_test_without_rmb(node: MapleNode, rt: Runtime | None) -> None:
    """Its companion: the mark may be read before what it is to guard."""
    if (node.up if rt is None else rt.load(_plain_test, node)) is DEAD:
        raise DeadNode


def publish_before_initialise(mas: Any, new: MapleNode, old: MapleNode, height: int) -> None:
    """A plain store where rcu_assign_pointer() belongs."""
    parent, slot = new.up
    rt = stepping(mas.tree)
    if rt is None or parent is mas.tree:
        _put_in_tree(mas, new, old, height)
        return
    rt.step(_plain_store, parent)
    parent.slots[slot] = new
    mas.tree.mending = new.kind != LEAF_64
    publish.mark_dead(old, rt)


_put_in_tree = publish.put_in_tree

TARGETS: dict[Any, Callable[..., Any]] = {
    s1_highest_passes_over_key_zero: gaps._highest,
    s3_exact_fit_before_widening: preallocate.worst_case,
    s4_frees_a_wrong_address: publish.destroy_subtree,
    s5_follows_metadata: publish.destroy_subtree,
    s6_right_side_ends_at_the_store: spanning._widen_null,
    s7_root_leaf_stays_alive: publish.destroy_subtree,
    s8_content_with_what_is_left: stash.need,
    s9_takes_from_an_empty_stash: stash._take_in_bulk,
    right_edge_told_by_the_slot: spanning._keep_behind,
    reverse_search_passes_its_limit: search._find_rev_setup,
    bulk_load_asks_for_the_worst_case: stash.need,
    null_is_not_widened_to_the_right: spanning._widen_null,
    no_dead_mark: publish.mark_dead,
    no_dead_test: climb.check_alive,
    no_grace_period: stash.discard,
    dead_before_reachable: publish.put_in_tree,
    z15_mark_without_wmb: publish.mark_dead,
    z15_test_without_rmb: climb.check_alive,
    publish_before_initialise: publish.put_in_tree,
    node_reused: write._modify,
    two_boundaries_in_place: write._modify,
}
