"""Write protection by userfaultfd. Kernel: mwriteprotect_range() in mm/userfaultfd.c, v6.1.

Simpler here: nobody is told of a store to a protected page; it waits until somebody takes the protection away. Huge
pages of files cannot be protected.
"""

from __future__ import annotations

from typing import Any

from concurrency import Operation, perform, trace
from vm.errno import EFAULT
from vm.find import vma_lookup
from vm.hugetlbfs import is_vm_hugetlb_page
from vm.layout import PAGE_SIZE, VM_UFFD_WP
from vm.mm import MmStruct, mmap_read_lock, mmap_read_unlock, mmap_write_lock, mmap_write_unlock
from vm.mmu_notifier import mmu_notifier_invalidate_range_end, mmu_notifier_invalidate_range_start
from vm.pgtable import PTE_UFFD_WP, PTE_WRITE, PageTable, Present, addresses, pmdp_get, ptep_change, ptep_get
from vm.tlb import MmuGather, flush_tlb_batched_pending, tlb_finish_mmu, tlb_gather_mmu, tlb_remove_tlb_entry


def userfaultfd_register(mm: MmStruct, address: int) -> int:
    """Let the VMA of `address` be write-protected page by page; 0 or -EFAULT. Takes mmap_lock for writing."""
    mmap_write_lock(mm)
    vma = vma_lookup(mm, address)
    result = EFAULT
    if vma is not None and not is_vm_hugetlb_page(vma):
        vma.vm_flags |= VM_UFFD_WP
        result = 0
    mmap_write_unlock(mm)
    return result


def userfaultfd_writeprotect(mm: MmStruct, start: int, end: int, *, protect: bool) -> int:
    """Protect ``[start, end)`` from stores, or take that protection away: 0 or -EFAULT.

    Takes mmap_lock only for reading, so faults and other calls like this go on beside it. The flush comes at the end.
    Taking the protection away makes nothing writable: the next store faults once more.
    """
    mmap_read_lock(mm)
    vma = vma_lookup(mm, start)
    if vma is None or not vma.vm_flags & VM_UFFD_WP or vma.vm_end < end:
        mmap_read_unlock(mm)
        return EFAULT
    tlb = tlb_gather_mmu(mm)
    mmu_notifier_invalidate_range_start(mm, start, end)
    for low, high in addresses(mm, start, end):
        table = pmdp_get(mm, low)
        if isinstance(table, PageTable):
            change_range(tlb, table, low, high, protect=protect)
    mmu_notifier_invalidate_range_end(mm, start, end)
    tlb_finish_mmu(tlb)
    mmap_read_unlock(mm)
    trace("uffd_writeprotect", mm=mm.name, start=hex(start), end=hex(end), protect=protect)
    return 0


def _unprotected(table: PageTable, _task: Any) -> bool:
    return not any(isinstance(pte, Present) and pte.bits & PTE_UFFD_WP for pte in table.entries)


WAIT = Operation("handle_userfault", ready=_unprotected, local=True)


def handle_userfault(mm: MmStruct, address: int) -> None:
    """A store met a protected page: sleep, without mmap_lock, until no page around `address` is protected."""
    table = pmdp_get(mm, address)
    if isinstance(table, PageTable):
        perform(WAIT, table)


def change_range(tlb: MmuGather, table: PageTable, start: int, end: int, *, protect: bool) -> None:
    """Change the bits of the entries of ``[start, end)`` in one page-table page."""
    with table.ptl:
        flush_tlb_batched_pending(tlb.mm)
        for address in range(start, end, PAGE_SIZE):
            if isinstance(ptep_get(table, address), Present):
                if protect:
                    ptep_change(table, address, gained=PTE_UFFD_WP, lost=PTE_WRITE)
                    tlb_remove_tlb_entry(tlb, address, address + PAGE_SIZE)
                else:
                    ptep_change(table, address, lost=PTE_UFFD_WP)
