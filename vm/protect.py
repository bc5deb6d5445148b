"""Giving the entries of a range the rights that their VMA has. Kernel: change_protection() in mm/mprotect.c, v6.1."""

from __future__ import annotations

from vm.huge import change_huge_pmd
from vm.huge_split_pmd import split_huge_pmd
from vm.layout import PAGE_SIZE, PMD_SIZE
from vm.pgtable import (
    PTE_EXEC,
    PTE_READ,
    PTE_WRITE,
    Migration,
    PageTable,
    Present,
    addresses,
    pmdp_get,
    ptep_change,
    ptep_get,
    set_pte,
)
from vm.tlb import MmuGather, flush_tlb_batched_pending, tlb_remove_tlb_entry
from vm.vma import VmArea

_RIGHTS = PTE_READ | PTE_WRITE | PTE_EXEC


def change_protection(tlb: MmuGather, vma: VmArea, start: int, end: int) -> None:
    """Let every entry of ``[start, end)`` of `vma` permit what `vm_page_prot` says. Needs mmap_lock for writing.

    What is in force on other CPUs the caller flushes by the end of the gather. An entry that was writable because
    the page was the process's own becomes so again by the next write fault.
    """
    for low, high in addresses(start, end):
        pmd = pmdp_get(tlb.mm, low)
        if isinstance(pmd, (Present, Migration)):
            if high - low != PMD_SIZE:
                split_huge_pmd(vma, low)
            elif change_huge_pmd(tlb, vma, low):
                continue
            pmd = pmdp_get(tlb.mm, low)
        if isinstance(pmd, PageTable):
            change_pte_range(tlb, vma, pmd, low, high)


def change_pte_range(tlb: MmuGather, vma: VmArea, table: PageTable, start: int, end: int) -> None:
    """As `change_protection`, in one page-table page. A writable migration entry becomes a readable one."""
    rights = vma.vm_page_prot & _RIGHTS
    with table.ptl:
        flush_tlb_batched_pending(vma.vm_mm)
        for address in range(start, end, PAGE_SIZE):
            pte = ptep_get(table, address)
            if isinstance(pte, Present):
                if pte.bits & _RIGHTS != rights:
                    ptep_change(table, address, gained=rights, lost=_RIGHTS & ~rights)
                    tlb_remove_tlb_entry(tlb, address, address + PAGE_SIZE)
            elif isinstance(pte, Migration) and pte.write:
                set_pte(table, address, Migration(pte.pfn, pte.generation, pte.bits & ~PTE_WRITE))
