"""The maple tree: a map from ranges of 64-bit keys to entries, node for node as in Linux v6.6.

    from tree import MapleTree, MaState
    tree = MapleTree(track_gaps=True, rcu=True, lock=mm.mmap_lock)

The normal interface is `MapleTree`: load, store, store_range, insert, insert_range, erase, find, find_after,
next, prev, alloc_range, alloc_rrange, destroy, iteration over (first, last, entry). The advanced one is
`MaState`, a cursor: walk, find, find_range, find_rev, find_range_rev, next, next_range, prev, prev_range,
store, store_gfp, insert_gfp, erase, preallocate, store_prealloc, empty_area, empty_area_rev, set, set_range,
reset, pause, destroy; its range is `index`..`last`. Where the kernel returns an error number, both raise an
exception of `tree.errors`.
"""

from tree.cursor import State
from tree.entries import ZERO_ENTRY, InternalEntry
from tree.errors import (
    BadKey,
    BadRange,
    Busy,
    Corrupt,
    Exists,
    NoGaps,
    NoMemory,
    NotLocked,
    ReservedEntry,
    StaleState,
    TreeError,
)
from tree.layout import MAX
from tree.maple import MapleTree
from tree.state import MaState

__all__ = [
    "MAX",
    "ZERO_ENTRY",
    "BadKey",
    "BadRange",
    "Busy",
    "Corrupt",
    "Exists",
    "InternalEntry",
    "MaState",
    "MapleTree",
    "NoGaps",
    "NoMemory",
    "NotLocked",
    "ReservedEntry",
    "StaleState",
    "State",
    "TreeError",
]
