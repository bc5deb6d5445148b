"""The maple tree: a map from ranges of 64-bit keys to entries, node for node as in Linux v6.6.

    tree = MapleTree(track_gaps=True, rcu=True, lock=mm.mmap_lock)
    mas = MaState(tree, first, last)

The normal interface is `MapleTree`: load, store, store_range, insert, insert_range, erase, find, find_after,
next, prev, alloc_range, alloc_rrange, alloc_cyclic, ranges, dup, destroy, set_in_rcu, clear_in_rcu, validate,
dump (and `draw` as SVG); and the operators of `RangeMapping`: ``tree[first:last] = entry`` (both ends
included), ``tree[i]``, del, in, iteration over (first, last, entry), len, ==.

The advanced interface is `MaState`, a cursor, for callers who hold the lock: walk, find, find_range,
find_rev, find_range_rev, next, next_range, prev, prev_range, store, store_gfp, insert_gfp, erase,
preallocate, store_prealloc, expected_entries, empty_area, empty_area_rev, set, set_range, reset, pause,
destroy. Its range is `index`..`last`.

What the maple tree replaced is `RbStore` (red-black tree, list, gaps, cache); `VmaStore` and `VmaCursor` are
the face that both have for address spaces.

NULL is None. Where the kernel returns an error number, both raise an exception of `tree.core.errors`.
"""

from sugarbush.tree.api import MapleTree, MaState
from sugarbush.tree.core import (
    MAX,
    ZERO_ENTRY,
    BadKey,
    BadRange,
    Busy,
    Corrupt,
    Exists,
    InternalEntry,
    LockKind,
    MapleStatus,
    NoGaps,
    NoMemory,
    NotLocked,
    ReservedEntry,
    StaleState,
    TreeError,
    TwoLocks,
    Unset,
)
from sugarbush.tree.show import draw
from sugarbush.tree.vma import RbState, RbStore, VmaCursor, VmaStore

__all__ = [
    "MAX",
    "ZERO_ENTRY",
    "BadKey",
    "BadRange",
    "Busy",
    "Corrupt",
    "Exists",
    "InternalEntry",
    "LockKind",
    "MaState",
    "MapleStatus",
    "MapleTree",
    "NoGaps",
    "NoMemory",
    "NotLocked",
    "RbState",
    "RbStore",
    "ReservedEntry",
    "StaleState",
    "TreeError",
    "TwoLocks",
    "Unset",
    "VmaCursor",
    "VmaStore",
    "draw",
]

if __name__ != "sugarbush.tree":
    raise ImportError(
        "import sugarbush.tree: the folder of the repository is a part of the package sugarbush"
    )
