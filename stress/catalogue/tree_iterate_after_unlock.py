"""A cursor stands in a node. Whoever drops the lock between two steps of a walk, or walks under RCU beside a writer,
may find that this node has left the tree meanwhile: it is dead, and what the next step reads of it is old, or is no
longer what it was. mas_next() and mas_prev() read the end of the node first and looked whether it was dead after they
had used that; other callers went on with a cursor that nobody had paused.

The rule since: look whether the node is dead after each read of it and before anything is done with what was read,
and pause or reset a cursor before the lock is dropped. A walk that does not look goes on in the past, and passes over
what was there all the time.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind
from sugarbush.concurrency.core import Runtime
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.tree import beside, build, walk_up
from sugarbush.tree.core import MapleNode
from sugarbush.tree.read import climb


@patch(climb.check_alive)
def check_alive(node: MapleNode, rt: Runtime | None) -> None:
    """What was read is used as it is."""


@bug(
    "tree-iterate-after-unlock",
    id="Z16c",
    title="a cursor goes on in a node that has left the tree",
    year=2023,
    versions="v6.1 to v6.3",
    fix="maple_tree: fix potential rcu issue",
    evidence="as far as we know",
    kind=Kind.CHECK,
    patches=(check_alive,),
    tasks=2,
    preemptions=1,
    era="6.6",
    observers=tuple,
)
def tree_iterate_after_unlock() -> None:
    """Walk over a leaf while it is replaced."""
    tree = build(12)
    always = {1, 2, 4, 5, 6, 7, 8}
    beside(tree, [(33, 33, "new")], lambda: walk_up(tree, 0, 89, always))
