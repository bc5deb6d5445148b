"""What must hold at every moment: the invariants of page tables, VMAs and rmap, and the order of the locks. They only
look.
"""

from sugarbush.vm.checks.invariants import (
    EVERYTHING,
    Part,
    coverage,
    heap,
    huge_in_vma,
    leaf_entries,
    mapcounts,
    mapped,
    rights,
    shared_in_vma,
    stale_translations,
    swap_counts,
    vma_index,
)
from sugarbush.vm.checks.lock_order import LockOrder
from sugarbush.vm.checks.rmap_invariants import an_rmap_lock_is_free, anon_vma_chain, interval_tree

__all__ = [
    "EVERYTHING",
    "LockOrder",
    "Part",
    "an_rmap_lock_is_free",
    "anon_vma_chain",
    "coverage",
    "heap",
    "huge_in_vma",
    "interval_tree",
    "leaf_entries",
    "mapcounts",
    "mapped",
    "rights",
    "shared_in_vma",
    "stale_translations",
    "swap_counts",
    "vma_index",
]
