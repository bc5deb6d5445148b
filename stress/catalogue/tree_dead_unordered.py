"""A dead node's pivots are used again, to link the nodes that wait to be freed. A reader that is still in the node must
see the mark that says it is dead before it can see such an address where it expects a key. In two places the node was
marked without the write barrier that orders the two; on the readers' side the read barrier before the test was missing.

On a machine that reorders stores, a reader then takes a pointer for a pivot: it is told that nothing is there, or goes
to the wrong slot, and finds the node alive when it looks. Run one step after the other the code is right, so only weak
memory shows it.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind
from sugarbush.concurrency.core import Runtime
from sugarbush.concurrency.lowlevel import Access, Operation
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.tree import SPAN, beside, build, load
from sugarbush.tree.core import DEAD, MapleNode
from sugarbush.tree.write import publish

MARK = Operation("mte_set_node_dead", Access.WRITE_ONCE, field="parent", word="up", local=True, whole=True)


@patch(publish.mark_dead)
def mark_dead(node: MapleNode, rt: Runtime | None) -> None:
    """Mark the node, with nothing after it."""
    if rt is None:
        node.up = DEAD
    else:
        rt.store(MARK, node, DEAD)


@bug(
    "tree-dead-unordered",
    id="Z15",
    title="the mark of a dead node is not ordered before the reuse of its pivots",
    year=2023,
    versions="v6.1 to v6.2",
    fix="maple_tree: fix write memory barrier of nodes once dead for RCU mode",
    evidence="read",
    kind=Kind.CHECK,
    patches=(mark_dead,),
    tasks=2,
    preemptions=1,
    era="6.6",
    memory="weak",
    observers=tuple,
)
def tree_dead_unordered() -> None:
    """Look a key up that is never set, while the leaf that it would be in is replaced."""
    tree = build(8)
    beside(tree, [(32, 33, "new")], lambda: load(tree, SPAN, (None,)))
