"""Giving the entries of a range the rights that their VMA has. Kernel: change_protection() in mm/mprotect.c, v6.1."""

from __future__ import annotations

from sugarbush.concurrency import READ_ONCE
from sugarbush.vm.frames import (
    MmuGather,
    addresses,
    flush_tlb_batched_pending,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
    pmdp_get,
    ptep_change,
    ptep_get,
    set_pte,
    tlb_remove_tlb_entry,
    vm_normal_page,
)
from sugarbush.vm.huge import change_huge_pmd, split_huge_pmd
from sugarbush.vm.objects import (
    PAGE_SIZE,
    PTE_RIGHTS,
    PTE_WRITE,
    VM_SHARED,
    Migration,
    PageTable,
    Present,
    VmArea,
)


def change_protection(tlb: MmuGather, vma: VmArea, start: int, end: int, *, numa: bool = False) -> None:
    """Let every entry of ``[start, end)`` of `vma` permit what `vm_page_prot` says. Needs mmap_lock for writing.

    With `numa` (MM_CP_PROT_NUMA) they are to permit nothing, so that the next access faults (`vm.reclaim.numa`);
    mmap_lock is needed only for reading then, so no entry may look empty at any time.

    What is in force on other CPUs the caller flushes by the end of the gather. An entry that was writable because
    the page was the process's own becomes so again by the next write fault.
    """
    # Both before and after, as for an unmap: a device that may no longer write must learn of it.
    mmu_notifier_invalidate_range_start(tlb.mm, start, end)
    for low, high in addresses(tlb.mm, start, end):
        # Read once without the lock; `change_huge_pmd` and the split read again. With mmap_lock for reading
        # only, a fault may fill what looks empty: with the rights that the VMA has, so nothing is missed.
        pmd = pmdp_get(tlb.mm, low)
        if isinstance(pmd, (Present, Migration)):
            if high - low != tlb.mm.pmd_size:
                split_huge_pmd(vma, low)
            elif change_huge_pmd(tlb, vma, low, numa=numa):
                continue
            pmd = pmdp_get(tlb.mm, low)
        if isinstance(pmd, PageTable):
            change_pte_range(tlb, vma, pmd, low, high, numa=numa)
    mmu_notifier_invalidate_range_end(tlb.mm, start, end)


def change_pte_range(
    tlb: MmuGather, vma: VmArea, table: PageTable, start: int, end: int, *, numa: bool = False
) -> None:
    """As `change_protection`, in one page-table page, whose lock it takes. A writable migration entry becomes a
    readable one.
    """
    rights = 0 if numa else vma.vm_page_prot & PTE_RIGHTS
    with table.ptl:
        # An entry that reclaim has just emptied needs no change, and its page may still be stored to
        # (batched-flush, Z33).
        flush_tlb_batched_pending(vma.vm_mm)
        for address in range(start, end, PAGE_SIZE):
            pte = ptep_get(table, address)
            if isinstance(pte, Present):
                if pte.bits & PTE_RIGHTS != rights and not (numa and _is_shared(vma, pte)):
                    # In one step: the processor may set the dirty bit at this moment, which must not be lost.
                    ptep_change(table, address, gained=rights, lost=PTE_RIGHTS & ~rights)
                    tlb_remove_tlb_entry(tlb, address, address + PAGE_SIZE)
            elif isinstance(pte, Migration) and pte.write:
                # Else the second walk would make a writable entry of it. To gain rights is left to faults.
                set_pte(table, address, Migration(pte.pfn, pte.generation, pte.bits & ~PTE_WRITE))


def _is_shared(vma: VmArea, pte: Present) -> bool:
    """It is a private page that somebody else refers to, too, or the zero page; NUMA balancing leaves it alone."""
    page = vm_normal_page(vma.vm_mm.memory, pte)
    return page is None or (not vma.vm_flags & VM_SHARED and READ_ONCE(page.head, "refcount") != 1)
