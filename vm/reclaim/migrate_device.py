"""Migration of a range at the wish of a driver. Kernel: mm/migrate_device.c, v6.1.

Simpler here: what was collected is put back where it was; the driver's copy to its own memory is left out.
"""

from __future__ import annotations

from sugarbush.concurrency import trace
from sugarbush.vm.files import is_vm_hugetlb_page
from sugarbush.vm.frames import (
    addresses,
    flush_tlb_batched_pending,
    flush_tlb_range,
    folio_put,
    make_migration_entry,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
    pmdp_get,
    ptep_get,
    ptep_get_and_clear,
    set_pte,
    vm_normal_page,
)
from sugarbush.vm.objects import (
    PAGE_SIZE,
    PTE_SWP_EXCLUSIVE,
    Folio,
    PageTable,
    Present,
    VmArea,
    folio_get,
    folio_maybe_dma_pinned,
    folio_test_anon,
)
from sugarbush.vm.reclaim.remove_migration import remove_migration_ptes
from sugarbush.vm.reverse import folio_remove_rmap


def migrate_vma_setup(vma: VmArea, start: int, end: int) -> list[Folio]:
    """Take the anonymous pages of ``[start, end)`` that only this VMA maps: locked, and with a reference each.

    Needs mmap_lock for reading. Their entries are migration entries until `migrate_vma_finalize`.
    """
    pages: list[Folio] = []
    if is_vm_hugetlb_page(vma):
        return pages
    mmu_notifier_invalidate_range_start(vma.vm_mm, start, end)
    for low, high in addresses(vma.vm_mm, start, end):
        table = pmdp_get(vma.vm_mm, low)
        if isinstance(table, PageTable):
            migrate_vma_collect_pmd(vma, table, low, high, pages)
    mmu_notifier_invalidate_range_end(vma.vm_mm, start, end)
    return pages


def migrate_vma_collect_pmd(vma: VmArea, table: PageTable, start: int, end: int, pages: list[Folio]) -> None:
    """As `migrate_vma_setup`, in one page-table page. The flush comes before the lock is dropped."""
    with table.ptl:
        # What reclaim has emptied here looks like a hole to collect nothing from, and is in use by CPUs until
        # its flush.
        flush_tlb_batched_pending(vma.vm_mm)
        unmapped = collect_entries(vma, table, start, end, pages)
        # Under the lock: a MADV_DONTNEED that finds the entries no longer present has nothing to flush, and
        # returns while a thread still reads what was given up (migrate-vma-flush, Z34).
        if unmapped:
            flush_tlb_range(vma.vm_mm, start, end)


def collect_entries(vma: VmArea, table: PageTable, start: int, end: int, pages: list[Folio]) -> int:
    """Turn the entries into migration entries, those that can be; gives how many. Needs the page-table lock."""
    memory = vma.vm_mm.memory
    unmapped = 0
    for address in range(start, end, PAGE_SIZE):
        pte = ptep_get(table, address)
        page = vm_normal_page(memory, pte) if isinstance(pte, Present) else None
        if page is None or page.head.order or not folio_test_anon(page) or not page.anon_exclusive:
            continue
        # Only tried: the page-table lock is held.
        if folio_maybe_dma_pinned(page) or not page.lock.trylock():
            continue
        folio_get(page)
        # With its dirty bit, which goes on in the migration entry. Dropped here, a page in the swap cache
        # counts as clean, and reclaim frees it without the last store (migrate-vma-dirty, Z61).
        pte = ptep_get_and_clear(table, address)
        assert isinstance(pte, Present)
        page.anon_exclusive = False
        set_pte(table, address, make_migration_entry(page, pte.bits | PTE_SWP_EXCLUSIVE))
        folio_remove_rmap(page)
        # That of the entry; the one that was taken above is the caller's.
        folio_put(memory, page)
        pages.append(page)
        unmapped += 1
        trace("migrate_vma_collect", mm=vma.vm_mm.name, addr=hex(address), page=page.name)
    return unmapped


def migrate_vma_finalize(vma: VmArea, pages: list[Folio]) -> None:
    """Map the pages again where their entries still are; the end of a `migrate_vma_setup`."""
    for page in pages:
        remove_migration_ptes(page, page)
        page.lock.unlock()
        folio_put(vma.vm_mm.memory, page)
