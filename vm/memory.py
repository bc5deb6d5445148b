"""Page faults and zapping: how page tables are filled and emptied. Kernel: mm/memory.c, v6.1."""

from __future__ import annotations

from dataclasses import dataclass, field

from concurrency import trace
from vm.anon_vma import anon_vma_prepare, unlink_anon_vmas
from vm.errno import EFAULT, ENOMEM
from vm.filemap import unlink_file_vma
from vm.folio import Folio, alloc_folio, folio_put, folio_wait_locked
from vm.layout import PAGE_SIZE, TASK_SIZE
from vm.mm import MM_ANONPAGES, MmStruct, add_mm_counter, mm_counter
from vm.pgtable import (
    Migration,
    PageTable,
    Present,
    addresses,
    free_pgd_range,
    pfn_swap_entry_to_page,
    pmd_offset,
    present,
    pte_alloc,
    ptep_get,
    set_pte,
)
from vm.rmap import folio_add_new_anon_rmap, folio_remove_rmap
from vm.vma import VmArea


@dataclass(slots=True)
class MmuGather:
    """Pages that an unmap has taken out of the page tables; they are freed after the TLB flush."""

    mm: MmStruct
    pages: list[Folio] = field(default_factory=list)


def tlb_finish_mmu(tlb: MmuGather) -> None:
    """Free the gathered pages. Simpler here: there is no TLB yet, so nothing to flush."""
    for folio in tlb.pages:
        folio_put(tlb.mm.memory, folio)


def handle_user_fault(mm: MmStruct, address: int) -> int:
    """A user access found no present entry: map the page. 0, -EFAULT (no VMA) or -ENOMEM.

    Kernel: do_user_addr_fault() and handle_mm_fault(). Takes mmap_lock for reading, or the lock of the VMA. Simpler
    here: what the VMA's flags permit is not looked at.
    """
    if not 0 <= address < TASK_SIZE:
        return EFAULT
    held = mm.era.hold_for_fault(mm, address)
    if held is None:
        return EFAULT
    vma, release = held
    result = handle_mm_fault(mm, vma, address & -PAGE_SIZE)
    release()
    return result


def handle_mm_fault(mm: MmStruct, vma: VmArea, address: int) -> int:
    """Map the page at `address`, or wait for whoever is moving it; needs mmap_lock. 0 or -ENOMEM.

    Kernel: handle_pte_fault(). The entry is read without its lock; whoever acts on it looks again under the lock.
    """
    table = pmd_offset(mm, address)
    pte = None if table is None else ptep_get(table, address)
    if pte is None:
        return do_anonymous_page(mm, vma, address)
    if table is not None and isinstance(pte, Migration):
        migration_entry_wait(mm, table, address)
    return 0


def do_anonymous_page(mm: MmStruct, vma: VmArea, address: int) -> int:
    """Map a new page of zeroes at `address`, unless somebody was faster. 0 or -ENOMEM."""
    table = pte_alloc(mm, address)
    if table is None or not anon_vma_prepare(vma):
        return ENOMEM
    folio = alloc_folio(mm.memory)
    if folio is None:
        return ENOMEM
    folio.token = 0
    with table.ptl:
        installed = ptep_get(table, address) is None
        if installed:
            add_mm_counter(mm, MM_ANONPAGES, 1)
            folio_add_new_anon_rmap(folio, vma, address)
            folio.lru = True
            set_pte(table, address, present(folio))
            trace("fault", mm=mm.name, addr=hex(address), page=folio.name)
    if not installed:
        folio_put(mm.memory, folio)
    return 0


def migration_entry_wait(mm: MmStruct, table: PageTable, address: int) -> None:
    """Sleep until the page at `address` has been moved; the caller looks again.

    Kernel: migration_entry_wait() in mm/migrate.c. The page-table lock is dropped before sleeping, and no reference
    is held, so the entry must be looked at afresh.
    """
    with table.ptl:
        pte = ptep_get(table, address)
        folio = pfn_swap_entry_to_page(mm.memory, pte) if isinstance(pte, Migration) else None
    if folio is not None:
        folio_wait_locked(folio)


def unmap_region(mm: MmStruct, vmas: list[VmArea], floor: int, ceiling: int, start: int, end: int) -> None:
    """Empty and free the page tables of ``[start, end)``, which no VMA of the mm's tree covers any more.

    `vmas` are the VMAs taken out of the tree, `floor` the end of the VMA before and `ceiling` the start of the one
    after. Needs mmap_lock, for reading at least. The rmap links of `vmas` are cut only after the entries are gone.
    """
    tlb = MmuGather(mm)
    unmap_vmas(tlb, vmas, start, end)
    free_pgtables(mm, vmas, floor, ceiling)
    tlb_finish_mmu(tlb)


def unmap_vmas(tlb: MmuGather, vmas: list[VmArea], start: int, end: int) -> None:
    """Clear the entries of what lies of each VMA in ``[start, end)``."""
    for vma in vmas:
        zap_page_range(tlb, max(vma.vm_start, start), min(vma.vm_end, end))


def free_pgtables(mm: MmStruct, vmas: list[VmArea], floor: int, ceiling: int) -> None:
    """Hide each VMA from rmap, then free the page-table pages that only it and its predecessors could use.

    Simpler here: neighbouring VMAs are not gathered into one call of `free_pgd_range`.
    """
    for number, vma in enumerate(vmas, 1):
        unlink_anon_vmas(vma)
        unlink_file_vma(vma)
        limit = vmas[number].vm_start if number < len(vmas) else ceiling
        free_pgd_range(mm, vma.vm_start, vma.vm_end, floor, limit)


def zap_page_range(tlb: MmuGather, start: int, end: int) -> None:
    """Clear all entries of ``[start, end)``."""
    for low, high in addresses(start, end):
        table = pmd_offset(tlb.mm, low)
        if table is not None:
            zap_pte_range(tlb, table, low, high)


def zap_pte_range(tlb: MmuGather, table: PageTable, start: int, end: int) -> None:
    """Clear the entries of ``[start, end)`` in one page-table page, and take their pages out of the counts.

    A migration entry counts as a page of the kind that it names; the page itself belongs to whoever moves it.
    """
    mm = tlb.mm
    rss: dict[str, int] = {}
    with table.ptl:
        for address in range(start, end, PAGE_SIZE):
            pte = ptep_get(table, address)
            if pte is None:
                continue
            if isinstance(pte, Present):
                folio = mm.memory.mem_map[pte.pfn]
                member = mm_counter(folio)
                set_pte(table, address, None)
                folio_remove_rmap(folio)
                tlb.pages.append(folio)
            else:
                member = mm_counter(pfn_swap_entry_to_page(mm.memory, pte))
                set_pte(table, address, None)
            rss[member] = rss.get(member, 0) - 1
            trace("zap", mm=mm.name, addr=hex(address), pte=pte)
        for member, value in rss.items():
            add_mm_counter(mm, member, value)
