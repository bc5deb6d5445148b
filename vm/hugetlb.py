"""Faults in files in hugetlbfs, and the ends of what they map. Kernel: mm/hugetlb.c, v6.1.

Faults on one page of a file are one at a time, by its fault mutex. A fault holds the lock of the VMA for reading from
before it looks for the page-table page until it is done with it.
"""

from __future__ import annotations

from concurrency import READ_ONCE, atomic_add_unless, atomic_inc, trace
from vm.errno import EFAULT, ENOMEM
from vm.filemap import add_folio, filemap_get_folio, i_mmap_lock_write, i_mmap_unlock_write
from vm.folio import Folio, alloc_folio
from vm.hugetlb_share import huge_pmd_share, huge_pmd_unshare, want_pmd_share
from vm.hugetlbfs import HugetlbFile, hstate_file, hugetlb_vma_lock
from vm.layout import PAGE_SIZE
from vm.mmu_notifier import mmu_notifier_invalidate_range_end, mmu_notifier_invalidate_range_start
from vm.pgtable import (
    PTE_DIRTY,
    PTE_EXEC,
    PTE_READ,
    PTE_WRITE,
    PTE_YOUNG,
    PageTable,
    Present,
    addresses,
    maybe_mkwrite,
    mk_pte,
    pte_alloc,
    pte_offset_map,
    ptep_change,
    ptep_get,
    ptep_get_and_clear,
    set_pte,
)
from vm.rmap import folio_add_file_rmap, folio_remove_rmap
from vm.tlb import MmuGather, flush_tlb_range, tlb_flush_mmu_tlbonly, tlb_remove_tlb_entry
from vm.vma import VmArea, linear_page_index, vma_set_page_prot

_RIGHTS = PTE_READ | PTE_WRITE | PTE_EXEC


def hugetlb_fault(vma: VmArea, address: int, *, write: bool) -> int:
    """Map the page of the file at `address`: 0, -ENOMEM without page tables, or -EFAULT without a huge page.

    Needs mmap_lock.
    """
    mapping = hstate_file(vma)
    index = linear_page_index(vma, address)
    mutex = mapping.fault_mutexes[index % len(mapping.fault_mutexes)]
    mutex.lock()
    lock = hugetlb_vma_lock(vma)
    lock.down_read()
    table = huge_pte_alloc(vma, address)
    if table is None:
        result = ENOMEM
    elif ptep_get(table, address) is None:
        result = hugetlb_no_page(vma, mapping, index, table, address, write=write)
    else:
        result = 0
        if write:
            hugetlb_wp(vma, table, address)
    lock.up_read()
    mutex.unlock()
    return result


def huge_pte_alloc(vma: VmArea, address: int) -> PageTable | None:
    """The page-table page of `address`, shared if possible; None without memory. Needs the lock of the VMA."""
    table = pte_offset_map(vma.vm_mm, address)
    if table is None and want_pmd_share(vma, address):
        return huge_pmd_share(vma, address)
    return pte_alloc(vma.vm_mm, address) if table is None else table


def hugetlb_no_page(
    vma: VmArea, mapping: HugetlbFile, index: int, table: PageTable, address: int, *, write: bool
) -> int:
    """Map page `index` of the file, a new one if need be; 0 or -EFAULT. Needs the page's fault mutex, so that the entry
    is still empty.
    """
    folio = filemap_get_folio(mapping, index)
    if folio is None:
        folio = alloc_huge_page(vma, mapping, index)
        if folio is None:
            return EFAULT
    folio.lock.lock()
    bits = vma.vm_page_prot | PTE_YOUNG | (PTE_DIRTY if write else 0)
    with table.ptl:
        folio_add_file_rmap(folio)
        set_pte(table, address, mk_pte(folio, bits))
        trace("hugetlb_fault", mm=vma.vm_mm.name, addr=hex(address), page=folio.name)
    folio.lock.unlock()
    return 0


def alloc_huge_page(vma: VmArea, mapping: HugetlbFile, index: int) -> Folio | None:
    """A new page `index` of the file, with a reference besides the file's; None if it may have no more.

    Needs the page's fault mutex, so nobody else adds that page.
    """
    size = READ_ONCE(mapping, "i_size")
    if (size is not None and index >= size) or not atomic_add_unless(mapping, "free_huge_pages", -1, 0):
        return None
    folio = alloc_folio(vma.vm_mm.memory)
    if folio is None:
        atomic_inc(mapping, "free_huge_pages")
        return None
    folio.token = 0
    add_folio(mapping, index, folio)
    return folio


def hugetlb_wp(vma: VmArea, table: PageTable, address: int) -> None:
    """A store met an entry: let it be writable; needs mmap_lock. Others who share the table have the same rights."""
    with table.ptl:
        ptep_change(table, address, gained=maybe_mkwrite(vma) | PTE_DIRTY | PTE_YOUNG)


# -- changing and emptying --------------------------------------------------------------------------------------


def hugetlb_change_protection(vma: VmArea, start: int, end: int, flags: int) -> None:
    """Give `vma`, which is ``[start, end)``, the flags `flags`, and its entries the rights that they say.

    What is shared is left. Needs mmap_lock for writing. The flags are written under the lock that sharing needs: a
    fault of another process that already has such flags must not find entries that still permit more. v6.1 writes them
    before it takes that lock, so as far as we know it has that window.
    """
    mm, mapping = vma.vm_mm, hstate_file(vma)
    lock = hugetlb_vma_lock(vma)
    # What is left unshared goes as a whole, whatever part of it the VMA has.
    first, last = start & -mm.pmd_size, (end + mm.pmd_size - 1) & -mm.pmd_size
    mmu_notifier_invalidate_range_start(mm, first, last)
    lock.down_write()
    i_mmap_lock_write(mapping)
    vma.vm_flags = flags
    vma_set_page_prot(vma)
    rights = vma.vm_page_prot & _RIGHTS
    for low, high in addresses(mm, start, end):
        table = None if huge_pmd_unshare(vma, low) else pte_offset_map(mm, low)
        if table is not None:
            with table.ptl:
                for address in range(low, high, PAGE_SIZE):
                    ptep_change(table, address, gained=rights, lost=_RIGHTS & ~rights)
    flush_tlb_range(mm, first, last)
    i_mmap_unlock_write(mapping)
    lock.up_write()
    mmu_notifier_invalidate_range_end(mm, first, last)
    trace("mprotect", vma=vma.name, flags=hex(flags))


def unmap_hugepage_range(tlb: MmuGather, vma: VmArea, start: int, end: int, *, final: bool) -> None:
    """Empty ``[start, end)`` of `vma`; what is shared is left. Needs mmap_lock.

    With `final` the VMA goes, and page tables with it, so from now on nobody may share them: without its lock it is
    not shareable. Kernel: __unmap_hugepage_range_final().
    """
    mm, mapping = vma.vm_mm, hstate_file(vma)
    lock = hugetlb_vma_lock(vma)
    lock.down_write()
    i_mmap_lock_write(mapping)
    left = False
    for low, high in addresses(mm, start, end):
        if huge_pmd_unshare(vma, low):
            whole = low & -mm.pmd_size
            tlb_remove_tlb_entry(tlb, whole, whole + mm.pmd_size)
            left = True
            continue
        table = pte_offset_map(mm, low)
        if table is not None:
            _zap(tlb, table, low, high)
    if left:
        tlb_flush_mmu_tlbonly(tlb)
    if final:
        vma.vm_private_data = None
    i_mmap_unlock_write(mapping)
    lock.up_write()


def _zap(tlb: MmuGather, table: PageTable, start: int, end: int) -> None:
    with table.ptl:
        for address in range(start, end, PAGE_SIZE):
            pte = ptep_get(table, address)
            if isinstance(pte, Present):
                ptep_get_and_clear(table, address)
                tlb_remove_tlb_entry(tlb, address, address + PAGE_SIZE)
                folio = tlb.mm.memory.mem_map[pte.pfn]
                folio_remove_rmap(folio)
                tlb.pages.append(folio)
                trace("zap", mm=tlb.mm.name, addr=hex(address), pte=pte)
