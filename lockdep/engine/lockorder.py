"""Lock orders as data: told to a validator before anything ran, so that the first violation shows.

The kernel does the same at boot, with maps that nothing else would take in this order so early (dma-resv.c).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sugarbush.lockdep.model import LockMap

if TYPE_CHECKING:
    from sugarbush.lockdep.engine.validator import Lockdep

MM_LOCK_ORDER: Final = (
    (
        "inode->i_rwsem",
        "mm->mmap_lock",
        "mapping->invalidate_lock",
        "folio_lock",
        "mapping->i_mmap_rwsem",
        "anon_vma->rwsem",
        "pte_lock",
    ),
    ("anon_vma->rwsem", "tasklist_lock", "pte_lock"),
    ("pte_lock", "swap_lock", "mmlist_lock"),
    ("pte_lock", "mapping->private_lock", "mapping->i_pages"),
    ("pte_lock", "memcg->move_lock"),
    ("pte_lock", "lruvec->lru_lock"),
    ("pte_lock", "inode->i_lock"),
    ("pte_lock", "bdi.wb->list_lock", "sb_lock", "mapping->i_pages"),
)
"""The order at the top of mm/rmap.c (v6.6), as stacks from the outermost lock to the innermost."""


def prime(lockdep: Lockdep, order: Sequence[tuple[LockMap, int]]) -> None:
    """Takes locks in order, each in its read mode, and releases them: the order is known from now on."""
    # By taking them, not by adding edges: what is learnt so is checked like all else, and an order that contradicts
    # itself is reported here.
    for lock_map, read in order:
        lockdep.acquire(lock_map, read=read)
    for lock_map, _ in reversed(order):
        lockdep.release(lock_map)
