"""The root word: how a tree without nodes takes a store, and how a store over all keys takes the tree.

Models mas_store_root(), mas_root_expand() and mas_new_root(), v6.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sugarbush.tree.core import LEAF_64, MAX, InternalEntry, MapleNode, MapleStatus, StoreType
from sugarbush.tree.read import reset
from sugarbush.tree.write.publish import destroy_subtree, set_root
from sugarbush.tree.write.stash import need, take

if TYPE_CHECKING:
    from sugarbush.tree.core import Cursor

STORE_ROOT = StoreType.STORE_ROOT
NEW_ROOT = StoreType.NEW_ROOT


def store_root(mas: Cursor, entry: Any) -> None:
    """Store into a tree without nodes: an entry at key 0 alone fits in the root word, all else takes a leaf."""
    tree = mas.tree
    if entry is None:
        if not mas.index:
            set_root(tree, None, 0)
        return
    # An entry in the root word must not look like a node. The kernel tells the two by the low bits, so an entry that
    # ends in binary 10, which its own marks do, gets a leaf; here only the height would tell.
    if mas.last == 0 and not isinstance(entry, InternalEntry):
        set_root(tree, entry, 0)
        reset(mas)
        return
    need(mas, STORE_ROOT.nodes(0))
    index = mas.index
    last = mas.last
    slots: list[Any] = []
    pivots: list[int] = []
    if index:
        if tree.root is not None:
            slots.append(tree.root)
            pivots.append(0)
        if index > 1 or not slots:
            slots.append(None)
            pivots.append(index - 1)
    mas.offset = len(slots)
    slots.append(entry)
    pivots.append(last)
    if last != MAX:
        slots.append(None)
        pivots.append(MAX)
    _plant(mas, slots, pivots)


def new_root(mas: Cursor, entry: Any) -> None:
    """Store over all keys: one leaf of one slot, or nothing, in the place of the whole tree."""
    tree = mas.tree
    old = tree.root
    if entry is None:
        set_root(tree, None, 0)
        reset(mas)
    else:
        need(mas, NEW_ROOT.nodes(tree.height))
        mas.offset = 0
        _plant(mas, [entry], [MAX])
    assert isinstance(old, MapleNode), "a tree without nodes takes every store in `store_root`"
    # After the new root is published: a reader that meets a dead node starts again, and must find another one.
    destroy_subtree(tree, old)


def _plant(mas: Cursor, slots: list[Any], pivots: list[int]) -> None:
    node = take(mas)
    node.fill(LEAF_64, slots, pivots)
    node.up = (mas.tree, 0)
    set_root(mas.tree, node, 1)
    mas.node = node
    mas.state = MapleStatus.ACTIVE
    mas.low = 0
    mas.high = MAX
