"""The nodes that a cursor has taken ahead.

A store first takes as many nodes as it can need in the worst case, then changes the tree, then gives back
what is left; so a failing allocation changes nothing. Outside RCU mode the nodes that a store replaces go to
the stash too and are used again at once. Models mas_node_count_gfp(), mas_alloc_nodes() and mas_nomem(),
v6.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sugarbush.concurrency.core import Runtime
from sugarbush.lockdep.model import GFP_NOWAIT, GFP_NOWARN, gfpflags_allow_blocking
from sugarbush.tree.core import ADDRESS, LINK_DEAD, MapleNode, NoMemory, stepping

if TYPE_CHECKING:
    from sugarbush.tree.core import Cursor

CHUNK = 30
"""How many nodes one allocation node of the kernel holds (MAPLE_ALLOC_SLOTS); a bulk allocation asks for no more.

Kept since programs can tell: each batch is one call of the allocator, which may fail by itself.
"""


def need(mas: Cursor, count: int, gfp: int = GFP_NOWAIT | GFP_NOWARN) -> None:
    """Have at least `count` nodes in the stash, or raise `NoMemory` and remember how many are missing.

    Plain nodes never run out, so none is made before it is used. A bulk load goes on with what `expected_entries` has
    taken, as long as anything is left of it (MA_STATE_PREALLOC in mas_alloc_nodes()).
    """
    missing = count - len(mas.stash)
    if missing <= 0 or mas.tree.plain:
        return
    if mas.bulk:
        # The worst case of one store is more than what remains for all that are still to come: to ask for it, as every
        # other store does, would allocate in the middle of a load whose nodes were paid for before it began.
        mas.in_work = []
        if mas.stash:
            return
    mas.requested = missing
    _allocate(mas, gfp)


def take(mas: Cursor) -> MapleNode:
    """A node out of the stash, which `need` has filled."""
    if mas.tree.plain:
        return MapleNode()
    return _take_in_bulk(mas) if mas.bulk else mas.stash.pop()


def _take_in_bulk(mas: Cursor) -> MapleNode:
    """A node for a store of a bulk load, which may be one more than are left if more is stored than was announced.

    Then the kernel writes through a null pointer. Nothing is published before a store has all of its nodes, so those
    that it has taken go back into the stash, and it fails as any other: `NoMemory`, with nothing changed.
    """
    node = mas.stash.pop() if mas.stash else mas.tree.source.alloc(GFP_NOWAIT | GFP_NOWARN)
    if node is None:
        mas.stash += mas.in_work
        mas.in_work = []
        raise NoMemory("no memory for a node of the tree: more is stored than expected_entries() was told")
    mas.in_work.append(node)
    return node


def _allocate(mas: Cursor, gfp: int) -> None:
    source = mas.tree.source
    stash = mas.stash
    # The first one alone, as in mas_alloc_nodes(), where it is the head of the list that the others are kept in.
    if not stash:
        node = source.alloc(gfp)
        if node is None:
            raise NoMemory("no memory for a node of the tree")
        stash.append(node)
        mas.requested -= 1
    while mas.requested:
        taken = source.alloc_bulk(gfp, min(mas.requested, CHUNK))
        if not taken:
            raise NoMemory(f"no memory for {mas.requested} more nodes of the tree")
        stash += taken
        mas.requested -= len(taken)


def retry(mas: Cursor, gfp: int) -> bool:
    """After `NoMemory`: take what is missing by the caller's flags, without the tree's own lock if they may sleep.

    Says whether the store is worth another try, which must begin at the root: the tree may have changed
    meanwhile.
    """
    had = len(mas.stash)
    unlock = gfpflags_allow_blocking(gfp)
    if unlock:
        mas.tree.drop_lock()
    try:
        _allocate(mas, gfp)
    except NoMemory:
        # The kernel tries again for as long as it holds any node, though with no more than before it must fail again.
        return len(mas.stash) > had
    finally:
        if unlock:
            mas.tree.retake_lock()
    return True


def give_back(mas: Cursor) -> None:
    """Return what is left to where it came from."""
    mas.requested = 0
    if mas.stash:
        nodes, mas.stash = mas.stash, []
        mas.tree.source.free(nodes)


def link_dead(node: MapleNode, rt: Runtime | None) -> None:
    """Use a dead node for the list of those to free, as `ma_free_rcu` does: its first pivot is an address now.

    A reader that is still in the node finds the address where it expects a key.
    """
    if rt is not None:
        rt.step(LINK_DEAD, node)
        node.pivots = [ADDRESS, *node.pivots[1:]]


def discard(mas: Cursor, node: MapleNode) -> None:
    """A node has left the tree: free it after a grace period in RCU mode, else keep it for the next use."""
    if mas.tree.rcu:
        link_dead(node, stepping(mas.tree))
        mas.tree.source.free_rcu([node])
    elif not mas.tree.plain:
        mas.stash.append(node)
