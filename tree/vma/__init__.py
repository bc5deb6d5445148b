"""The store of VMAs: the face that address spaces need, and the rbtree that kernels had before."""

from sugarbush.tree.vma.rbstate import RbState
from sugarbush.tree.vma.rbstore import RbStore
from sugarbush.tree.vma.vma_store import VmaCursor, VmaStore

__all__ = [
    "RbState",
    "RbStore",
    "VmaCursor",
    "VmaStore",
]
