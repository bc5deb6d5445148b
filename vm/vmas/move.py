"""Moving page-table entries to other addresses. Kernel: move_page_tables() in mm/mremap.c, v6.1."""

from __future__ import annotations

from dataclasses import replace

from sugarbush.concurrency import trace
from sugarbush.vm.files import i_mmap_lock_write, i_mmap_unlock_write
from sugarbush.vm.frames import (
    flush_tlb_batched_pending,
    flush_tlb_range,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
    pmdp_get,
    pte_alloc,
    ptep_get,
    ptep_get_and_clear,
    set_pmd,
    set_pte,
    userfaultfd_wp,
)
from sugarbush.vm.huge import deposit, pmdp_huge_get_and_clear, split_huge_pmd, withdraw
from sugarbush.vm.objects import PAGE_SIZE, PTE_UFFD_WP, Marker, Migration, PageTable, Present, VmArea
from sugarbush.vm.reverse import anon_vma_lock_write, anon_vma_unlock_write
from sugarbush.vm.spaces import SINGLE_DEPTH_NESTING


def take_rmap_locks(vma: VmArea) -> None:
    """Keep all walks away from the pages of `vma`; needs mmap_lock for writing."""
    # The file's first, as everywhere.
    if vma.vm_file is not None:
        i_mmap_lock_write(vma.vm_file)
    anon_vma = vma.anon_vma
    if anon_vma is not None:
        anon_vma_lock_write(anon_vma)


def drop_rmap_locks(vma: VmArea) -> None:
    """The end of `take_rmap_locks`."""
    anon_vma = vma.anon_vma
    if anon_vma is not None:
        anon_vma_unlock_write(anon_vma)
    if vma.vm_file is not None:
        i_mmap_unlock_write(vma.vm_file)


def move_page_tables(vma: VmArea, old: int, new: int, length: int, *, need_rmap_locks: bool) -> int:
    """Move the entries of ``[old, old + length)`` of `vma` to `new`; gives how many bytes were moved.

    Less than `length` without memory. Needs mmap_lock for writing. A walk visits the VMAs in the order of the tree:
    if it comes to `vma` before the VMA at the new place, it meets each page there or later at the new place. If it
    comes to the new one first it may miss a page that moves in between; then say `need_rmap_locks`. Where userfaultfd
    may have protected pages, each entry is looked at.
    """
    mm = vma.vm_mm
    start, end = old, old + length
    mmu_notifier_invalidate_range_start(mm, start, end)
    protected = userfaultfd_wp(vma)
    while old < end:
        # Never across a border of a page-table page, at the old or the new place: each step takes the locks
        # of two tables at most.
        extent = min(end - old, mm.pmd_size - old % mm.pmd_size, mm.pmd_size - new % mm.pmd_size)
        # Read without the lock, so only a hint what to try: each way of moving reads it again under its own
        # locks.
        pmd = pmdp_get(mm, old)
        if isinstance(pmd, (Present, Migration)):
            if extent == mm.pmd_size and not protected and move_huge_pmd(vma, old, new, need_rmap_locks):
                trace("move_huge_pmd", mm=mm.name, old=hex(old), new=hex(new))
            else:
                split_huge_pmd(vma, old)
            pmd = pmdp_get(mm, old)
        if pmd is not None:
            if extent == mm.pmd_size and not protected and move_normal_pmd(vma, old, new):
                trace("move_pmd", mm=mm.name, old=hex(old), new=hex(new))
            else:
                # Read again: khugepaged may have taken the table of a file away since.
                table, target = pmdp_get(mm, old), pte_alloc(mm, new)
                if target is None:
                    break
                if isinstance(table, PageTable):
                    move_ptes(vma, table, old, target, new, extent, need_rmap_locks=need_rmap_locks)
        old += extent
        new += extent
    mmu_notifier_invalidate_range_end(mm, start, end)
    return length - (end - old)


def move_normal_pmd(vma: VmArea, old: int, new: int) -> bool:
    """Move a whole page-table page by its upper entry, if the place is free; False if nothing was moved.

    What was read of the upper entry before the locks were taken may be gone by now, so it is read again. Needs
    mmap_lock for writing.
    """
    mm = vma.vm_mm
    # Always, whatever the order in the tree: a walk locks the table, which moves with its lock, so that lock
    # orders nothing here.
    take_rmap_locks(vma)
    with mm.page_table_lock:
        # mmap_lock keeps faults out, but not khugepaged of another process, which takes tables of a file
        # under i_mmap_rwsem: what moves then is "none", in place of a table (move-pmd-against-retract, Z26).
        pmd = pmdp_get(mm, old)
        moved = isinstance(pmd, PageTable) and pmdp_get(mm, new) is None
        if moved:
            set_pmd(mm, old, None)
            set_pmd(mm, new, pmd)
            # Before the locks go: whoever unmaps at the new place flushes there, and knows nothing of the old
            # (mremap-flush, Z10).
            flush_tlb_range(mm, old, old + mm.pmd_size)
    drop_rmap_locks(vma)
    return moved


def move_huge_pmd(vma: VmArea, old: int, new: int, need_rmap_locks: bool) -> bool:
    """Move a huge page whole, with the page-table page deposited with it, if the place is free; else False.

    The rmap locks as in `move_ptes`: a walk looks at the one entry at either place under its lock. Needs mmap_lock
    for writing.
    """
    mm = vma.vm_mm
    # Without them a walk that comes to the new place first, and finds it empty, may find the old one empty as
    # well (mremap-rmap-order, Z06).
    if need_rmap_locks:
        take_rmap_locks(vma)
    with mm.page_table_lock:
        moved = isinstance(pmdp_get(mm, old), (Present, Migration)) and pmdp_get(mm, new) is None
        if moved:
            set_pmd(mm, new, pmdp_huge_get_and_clear(mm, old))
            deposit(mm, new, withdraw(mm, old))
            flush_tlb_range(mm, old, old + mm.pmd_size)
    if need_rmap_locks:
        drop_rmap_locks(vma)
    return moved


def move_ptes(
    vma: VmArea,
    table: PageTable,
    old: int,
    target: PageTable,
    new: int,
    length: int,
    *,
    need_rmap_locks: bool,
) -> None:
    """Move the entries of `length` bytes at `old` in `table` to `new` in `target`.

    The translations of the old place are flushed before either lock is dropped: whoever takes a page away from the
    new place flushes only that. Needs mmap_lock for writing.
    """
    mm = vma.vm_mm
    if need_rmap_locks:
        take_rmap_locks(vma)
    # Source first, target as a subclass. mmap_lock for writing keeps a second task from taking them the other
    # way round.
    table.ptl.lock()
    if target is not table:
        target.ptl.lock(SINGLE_DEPTH_NESTING)
    # What reclaim has emptied here moves as a swap entry; whoever faults it in over there flushes nothing
    # here.
    flush_tlb_batched_pending(mm)
    flush = False
    for offset in range(0, length, PAGE_SIZE):
        if ptep_get(table, old + offset) is None:
            continue
        # In one step, with the accessed and dirty bits up to this moment. A CPU that has not set the dirty
        # bit yet looks at the entry before its next store, finds it gone, and faults. One that has goes on
        # storing until the flush: to the same page, whose entry says that it is dirty.
        pte = ptep_get_and_clear(table, old + offset)
        flush |= isinstance(pte, Present)
        if pte is not None and pte.bits & PTE_UFFD_WP:
            # The new place is not registered, and there nobody would take the protection away (v6.13, 0cef0bb836e3).
            if isinstance(pte, Marker):
                continue
            pte = replace(pte, bits=pte.bits & ~PTE_UFFD_WP)
        set_pte(target, new + offset, pte)
        trace("move_pte", mm=mm.name, old=hex(old + offset), new=hex(new + offset), pte=pte)
    if flush:
        # Under both locks: a truncate or reclaim at the new place would flush there, free the page, and a
        # thread would go on using it by the old address (mremap-flush, Z10).
        flush_tlb_range(mm, old, old + length)
    if target is not table:
        target.ptl.unlock()
    table.ptl.unlock()
    if need_rmap_locks:
        drop_rmap_locks(vma)
