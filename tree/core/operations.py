"""The steps of the tree that other tasks can notice.

A tree that is not in RCU mode is one place: a look-up reads it, a store writes it, and the race detector
compares the two. So it is, too, for whoever holds the tree's lock. A lock-free reader in RCU mode goes word
by word, and so does a writer where such a reader looks; all these accesses are marked.

All are local, so that independent ones are not reordered (`concurrency.checks.dependence`). A reader keeps the lists
of a node and looks at their words between later steps on that node, so the place of these steps is the whole node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sugarbush.concurrency.core import Access, Fence, Operation, Runtime, active

if TYPE_CHECKING:
    from sugarbush.tree.core.body import TreeBody

# One field for the whole tree: which words a store without RCU touches depends on how full nodes are, and a race that
# is found only where two keys share a node would be found by luck.
READ_TREE: Final = Operation("maple_tree read", Access.READ, field="entries", local=True)
WRITE_TREE: Final = Operation("maple_tree write", Access.WRITE, field="entries", local=True)

LOAD_ROOT: Final = Operation("rcu_dereference ma_root", Access.ACQUIRE, field="root", local=True)
# A release store: the new nodes are filled by plain writes before it, which a reader must see once it has the
# address.
STORE_ROOT: Final = Operation("rcu_assign_pointer ma_root", Access.RELEASE, field="root", local=True)
LOAD_SLOT: Final = Operation("rcu_dereference slot", Access.ACQUIRE, field="slots", local=True, whole=True)
STORE_SLOT: Final = Operation(
    "rcu_assign_pointer slot", Access.RELEASE, field="slots", local=True, whole=True
)
LOAD_PIVOTS: Final = Operation("read pivots", Access.READ_ONCE, field="pivots", local=True, whole=True)
STORE_PIVOT: Final = Operation("write pivot", Access.WRITE_ONCE, field="pivots", local=True, whole=True)
LOAD_PARENT: Final = Operation(
    "ma_dead_node",
    Access.READ_ONCE,
    field="parent",
    word="up",
    before=Fence.RMB,
    local=True,
    whole=True,
)
"""What a reader has read of the node before is read before its parent word: if it is dead, that must not be used."""
STORE_PARENT: Final = Operation(
    "mas_set_parent", Access.WRITE_ONCE, field="parent", word="up", local=True, whole=True
)
MARK_DEAD: Final = Operation(
    "mte_set_node_dead",
    Access.WRITE_ONCE,
    field="parent",
    word="up",
    after=Fence.WMB,
    local=True,
    whole=True,
)
"""The mark reaches every reader before what the writer does to the node, and to its children, after it."""
# The callback head of a dead node lies over its first two pivots (`rcu` in struct maple_node); its slots stay
# readable for whoever is still in it.
LINK_DEAD: Final = Operation("ma_free_rcu", Access.WRITE_ONCE, field="pivots", local=True, whole=True)


def _is_mended(tree: TreeBody, _task: object) -> bool:
    return not tree.mending


def _mended(tree: TreeBody, _task: object, _arg: object) -> None:
    tree.mending = False


MENDED: Final = Operation("mas_adopt_children done", field="mending", effect=_mended, wakes=True, local=True)
RESTART: Final = Operation("mas_rewalk", field="mending", ready=_is_mended)
"""Between the dead mark on a node and the new parent words of its children, a reader that climbs from one of them
ends in the dead node again and again. The kernel's reader spins until the writer goes on; this one waits for it. The
mark that it waits for is set after `STORE_SLOT` or `STORE_ROOT`, so the wait is not local."""


def stepping(tree: TreeBody) -> Runtime | None:
    """The runtime, if lock-free readers may see the steps of a store."""
    return active.runtime if tree.rcu else None
