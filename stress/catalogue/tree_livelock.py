"""To replace a node, the writer marked the old one dead first and put the new one into the tree after that. A reader
that meets a dead node starts again at the root, since by then, so the rule, the new node is what it will find. In
between it found the dead node again, and started again.

With the writer kept off its processor between the two steps, the reader spins for as long as that takes; on a real-
time kernel, where the reader may be what keeps the writer off, for ever. The fix exchanges the two steps.
"""

from __future__ import annotations

from typing import Any

from sugarbush.concurrency import Kind
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.tree import beside, build, load
from sugarbush.tree.api import MaState
from sugarbush.tree.core import DEAD, LEAF_64, MARK_DEAD, STORE_SLOT, MapleNode, stepping
from sugarbush.tree.write import publish


@patch(publish.put_in_tree)
def put_in_tree(mas: MaState[Any], new: MapleNode, old: MapleNode, height: int) -> None:
    """Mark `old` dead, then make `new` reachable in its place."""
    tree = mas.tree
    parent, slot = new.up
    rt = stepping(tree)
    if rt is None:
        old.up = DEAD
    else:
        rt.store(MARK_DEAD, old, DEAD)
    if parent is tree:
        publish.set_root(tree, new, height)
        return
    if rt is not None:
        rt.step(STORE_SLOT, parent)
    parent.slots[slot] = new
    tree.mending = rt is not None and new.kind != LEAF_64


@bug(
    "tree-livelock",
    id="Z17",
    title="readers restart into a node that is dead before its successor is reachable",
    year=2023,
    versions="v6.1 to v6.6",
    fix="maple_tree: reorder replacement of nodes to avoid live lock",
    evidence="read",
    kind=Kind.LIVELOCK,
    patches=(put_in_tree,),
    tasks=2,
    preemptions=1,
    era="6.6",
    observers=tuple,
)
def tree_livelock() -> None:
    """Look a key up while its leaf is replaced."""
    tree = build(20)
    beside(tree, [(50, 65, "wide")], lambda: load(tree, 50, (5, "wide")))
