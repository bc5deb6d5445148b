"""Where nodes come from and where they go: the one seam between the tree and memory.

Outside an execution nodes are ordinary Python objects. Inside one they come from the slab cache
``maple_node`` (so an allocation may sleep, enter reclaim, or fail, and a node that is touched after it was
freed is a failure) and, in RCU mode, go back after a grace period.
"""

from __future__ import annotations

from typing import Protocol

from sugarbush.concurrency.core import active
from sugarbush.concurrency.memory import KmemCache
from sugarbush.concurrency.rcu import call_rcu
from sugarbush.tree.core.layout import NODE_SIZE
from sugarbush.tree.core.node import MapleNode


class NodeSource(Protocol):
    """What the tree asks of memory."""

    def alloc(self, gfp: int) -> MapleNode | None:
        """One node, or None if there is no memory."""

    def alloc_bulk(self, gfp: int, count: int) -> list[MapleNode]:
        """`count` nodes, or an empty list if there is no memory for all of them."""

    def free(self, nodes: list[MapleNode]) -> None:
        """Take back nodes that no reader can reach."""

    def free_rcu(self, nodes: list[MapleNode]) -> None:
        """Take back nodes, by one callback, after a grace period."""


class PlainNodes:
    """Python objects, which are never out of memory and are freed when nobody refers to them."""

    def alloc(self, gfp: int) -> MapleNode | None:
        """Make one, whatever the flags: Python reclaims by itself."""
        del gfp
        return MapleNode()

    def alloc_bulk(self, gfp: int, count: int) -> list[MapleNode]:
        """Make `count`, never fewer."""
        del gfp
        return [MapleNode() for _ in range(count)]

    def free(self, nodes: list[MapleNode]) -> None:
        """Nothing: a node goes when the last reference to it does."""

    def free_rcu(self, nodes: list[MapleNode]) -> None:
        """Nothing: a parked cursor refers to its node, which is all that a grace period is for."""


class SlabNodes:
    """The slab cache ``maple_node`` of the execution."""

    def __init__(self) -> None:
        self.cache = KmemCache("maple_node", MapleNode, object_size=NODE_SIZE, stepped=True)

    def alloc(self, gfp: int) -> MapleNode | None:
        """Take one from the cache, which may sleep in reclaim or fail, as the flags say."""
        return self.cache.alloc(gfp)

    def alloc_bulk(self, gfp: int, count: int) -> list[MapleNode]:
        """Take `count`, or none of them (`kmem_cache_alloc_bulk`)."""
        return self.cache.alloc_bulk(gfp, count)

    def free(self, nodes: list[MapleNode]) -> None:
        """Give them back one by one: who touches one of them from now on is reported."""
        for node in nodes:
            self.cache.free(node)

    def free_rcu(self, nodes: list[MapleNode]) -> None:
        """Give them back when all readers of now have ended; one callback, as the kernel's for a whole sub-tree."""
        call_rcu(self.free, nodes)


# Two objects for the whole process. The tree asks `source is PLAIN` to know that nobody counts its nodes; and the cache
# keeps what it holds in the execution under way, not in itself, so that executions do not see each other's nodes.
PLAIN = PlainNodes()
_slab = SlabNodes()


def default_source() -> NodeSource:
    """The slab cache inside an execution, plain objects outside."""
    return PLAIN if active.runtime is None else _slab
