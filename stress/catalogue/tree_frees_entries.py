"""A sub-tree that was stored over is freed later, by one callback after a grace period. The callback goes down the
dead nodes and must know of each whether what stands in its slots are nodes or entries. The walk that prepared it did
not set the type of every node, so the callback could take a leaf for an inner node, and its entries for nodes.

Then what the user of the tree had stored, in an address space its VMAs, was given to the allocator as if it were a
node: freed while it was in use. The fix sets the types while the tree is taken apart. That this was the way of it we
tell as far as we know.
"""

from __future__ import annotations

from typing import Any

from sugarbush.concurrency import Kind, KmemCache, Plain, Shared, rcu_barrier
from sugarbush.lockdep.model import GFP_KERNEL
from sugarbush.stress.kit import bug, patch
from sugarbush.tree import MAX, MapleTree
from sugarbush.tree.core import MapleNode, stepping
from sugarbush.tree.write import link_dead, mark_dead, publish


class Entry(Shared):
    """What is stored in the tree; `users` says how many use it."""

    users: Plain[int] = 1


entries = KmemCache("entry", Entry, object_size=64)


@patch(publish.destroy_subtree)
def destroy_subtree(tree: MapleTree[Any], top: MapleNode) -> None:
    """Free whatever stands in the slots below `top`, since nothing says that it is no node."""
    rt = stepping(tree)
    below: list[Any] = [top]
    for node in below:
        if isinstance(node, MapleNode):
            mark_dead(node, rt)
            below += [slot for slot in node.slots if slot is not None]
            link_dead(node, rt)
    tree.source.free_rcu(below)


@bug(
    "tree-frees-entries",
    id="Z16b",
    title="the callback that frees a sub-tree takes a leaf for an inner node",
    year=2023,
    versions="v6.1 to v6.2",
    fix="maple_tree: fix freeing of nodes in rcu mode",
    evidence="as far as we know",
    kind=Kind.USE_AFTER_FREE,
    check="use-after-free",
    patches=(destroy_subtree,),
    tasks=1,
    preemptions=0,
    era="6.6",
    observers=tuple,
)
def tree_frees_entries() -> None:
    """Store over a whole tree, and go on using what was stored in it before."""
    tree: MapleTree[Any] = MapleTree(rcu=True)
    stored = []
    for key in range(4):
        entry = entries.alloc(GFP_KERNEL)
        if entry is not None:
            tree.store_range(10 * key, 10 * key + 5, entry)
            stored.append(entry)
    tree.store_range(0, MAX, None)
    rcu_barrier()
    for entry in stored:
        entry.users -= 1
        entries.free(entry)
