"""A store over several leaves is put together from what is left of the leaf on its left edge and what is left of the
one on its right edge. The right edge is looked for from the node in which the store turned out to span, at the key
behind its last one. Where the store ends exactly where that node ends, there is no such key in it: the walk stops in
the last slot of the last leaf, whose entry the store has just replaced. Whether there is anything to keep was told by
that slot, not by the keys, so this entry was kept: behind the new one, at a range that ends before it begins.

It takes a tree of three levels, since in the root no store ends like that, and a store over what is there instead of
an unmapping first. The second is what mmap() did from v6.12 on (f8d112a4e657), and within weeks address spaces were
found in which a VMA that had been freed stood in the tree. The fix compares the leaf's last key with the store's.
"""

from __future__ import annotations

from typing import Any

from sugarbush.concurrency import Kind, KmemCache, Mutex, Plain, Shared, join, spawn
from sugarbush.lockdep.model import GFP_KERNEL
from sugarbush.stress.kit import bug, patch
from sugarbush.tree import MapleTree
from sugarbush.tree.core import NodeRange
from sugarbush.tree.write import BigNode, spanning

COUNT = 151
"""So many ranges side by side make three levels in a tree that tracks gaps: the root of one of two is full."""
STEP = 10


class Area(Shared):
    """What is stored in the tree, as VMAs are; `users` says how many use it."""

    users: Plain[int] = 1


areas = KmemCache("area", Area, object_size=64)


@patch(spanning._keep_behind)
def keep_behind(big: BigNode, right: NodeRange, last: int) -> None:
    """Keep what stands in the slot of the right edge, if there is such a slot."""
    del last
    if right.offset < len(right.node.slots):
        big.append(right.node, right.offset)


@bug(
    "tree-spanning-store",
    id="Z54",
    title="a store that ends where an inner node ends keeps the entry that it replaced",
    year=2024,
    versions="v6.1 to v6.12-rc3",
    cve="CVE-2024-50200",
    fix="maple_tree: correct tree corruption on spanning store",
    evidence="read",
    kind=Kind.USE_AFTER_FREE,
    check="use-after-free",
    patches=(keep_behind,),
    tasks=1,
    preemptions=0,
    era="6.6",
    observers=tuple,
)
def tree_spanning_store() -> None:
    """Map over all that an inner node of the tree holds, free what was there, and go over what is left."""
    lock = Mutex("mmap_lock")
    tree: MapleTree[Any] = MapleTree(track_gaps=True, lock=lock)
    lock.lock()
    for number in range(COUNT):
        tree.store_range(STEP * number, STEP * number + STEP - 1, number)
    assert tree.height == 3
    last = tree.root.slots[0].pivots[-1]
    area = areas.alloc(GFP_KERNEL)
    assert area is not None
    tree.store_range(last - STEP + 1, last, area)
    lock.unlock()

    def map_over_it() -> None:
        with lock:
            tree.store_range(STEP, last, "all in one")
            areas.free(area)

    def use_what_is_there() -> None:
        with lock:
            for _, _, entry in tree:
                if isinstance(entry, Area):
                    entry.users += 1

    join(spawn(map_over_it), spawn(use_what_is_there))
    use_what_is_there()
    with lock:
        tree.destroy()
