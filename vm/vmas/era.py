"""The eras that there are (`vm.objects.mm_types.Era`): of which kernel an address space is, as the components of it.

Nothing else in the model asks which era it is. Sources: mm/mmap.c of v5.19, v6.1 and v6.6. An era is what its
components are: of v6.15 it is the locks of VMAs and their memory, and all else is as in v6.6.
"""

from __future__ import annotations

from sugarbush.concurrency import ConcurrencyError, RwSemaphore, Spinlock
from sugarbush.tree import MapleTree, RbStore, VmaStore
from sugarbush.vm.faults import grow_under_read_lock, hold_mmap_lock, lock_counted_vma_or_mm, lock_vma_or_mm
from sugarbush.vm.objects import Era, VmArea
from sugarbush.vm.spaces import NONE, PER_VMA, REFCOUNTS
from sugarbush.vm.vmas.exit import tear_down_and_detach, tear_down_as_reader_first, tear_down_as_writer


class GrowingLock:
    """mmap_lock for writing, or for reading with page_table_lock on top: what a stack grew under up to v6.0."""

    def __init__(self, mmap_lock: RwSemaphore, page_table_lock: Spinlock) -> None:
        self._mmap_lock = mmap_lock
        self._page_table_lock = page_table_lock

    def held_by_me(self) -> bool:
        """Tell whether the calling task has mmap_lock, in either mode."""
        return self._mmap_lock.held_by_me()

    def assert_held(self) -> None:
        """Fail unless the calling task has mmap_lock, in either mode."""
        self._mmap_lock.assert_held()

    def assert_held_write(self) -> None:
        """Fail unless the calling task may store: by mmap_lock for writing, or as a stack that grows."""
        # page_table_lock keeps other stacks from growing at the same time. Readers, who have mmap_lock for
        # reading, are not kept out: v5.19 lets them see a border that has just moved.
        if self._page_table_lock.held_by_me():
            self._mmap_lock.assert_held()
        else:
            self._mmap_lock.assert_held_write()


def maple_tree(mmap_lock: RwSemaphore, _: Spinlock) -> VmaStore[VmArea]:
    """VMAs as v6.1 keeps them: a maple tree with gaps, not in RCU mode."""
    return MapleTree(track_gaps=True, lock=mmap_lock)


def rcu_maple_tree(mmap_lock: RwSemaphore, _: Spinlock) -> VmaStore[VmArea]:
    """VMAs as v6.6 keeps them: a maple tree that may be walked in an RCU reader, without the lock."""
    return MapleTree(track_gaps=True, rcu=True, lock=mmap_lock)


def rbtree_and_list(mmap_lock: RwSemaphore, page_table_lock: Spinlock) -> VmaStore[VmArea]:
    """VMAs as kernels up to v6.0 keep them: an augmented rbtree, a linked list, and a cache per task."""
    return RbStore(lock=GrowingLock(mmap_lock, page_table_lock))


# The row is a kernel; no other place in the model asks for a version. A new kernel is a new row, and a new
# component where it differs.
V5_19 = Era("5.19", rbtree_and_list, NONE, grow_under_read_lock, tear_down_as_writer)
V6_1 = Era("6.1", maple_tree, NONE, hold_mmap_lock, tear_down_as_reader_first)
V6_6 = Era("6.6", rcu_maple_tree, PER_VMA, lock_vma_or_mm, tear_down_as_reader_first)
V6_15 = Era("6.15", rcu_maple_tree, REFCOUNTS, lock_counted_vma_or_mm, tear_down_and_detach)
ERAS = {era.name: era for era in (V5_19, V6_1, V6_6, V6_15)}


def era_named(name: str) -> Era:
    """The era of this name; raises `ConcurrencyError`."""
    era = ERAS.get(name)
    if era is None:
        raise ConcurrencyError(f"no era is called {name!r}: there are {', '.join(ERAS)}")
    return era
