"""The locks of single VMAs, under which a page fault needs no mmap_lock. Kernel: include/linux/mm.h, v6.6.

A writer of mmap_lock locks each VMA that it changes by writing the number of its write section into the VMA; all of
them are unlocked at once when that number goes on. A reader holds the VMA's rw_semaphore. Three components say the
same to callers: `PER_VMA` since v6.4, `NONE` for the kernels before, where all of this is nothing, and the one of
`vm.spaces.vma_lock_refcnt` since v6.15.
"""

from __future__ import annotations

from typing import ClassVar

from sugarbush.concurrency import (
    READ_ONCE,
    WRITE_ONCE,
    KmemCache,
    RwSemaphore,
    call_rcu,
    rcu_read_lock,
    rcu_read_unlock,
    smp_load_acquire,
    smp_store_release,
)
from sugarbush.vm.objects import MmStruct, VmaLocks, VmArea
from sugarbush.vm.spaces.mm import mm_cache
from sugarbush.vm.spaces.vma import vma_cache, vma_is_anonymous


class NoVmaLocks:
    """Up to v6.3: whoever looks at a VMA holds mmap_lock."""

    cache: ClassVar[KmemCache[VmArea]] = vma_cache

    def make(self) -> RwSemaphore | None:
        """Give None: a VMA has no lock of its own."""
        return None

    def begin_write(self, mm: MmStruct) -> None:
        """Do nothing: mmap_lock says it all."""

    def start_write(self, vma: VmArea) -> None:
        """Do nothing: nobody looks at a VMA while mmap_lock is held for writing."""

    def end_write_all(self, mm: MmStruct) -> None:
        """Do nothing: no VMA is locked."""

    def mark_attached(self, vma: VmArea) -> None:
        """Do nothing: whoever finds a VMA in the tree has mmap_lock, so the VMA stays there."""

    def mark_detached(self, vma: VmArea) -> None:
        """Do nothing, for the same reason."""

    def held_by_me(self, vma: VmArea) -> bool:  # noqa: ARG002
        """Give False: a fault keeps its VMA by mmap_lock."""
        return False

    def free(self, vma: VmArea) -> None:
        """Free the VMA at once: a task that could still look at it would hold mmap_lock."""
        vma_cache.free(vma)

    def drop_mm(self, mm: MmStruct) -> None:
        """Free the address space: nobody else keeps it (mm_count is 1)."""
        mm_cache.free(mm)


class PerVmaLocks:
    """Since v6.4: a rw_semaphore in each VMA, and a number that says which VMAs are locked for writing."""

    cache: ClassVar[KmemCache[VmArea]] = vma_cache

    def begin_write(self, mm: MmStruct) -> None:
        """Do nothing: the number went on when the last write section ended, so no VMA has it yet."""

    def make(self) -> RwSemaphore | None:
        """Give the new VMA a lock of its own."""
        return RwSemaphore("vma->vm_lock")

    def start_write(self, vma: VmArea) -> None:
        """Wait for the readers, and leave the number that tells new ones to stay away."""
        vma.vm_mm.mmap_lock.assert_held_write()
        # Only a task that holds mmap_lock for writing, as the caller does, changes the number: so this is no
        # race.
        seq = READ_ONCE(vma.vm_mm, "mm_lock_seq")
        if READ_ONCE(vma, "vm_lock_seq") == seq:
            return
        lock = vma.vm_lock
        assert lock is not None
        # For the readers who are there. It is given back at once: from here on the number keeps new ones out.
        # So nobody has to remember which VMAs are locked in order to unlock them.
        lock.down_write()
        WRITE_ONCE(vma, "vm_lock_seq", seq)
        lock.up_write()

    def end_write_all(self, mm: MmStruct) -> None:
        """Go on to the next number; what was written to the VMAs is visible to whoever sees it."""
        mm.mmap_lock.assert_held_write()
        # Release: a reader that acquires the new number sees all that was changed under the old one. A plain
        # store could be seen before the flags of the VMA, and a fault would go by half of them
        # (mm-lock-seq-order, Z23).
        smp_store_release(mm, "mm_lock_seq", READ_ONCE(mm, "mm_lock_seq") + 1)

    def mark_attached(self, vma: VmArea) -> None:
        """Do nothing: up to v6.13 a new VMA is born attached."""

    def mark_detached(self, vma: VmArea) -> None:
        """Say that `vma` has left the tree, to readers who have found it there before and lock it only now."""
        vma.detached = True

    def held_by_me(self, vma: VmArea) -> bool:
        """Tell whether the calling task has the VMA's lock."""
        return vma.vm_lock is not None and vma.vm_lock.held_by_me()

    def free(self, vma: VmArea) -> None:
        """After a grace period: a reader may have found the VMA just before it left the tree."""
        # Not even the VMA's own lock could be touched else: it lies in the VMA.
        call_rcu(vma_cache.free, vma)

    def drop_mm(self, mm: MmStruct) -> None:
        """Free the address space: nobody else keeps it (mm_count is 1)."""
        mm_cache.free(mm)


NONE: VmaLocks[MmStruct, VmArea] = NoVmaLocks()
PER_VMA: VmaLocks[MmStruct, VmArea] = PerVmaLocks()


def vma_start_write(vma: VmArea) -> None:
    """Lock `vma` for changing it, until mmap_lock is given back or downgraded; needs mmap_lock for writing."""
    vma.vm_mm.era.vma_locks.start_write(vma)


def vma_mark_attached(vma: VmArea) -> None:
    """Say that `vma`, which is new, is in the tree, or is about to be where the store cannot fail. Needs
    mmap_lock for writing.
    """
    vma.vm_mm.era.vma_locks.mark_attached(vma)


def vma_mark_detached(vma: VmArea) -> None:
    """Say that `vma`, which is locked for writing, is in the tree no more. Needs mmap_lock for writing."""
    vma.vm_mm.era.vma_locks.mark_detached(vma)


def holds_vma_lock(vma: VmArea) -> bool:
    """The calling task keeps `vma` by the VMA's own lock, not by mmap_lock."""
    return vma.vm_mm.era.vma_locks.held_by_me(vma)


def vma_start_read(vma: VmArea) -> bool:
    """Try to lock `vma` for looking at it; False if it is locked for writing, or was a moment ago.

    The number is read a second time after the lock: a writer that came in between has left it by then.
    """
    mm, lock = vma.vm_mm, vma.vm_lock
    assert lock is not None
    # A first look, so that a fault does not hold up a writer for nothing. If it is wrong either way nothing
    # is lost: the second one decides, and a fault that is sent away takes mmap_lock.
    if READ_ONCE(vma, "vm_lock_seq") == READ_ONCE(mm, "mm_lock_seq"):
        return False
    # Only tried: a reader of RCU may not sleep. And its holder is a writer, for whom the VMA stays locked
    # until mmap_lock goes, long after this is given back.
    if not lock.down_read_trylock():
        return False
    if READ_ONCE(vma, "vm_lock_seq") == smp_load_acquire(mm, "mm_lock_seq"):
        lock.up_read()
        return False
    return True


def vma_end_read(vma: VmArea) -> None:
    """The end of a `vma_start_read` that succeeded."""
    assert vma.vm_lock is not None
    vma.vm_lock.up_read()


def lock_vma_under_rcu(mm: MmStruct, address: int) -> VmArea | None:
    """Find the VMA of `address` and lock it for reading, without mmap_lock; None on any doubt.

    A VMA without an anon_vma is left to mmap_lock, since `anon_vma_prepare` looks at its neighbours, and so are
    files, as up to v6.5. Whether it has one, its range and whether it is still in the tree are looked at after
    it is locked: before, all of them may change.
    """
    mas = mm.mm_mt.cursor(address)
    rcu_read_lock()
    while True:
        vma = mas.walk()
        if vma is None or not vma_start_read(vma):
            rcu_read_unlock()
            return None
        # Not before the VMA is locked: mremap() with MREMAP_DONTUNMAP may take the anon_vma away until then,
        # and the fault would look at neighbours that nothing protects (vma-lock-anon-vma, Z20).
        untouched = READ_ONCE(vma, "anon_vma") is None
        if untouched or not vma_is_anonymous(vma) or not vma.vm_start <= address < vma.vm_end:
            vma_end_read(vma)
            rcu_read_unlock()
            return None
        # Locked, but out of the tree: another VMA may have its range by now, so the tree is asked again, not
        # mmap_lock.
        if not READ_ONCE(vma, "detached"):
            rcu_read_unlock()
            return vma
        vma_end_read(vma)
        mas.set_range(address, address)
