"""Write protection by userfaultfd. Kernel: mwriteprotect_range() in mm/userfaultfd.c and fs/userfaultfd.c, v6.1.

The protection is a bit of the entry. It stays when the page is moved, swapped out, or, of a file, reclaimed
(`vm.objects.pgtable_types.Marker`), and when a huge page is split. A fork gives it to the child only if the monitor
hears of forks (`vm.faults.uffd_copy`), mremap never (UFFD_FEATURE_EVENT_REMAP is not modelled).

Simpler here: the monitor is not told of a store to a protected page. The store waits until somebody takes the
protection away, as a thread sleeps until UFFDIO_WRITEPROTECT wakes it. A VMA is registered as a whole. Any file may be
protected that is not of hugetlbfs, as only shmem may in v6.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sugarbush.concurrency import READ_ONCE, might_sleep, trace
from sugarbush.concurrency.lowlevel import Access, Operation, perform
from sugarbush.vm.files import is_vm_hugetlb_page
from sugarbush.vm.frames import (
    MmuGather,
    addresses,
    flush_tlb_batched_pending,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
    pmdp_get,
    pte_alloc,
    ptep_change,
    ptep_get,
    ptep_get_and_clear,
    set_pmd,
    set_pte,
    tlb_finish_mmu,
    tlb_gather_mmu,
    tlb_remove_tlb_entry,
    userfaultfd_wp,
)
from sugarbush.vm.huge import change_pmd_bits, is_leaf, split_huge_pmd
from sugarbush.vm.objects import (
    EAGAIN,
    EFAULT,
    PAGE_SIZE,
    PTE_UFFD_WP,
    PTE_WRITE,
    VM_UFFD_WP,
    Marker,
    Migration,
    MmStruct,
    PageTable,
    Present,
    Swap,
    VmArea,
)
from sugarbush.vm.spaces import (
    mmap_read_lock,
    mmap_read_unlock,
    mmap_write_lock,
    mmap_write_unlock,
    vma_is_anonymous,
    vma_lookup,
    vma_set_page_prot,
    vma_start_write,
)

if TYPE_CHECKING:
    from sugarbush.concurrency import Task


def userfaultfd_register(mm: MmStruct, address: int) -> int:
    """Let the VMA of `address` be write-protected page by page; 0 or -EFAULT. Takes mmap_lock for writing."""
    mmap_write_lock(mm)
    vma = vma_lookup(mm, address)
    result = EFAULT
    if vma is not None and not is_vm_hugetlb_page(vma):
        # Since v6.4 a fault may hold only the VMA's lock: what it read of the flags must stay so until it is done.
        vma_start_write(vma)
        vma.vm_flags |= VM_UFFD_WP
        # With the flag, in one section: from here on no new entry of a shared mapping is writable at once
        # (uffd-wp-writenotify, Z72).
        vma_set_page_prot(vma)
        result = 0
    mmap_write_unlock(mm)
    return result


def userfaultfd_unregister(mm: MmStruct, address: int) -> int:
    """Take the protection away from all of the VMA of `address`, for good; 0 or -EFAULT. Takes mmap_lock for writing.

    Whoever waits there is woken. The flags go last: what is protected must have a VMA that says so, up to the end.
    """
    mmap_write_lock(mm)
    vma = vma_lookup(mm, address)
    registered = vma is not None and bool(vma.vm_flags & VM_UFFD_WP)
    if vma is not None and registered:
        vma_start_write(vma)
        start, end = vma.vm_start, vma.vm_end
        uffd_wp_range(vma, start, end, protect=False)
        # The tasks that wake make their fault again, for which they need mmap_lock: so they find the
        # protection gone.
        perform(WAKE, mm, (start, end))
        userfaultfd_clear(vma)
    mmap_write_unlock(mm)
    return 0 if registered else EFAULT


def userfaultfd_clear(vma: VmArea) -> None:
    """`vma`, which is locked for writing, is registered no more. Needs mmap_lock for writing.

    Kernel: userfaultfd_set_vm_flags(), v6.2.
    """
    vma.vm_flags &= ~VM_UFFD_WP
    vma_set_page_prot(vma)


def userfaultfd_writeprotect(mm: MmStruct, start: int, end: int, *, protect: bool) -> int:
    """Protect ``[start, end)`` from stores, or take that protection away: 0, -EFAULT, or -EAGAIN while there is a fork
    that the monitor has not read of.

    Takes mmap_lock only for reading, so faults and other calls like this go on beside it. The flush comes at the
    end. Taking the protection away makes nothing writable: the next store faults once more. Tasks that wait for
    that are woken, after mmap_lock was given back.
    """
    mmap_read_lock(mm)
    ctx = mm.userfaultfd_ctx
    if ctx is not None and READ_ONCE(ctx, "mmap_changing"):
        mmap_read_unlock(mm)
        return EAGAIN
    vma = vma_lookup(mm, start)
    if vma is None or not vma.vm_flags & VM_UFFD_WP or vma.vm_end < end:
        mmap_read_unlock(mm)
        return EFAULT
    uffd_wp_range(vma, start, end, protect=protect)
    mmap_read_unlock(mm)
    # After mmap_lock has gone, so that a task that is woken need not wait for it at once.
    if not protect:
        perform(WAKE, mm, (start, end))
    trace("uffd_writeprotect", mm=mm.name, start=hex(start), end=hex(end), protect=protect)
    return 0


def uffd_wp_range(vma: VmArea, start: int, end: int, *, protect: bool) -> None:
    """Change the bits of all entries of ``[start, end)``, and flush; needs mmap_lock.

    A huge page goes whole, or is mapped page by page first if only a part of it is meant. Where a file is mapped
    there may be no entry yet, and the page must be protected once it is mapped: so there a page-table page is needed.
    """
    mm = vma.vm_mm
    # Says that a flush is to come, before the first entry is protected: a write fault that meets one makes it
    # itself (`do_wp_page`). mmap_lock is held for reading only, so such faults go on.
    tlb = tlb_gather_mmu(mm)
    mmu_notifier_invalidate_range_start(mm, start, end)
    for low, high in addresses(mm, start, end):
        pmd = pmdp_get(mm, low)
        if isinstance(pmd, (Present, Migration)):
            if high - low != mm.pmd_size:
                split_huge_pmd(vma, low)
            # False if it was split meanwhile: then the small entries, below.
            elif change_huge(tlb, mm, low, protect=protect):
                continue
            pmd = pmdp_get(mm, low)
        if pmd is None and protect and not vma_is_anonymous(vma):
            # None without memory, and then nothing of that range is protected: as in v6.1, as far as we know;
            # later kernels say so.
            pmd = pte_alloc(mm, low)
        if isinstance(pmd, PageTable):
            change_range(tlb, pmd, low, high, protect=protect, file=not vma_is_anonymous(vma))
    mmu_notifier_invalidate_range_end(mm, start, end)
    tlb_finish_mmu(tlb)


# -- the entries ------------------------------------------------------------------------------------------------


def change_huge(tlb: MmuGather, mm: MmStruct, address: int, *, protect: bool) -> bool:
    """Change the bits of a huge entry; False if it is one no more. Takes `page_table_lock`; needs mmap_lock.

    One that is being moved keeps the bit for its page, as since v6.3: v6.1 loses it (change_huge_pmd()).
    """
    with mm.page_table_lock:
        pmd = pmdp_get(mm, address)
        if isinstance(pmd, Present):
            if protect:
                # Protected and read-only in one step: a store between the two would go unnoticed.
                change_pmd_bits(mm, address, gained=PTE_UFFD_WP, lost=PTE_WRITE)
                tlb_remove_tlb_entry(tlb, address, address + mm.pmd_size)
            else:
                # Not writable again: it may be read-only for another reason, such as a fork. The next store
                # faults, and finds out. So nothing need be flushed.
                change_pmd_bits(mm, address, lost=PTE_UFFD_WP)
        elif isinstance(pmd, Migration):
            set_pmd(mm, address, Migration(pmd.pfn, pmd.generation, _bits(pmd.bits, protect=protect)))
        return is_leaf(pmd)


def _bits(bits: int, *, protect: bool) -> int:
    """The new bits of an entry that is not present: it is never writable and protected at once."""
    return bits & ~PTE_WRITE | PTE_UFFD_WP if protect else bits & ~PTE_UFFD_WP


def change_range(
    tlb: MmuGather, table: PageTable, start: int, end: int, *, protect: bool, file: bool = False
) -> None:
    """Change the bits of the entries of ``[start, end)`` in one page-table page, those that stand for a page included.

    An empty entry of a `file` gets a marker, for its page may be in the cache; one of anonymous memory stays as
    it is, as up to v6.3: there is nothing yet that could be overwritten. Takes the table's lock; needs mmap_lock.
    Kernel: change_pte_range() in mm/mprotect.c.
    """
    with table.ptl:
        # What reclaim has emptied may still be stored to by old translations, and its swap entry gets the bit
        # below (Z33).
        flush_tlb_batched_pending(tlb.mm)
        for address in range(start, end, PAGE_SIZE):
            pte = ptep_get(table, address)
            if isinstance(pte, Present):
                if protect:
                    ptep_change(table, address, gained=PTE_UFFD_WP, lost=PTE_WRITE)
                    tlb_remove_tlb_entry(tlb, address, address + PAGE_SIZE)
                else:
                    ptep_change(table, address, lost=PTE_UFFD_WP)
            elif isinstance(pte, Migration):
                _set_changed(
                    table, address, pte, Migration(pte.pfn, pte.generation, _bits(pte.bits, protect=protect))
                )
            elif isinstance(pte, Swap):
                _set_changed(table, address, pte, Swap(pte.slot, _bits(pte.bits, protect=protect)))
            elif isinstance(pte, Marker):
                if not protect:
                    ptep_get_and_clear(table, address)
            elif protect and file:
                set_pte(table, address, Marker())


def _set_changed(table: PageTable, address: int, old: Migration | Swap, new: Migration | Swap) -> None:
    """Write an entry that is not present, unless it stays the same; needs the lock of its table."""
    if new != old:
        set_pte(table, address, new)


# -- waiting ----------------------------------------------------------------------------------------------------


def _queue(mm: MmStruct, task: Task, address: int) -> None:
    mm.userfault_waiters[task] = address


def _leave(mm: MmStruct, task: Task, _arg: Any) -> None:
    mm.userfault_waiters.pop(task, None)


def _woken(mm: MmStruct, task: Task) -> bool:
    return task not in mm.userfault_waiters


def _wake(mm: MmStruct, _task: Task, arg: tuple[int, int]) -> None:
    start, end = arg
    for task in [task for task, address in mm.userfault_waiters.items() if start <= address < end]:
        del mm.userfault_waiters[task]


_ORDER = ("userfault",)
QUEUE = Operation(
    "userfaultfd_wait_queue", Access.NONE, field="userfault", effect=_queue, wakes=False, local=True
)
LEAVE = Operation(
    "__remove_wait_queue", Access.NONE, field="userfault", effect=_leave, wakes=True, local=True
)
WAKE = Operation(
    "wake_userfault", Access.NONE, field="userfault", effect=_wake, wakes=True, releases=_ORDER, local=True
)
WAIT = Operation(
    "handle_userfault", Access.NONE, field="userfault", ready=_woken, acquires=_ORDER, local=True
)


def handle_userfault(mm: MmStruct, address: int, release: Callable[[], None]) -> None:
    """A store met a protected page: give the fault's lock back (`release`), and sleep until the page is no more.

    The task is queued before it looks once more and before the lock goes: the monitor takes the protection away
    first, and then wakes those in the queue. If the task looked first and was queued then, the monitor could do
    both in between, and nothing would wake the task any more. Kernel: fs/userfaultfd.c.
    """
    perform(QUEUE, mm, address)
    waits = userfaultfd_must_wait(mm, address)
    if not waits:
        perform(LEAVE, mm)
    # Not before the queue, and not after the sleep: with mmap_lock held the monitor could not take the
    # protection away.
    release()
    if waits:
        might_sleep()
        perform(WAIT, mm)


def userfaultfd_must_wait(mm: MmStruct, address: int) -> bool:
    """The page at `address` is still protected; read without the locks of the page tables. Needs mmap_lock."""
    # Without the locks, since it is only a look whether to sleep: a wrong "yes" is made good by the wake-up,
    # as the task is queued already; a wrong "no" by the fault that comes again.
    pmd = pmdp_get(mm, address)
    entry = ptep_get(pmd, address) if isinstance(pmd, PageTable) else pmd
    return entry is not None and bool(entry.bits & PTE_UFFD_WP)


def pte_marker_handle(vma: VmArea, table: PageTable, address: int, pte: Marker) -> bool:
    """A fault met the marker `pte`; whether it is to map the page, which is protected then.

    A marker that is left over where nothing is registered any more is taken away, and the fault comes again. Needs
    mmap_lock, or the VMA's lock. Kernel: pte_marker_handle_uffd_wp(), pte_marker_clear() in mm/memory.c.
    """
    if userfaultfd_wp(vma):
        return True
    with table.ptl:
        if ptep_get(table, address) == pte:
            ptep_get_and_clear(table, address)
    return False
