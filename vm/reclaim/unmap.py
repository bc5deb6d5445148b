"""Taking a page away from all who map it. Kernel: try_to_unmap() in mm/rmap.c and arch/x86/mm/tlb.c, v6.1."""

from __future__ import annotations

from dataclasses import dataclass, field

from sugarbush.concurrency import atomic_inc, trace
from sugarbush.vm.frames import (
    flush_tlb_mm,
    flush_tlb_page,
    folio_put,
    notified,
    pmdp_get,
    ptep_get,
    ptep_get_and_clear,
    set_pte,
    swap_duplicate,
)
from sugarbush.vm.huge import split_huge_pmd
from sugarbush.vm.objects import (
    MM_ANONPAGES,
    MM_FILEPAGES,
    MM_SWAPENTS,
    PTE_SWP_EXCLUSIVE,
    PTE_SWP_KEPT,
    VM_LOCKED,
    Folio,
    MmStruct,
    PageTable,
    Present,
    Swap,
    VmArea,
    folio_maybe_dma_pinned,
    folio_test_anon,
)
from sugarbush.vm.reverse import folio_lock_anon_vma_read, folio_remove_rmap, rmap_walk
from sugarbush.vm.spaces import add_mm_counter, mmlist_add
from sugarbush.vm.vmas import pte_install_uffd_wp_if_needed


@dataclass(slots=True)
class FlushBatch:
    """Address spaces whose flushes were put off; kernel: struct tlbflush_unmap_batch, one a task."""

    mms: list[MmStruct] = field(default_factory=list)


def set_tlb_ubc_flush_pending(batch: FlushBatch, mm: MmStruct) -> None:
    """An entry was cleared and its flush put off; needs the page-table lock.

    Whoever sees the cleared entry under that lock, and goes by it, must flush first: `flush_tlb_batched_pending`.
    """
    if not any(one is mm for one in batch.mms):
        batch.mms.append(mm)
    # Under the page-table lock, so whoever sees the entry empty there sees this as well (batched-flush, Z33).
    atomic_inc(mm, "tlb_flush_batched")


def try_to_unmap_flush(batch: FlushBatch) -> None:
    """Flush all that was put off."""
    for mm in batch.mms:
        flush_tlb_mm(mm)
    batch.mms.clear()


def try_to_unmap(folio: Folio, batch: FlushBatch | None) -> None:
    """Clear every entry that maps the locked `folio`, leaving swap entries if it is anonymous and has a slot.

    Where memory is locked (VM_LOCKED) the entry stays, and with it the page.

    A huge page is mapped page by page first. With `batch` flushes are put off until `try_to_unmap_flush`; without, each
    entry is flushed at once. Kernel: TTU_BATCH_FLUSH, TTU_SPLIT_HUGE_PMD.
    """

    def one(folio: Folio, vma: VmArea, address: int) -> None:
        # Only if it is this folio: another huge page may be there by now.
        if folio.order:
            split_huge_pmd(vma, address, folio=folio)
        _try_to_unmap_one(folio, vma, address, batch)

    visited = rmap_walk(folio, notified(one), folio_lock_anon_vma_read)
    trace("try_to_unmap", page=folio.name, vmas=visited)


def _try_to_unmap_one(folio: Folio, vma: VmArea, address: int, batch: FlushBatch | None) -> None:
    """As `try_to_unmap`, in one place; needs the folio lock and the rmap lock."""
    mm = vma.vm_mm
    table = pmdp_get(mm, address)
    if not isinstance(table, PageTable) or not isinstance(ptep_get(table, address), Present):
        return
    with table.ptl:
        pte = ptep_get(table, address)
        if not isinstance(pte, Present) or pte.pfn != folio.pfn or vma.vm_flags & VM_LOCKED:
            return
        # Cleared, then the dirty bit taken over, then the pins looked at: as in try_to_migrate_one(). A flush
        # that is put off is no matter for a pin without locks, which goes by the entry; for stores of user
        # space it is made before the page is written or freed (shrink_folio).
        pte = ptep_get_and_clear(table, address)
        assert isinstance(pte, Present)
        if batch is None:
            flush_tlb_page(mm, address)
        else:
            set_tlb_ubc_flush_pending(batch, mm)
        if pte.dirty:
            folio.head.dirty = True
        if folio.anon_exclusive and folio_maybe_dma_pinned(folio):
            set_pte(table, address, pte)
            return
        if folio_test_anon(folio):
            leave_swap_entry(folio, mm, table, address, pte)
        else:
            pte_install_uffd_wp_if_needed(vma, table, address, pte)
            add_mm_counter(mm, MM_FILEPAGES, -1)
        trace("unmap_one", mm=mm.name, addr=hex(address), page=folio.name)
        # When the entry says what it is to say.
        folio_remove_rmap(folio)
        folio_put(mm.memory, folio)


def leave_swap_entry(folio: Folio, mm: MmStruct, table: PageTable, address: int, pte: Present) -> None:
    """Let the entry name the slot of `folio`, and remember whether the page was exclusive to it. Needs the ptlock.

    From before the entry is written swapoff finds `mm`: what it does not find stays in use, and it would walk for ever.
    """
    slot = folio.swap
    assert slot is not None, "an anonymous page is unmapped only after it has a slot"
    # The slot is counted before the entry names it.
    swap_duplicate(slot)
    mmlist_add(mm)
    bits = pte.bits & PTE_SWP_KEPT
    if folio.anon_exclusive:
        # It goes on in the entry. Before v5.19 entries did not say so, and those of two pages that were in
        # one slot, one after the other, looked the same (swap-in-other-slot, Z30).
        folio.anon_exclusive = False
        bits |= PTE_SWP_EXCLUSIVE
    add_mm_counter(mm, MM_ANONPAGES, -1)
    add_mm_counter(mm, MM_SWAPENTS, 1)
    set_pte(table, address, Swap(slot.number, bits))
