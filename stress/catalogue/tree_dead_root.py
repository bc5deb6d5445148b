"""A walk begins at the root. In RCU mode the root may be on its way out when a reader loads it: replaced, marked
dead, its first pivots used to queue it for freeing. The walk did not look whether the root was dead before it began,
and took the end and the pivots of the node it started in as they were.

So a reader could be led astray by an address that stood where it expected a key, and be given an entry for a key that
nobody ever set. The walk now looks at the root first and starts again if it is dead, and no walk uses what it has
read of any node before it has looked. How the two repairs share the work we tell as far as we know.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from sugarbush.concurrency import Kind
from sugarbush.concurrency.core import Runtime
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.tree import SPAN, beside, build, load
from sugarbush.tree.api import MaState
from sugarbush.tree.core import LEAF_64, LOAD_PIVOTS, LOAD_ROOT, LOAD_SLOT, MAX, MapleNode, MapleStatus
from sugarbush.tree.read import check_alive, lookup


@patch(lookup.start)
def start(mas: MaState[Any], rt: Runtime | None) -> Any:
    """Leave START for whatever the root word says."""
    if mas.state is not MapleStatus.START:
        return None
    tree = mas.tree
    mas.low, mas.high, mas.offset = 0, MAX, 0
    mas.seen = tree.changes
    if rt is not None:
        rt.step(LOAD_ROOT, tree)
    root = tree.root
    if isinstance(root, MapleNode):
        mas.node = root
        mas.state = MapleStatus.ACTIVE
        return None
    mas.node = None
    mas.state = MapleStatus.NONE if root is None else MapleStatus.ROOT
    return None if mas.index else root


@patch(lookup.range_walk)
def range_walk(mas: MaState[Any], rt: Runtime | None) -> Any:
    """Walk down; each node is looked at when the walk comes to it, but the one that it starts in is not."""
    index, node, low, high = mas.index, mas.node, mas.low, mas.high
    while True:
        if rt is not None:
            rt.step(LOAD_PIVOTS, node)
        pivots = node.pivots
        offset = bisect_left(pivots, index)
        below = pivots[offset - 1] + 1 if offset else low
        above = pivots[offset]
        if rt is not None:
            rt.step(LOAD_SLOT, node)
        entry = node.slots[offset]
        if node.kind == LEAF_64:
            break
        check_alive(entry, rt)
        node, low, high = entry, below, above
    mas.node, mas.low, mas.high, mas.offset = node, low, high, offset
    mas.index, mas.last = below, above
    return entry


@bug(
    "tree-dead-root",
    id="Z16",
    title="a walk starts in a root that is dead",
    year=2023,
    versions="v6.1 to v6.2",
    fix="maple_tree: detect dead nodes in mas_start()",
    evidence="as far as we know",
    kind=Kind.CHECK,
    patches=(start, range_walk),
    tasks=2,
    preemptions=1,
    era="6.6",
    observers=tuple,
)
def tree_dead_root() -> None:
    """Look a key up that is never set, while the only leaf of a tree is replaced."""
    tree = build(8)
    beside(tree, [(32, 33, "new")], lambda: load(tree, SPAN, (None,)))
