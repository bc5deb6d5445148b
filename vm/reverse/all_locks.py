"""Taking all locks under which somebody may look at an address space. Kernel: mm_take_all_locks(), mm/mmap.c, v6.6."""

from __future__ import annotations

from sugarbush.concurrency import Mutex, RwSemaphore
from sugarbush.concurrency.lowlevel import domain
from sugarbush.vm.files import is_vm_hugetlb_page
from sugarbush.vm.frames import NotifierSubscriptions, subscriptions_of
from sugarbush.vm.objects import MmStruct, VmArea
from sugarbush.vm.spaces import mmap_write_lock, mmap_write_unlock, vma_start_write


class AllLocks:
    """One task at a time takes all locks of an address space; kernel: mm_all_locks_mutex."""

    def __init__(self) -> None:
        self.mutex = Mutex("mm_all_locks_mutex")
        self.held: list[RwSemaphore] = []


def mm_take_all_locks(mm: MmStruct) -> None:
    """Take all rmap locks of the VMAs of `mm`, and lock the VMAs; needs mmap_lock for writing.

    Each lock once, those of files before those of anonymous memory. Others take only one of either kind, and whoever
    takes all does so under one mutex, so the order within a kind is free.
    """
    mm.mmap_lock.assert_held_write()
    locks = domain(AllLocks)
    # Two address spaces may have rmap locks in common, by a fork or a file, and would take them in different
    # orders.
    locks.mutex.lock()
    assert not locks.held, "mm_drop_all_locks() comes before the mutex is given back"
    vmas = _vmas(mm)
    for vma in vmas:
        # Faults that hold the lock of a VMA come before the rmap locks. Nothing here takes this back: see below.
        vma_start_write(vma)
    # Those of hugetlbfs are of a class that comes first (`vm.checks.lock_order`).
    for hugetlb in (True, False):
        for vma in vmas:
            if vma.vm_file is not None and is_vm_hugetlb_page(vma) is hugetlb:
                _take(locks, vma.vm_file.i_mmap_rwsem, mm)
    for vma in vmas:
        for avc in vma.anon_vma_chain:
            _take(locks, avc.anon_vma.root.rwsem, mm)


def mm_drop_all_locks(mm: MmStruct) -> None:
    """Give back the rmap locks; the VMAs stay locked.

    The lock of a VMA ends with mmap_lock, which the caller holds: he may have locked some of them before, and rely on
    it (since v6.6).
    """
    mm.mmap_lock.assert_held_write()
    locks = domain(AllLocks)
    # No end_write_all(): that is the mistake of drop-all-locks (Z68).
    while locks.held:
        locks.held.pop().up_write()
    locks.mutex.unlock()


def mmu_notifier_register(mm: MmStruct) -> NotifierSubscriptions:
    """Let devices mirror `mm` from now on. Takes mmap_lock for writing."""
    mmap_write_lock(mm)
    found = mmu_notifier_register_locked(mm)
    mmap_write_unlock(mm)
    return found


def mmu_notifier_register_locked(mm: MmStruct) -> NotifierSubscriptions:
    """As `mmu_notifier_register`; needs mmap_lock for writing. Kernel: __mmu_notifier_register().

    Nobody is between the two ends of a change meanwhile, of which he would say the second only.
    """
    subs = subscriptions_of(mm)
    if subs is None:
        mm_take_all_locks(mm)
        # A plain store will do: whoever reads it holds one of the locks that are held here.
        subs = mm.notifier_subscriptions = NotifierSubscriptions()
        mm_drop_all_locks(mm)
    return subs


def _vmas(mm: MmStruct) -> list[VmArea]:
    walk = mm.mm_mt.cursor()
    found = []
    while (vma := walk.find()) is not None:
        found.append(vma)
    return found


def _take(locks: AllLocks, lock: RwSemaphore, mm: MmStruct) -> None:
    # Once: a family of anon_vmas has one lock for all, and several VMAs may map one file.
    if not any(lock is held for held in locks.held):
        # Any number of one class at a time, which the validator allows since mmap_lock, held, keeps others
        # from the same.
        lock.down_write(nest_lock=mm.mmap_lock)
        locks.held.append(lock)
