"""Emptying and freeing page tables. Kernel: mm/memory.c, v6.1."""

from __future__ import annotations

from dataclasses import dataclass

from sugarbush.concurrency import bug_on, trace
from sugarbush.vm.files import is_vm_hugetlb_page, unlink_file_vma
from sugarbush.vm.frames import (
    MmuGather,
    addresses,
    flush_tlb_batched_pending,
    free_swap_and_cache,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
    pfn_swap_entry_to_page,
    pmd_index,
    pmdp_get,
    ptep_get,
    ptep_get_and_clear,
    set_pmd,
    set_pte,
    tlb_finish_mmu,
    tlb_flush_mmu_tlbonly,
    tlb_gather_mmu,
    tlb_remove_tlb_entry,
    userfaultfd_wp,
    vm_normal_page,
)
from sugarbush.vm.huge import (
    hugetlb_zap_begin,
    hugetlb_zap_end,
    split_huge_pmd,
    unmap_hugepage_range,
    zap_huge_pmd,
)
from sugarbush.vm.objects import (
    MM_FILEPAGES,
    MM_SWAPENTS,
    PAGE_SIZE,
    PTE_UFFD_WP,
    Marker,
    Memory,
    Migration,
    MmStruct,
    PageTable,
    Present,
    Swap,
    VmArea,
    folio_test_anon,
)
from sugarbush.vm.reverse import folio_remove_rmap, unlink_anon_vmas
from sugarbush.vm.spaces import add_mm_counter, mm_counter, vma_is_anonymous


@dataclass(frozen=True, slots=True)
class ZapDetails:
    """Which entries a zap spares; kernel: struct zap_details. Without one all entries go, and only a protection
    by userfaultfd stays.

    `even_cows`: private copies of pages of a file go, too. They are the process's own: a hole in the file leaves them,
    only what is cut off behind its end goes with them. `drop_marker`: nothing remembers that a page of a file was
    protected.
    """

    even_cows: bool = True
    drop_marker: bool = False


UNMAP = ZapDetails(drop_marker=True)
"""The VMA goes, or all of the address space."""


def unmap_region(mm: MmStruct, vmas: list[VmArea], floor: int, ceiling: int, start: int, end: int) -> None:
    """Empty and free the page tables of ``[start, end)``, which no VMA of the mm's tree covers any more.

    `vmas` are the VMAs taken out of the tree, `floor` the end of the VMA before and `ceiling` the start of the one
    after. Needs mmap_lock, for reading at least. The rmap links of `vmas` are cut only after the entries are gone.
    """
    tlb = tlb_gather_mmu(mm)
    # All depends on the order of these three. Entries first, while walks still find them by the VMAs: an
    # entry that no walk finds is one that a migration leaves behind (brk-false-vma, Z01). Then the links, and
    # the tables, which no walk may come to any more. Then the flush, and pages and tables to the allocator.
    unmap_vmas(tlb, vmas, start, end)
    free_pgtables(tlb, vmas, floor, ceiling)
    tlb_finish_mmu(tlb)


def unmap_vmas(tlb: MmuGather, vmas: list[VmArea], start: int, end: int) -> None:
    """Clear the entries of what lies of each VMA in ``[start, end)``. Needs mmap_lock, for reading at least."""
    mmu_notifier_invalidate_range_start(tlb.mm, start, end)
    for vma in vmas:
        low, high = max(vma.vm_start, start), min(vma.vm_end, end)
        if is_vm_hugetlb_page(vma):
            lock = hugetlb_zap_begin(vma)
            unmap_hugepage_range(tlb, vma, low, high)
            # The VMA's lock ends here, and with it sharing: before its tables are freed.
            hugetlb_zap_end(vma, lock, final=True)
        else:
            unmap_single_vma(tlb, vma, low, high, UNMAP)
    mmu_notifier_invalidate_range_end(tlb.mm, start, end)


def unmap_single_vma(
    tlb: MmuGather, vma: VmArea, start: int, end: int, details: ZapDetails | None = None
) -> None:
    """Clear the entries of ``[start, end)``; with `UNMAP` the VMA goes, too. Not in hugetlbfs without the locks of
    `hugetlb_zap_begin`.
    """
    if is_vm_hugetlb_page(vma):
        unmap_hugepage_range(tlb, vma, start, end)
    else:
        unmap_page_range(tlb, vma, start, end, details)


def free_pgtables(tlb: MmuGather, vmas: list[VmArea], floor: int, ceiling: int) -> None:
    """Hide each VMA from rmap, then free the page-table pages that only it and its predecessors could use.

    Needs mmap_lock, for reading at least, and the VMAs out of the tree or mmap_lock for writing.

    Simpler here: neighbouring VMAs are not gathered into one call of `free_pgd_range`.
    """
    for number, vma in enumerate(vmas, 1):
        # Both trees before the tables. A walk that is in one now holds the lock that this takes, so it is
        # waited for.
        unlink_anon_vmas(vma)
        unlink_file_vma(vma)
        limit = vmas[number].vm_start if number < len(vmas) else ceiling
        free_pgd_range(tlb, vma.vm_start, vma.vm_end, floor, limit)


def free_pgd_range(tlb: MmuGather, start: int, end: int, floor: int, ceiling: int) -> None:
    """Free the page-table pages of ``[start, end)`` that no other VMA can use, after the flush.

    The range must be out of reach of every rmap tree. `floor` and `ceiling` are where the neighbours end and
    begin. Needs mmap_lock; takes `page_table_lock`.
    """
    mm = tlb.mm
    # A table that a neighbour could use as well stays, be it empty.
    first = max(-(-floor // mm.pmd_size), pmd_index(mm, start))
    last = min(ceiling // mm.pmd_size - 1, pmd_index(mm, end - 1))
    for index in [index for index in sorted(mm.pmds) if first <= index <= last]:
        address = index * mm.pmd_size
        with mm.page_table_lock:
            table = pmdp_get(mm, address)
            set_pmd(mm, address, None)
        if not isinstance(table, PageTable):
            bug_on(table, f"BUG: Bad page map: {address:#x} is still mapped by {table}", "page-tables")
            continue
        bug_on(
            any(table.entries), f"BUG: Bad page map: {table.name} is freed with entries in it", "page-tables"
        )
        # Not freed here: CPUs may walk it until the flush, and gup_fast beyond that.
        tlb.tables.append(table)


def zap_page_range(vma: VmArea, start: int, end: int, details: ZapDetails | None = None) -> None:
    """Empty ``[start, end)`` of `vma`; needs mmap_lock for reading, or the rmap lock of its file.

    Kernel: zap_page_range_single(). When it returns nobody can reach what was there.
    """
    if is_vm_hugetlb_page(vma):
        zap_hugetlb_range(vma, start, end)
        return
    tlb = tlb_gather_mmu(vma.vm_mm)
    mmu_notifier_invalidate_range_start(tlb.mm, start, end)
    unmap_single_vma(tlb, vma, start, end, details)
    mmu_notifier_invalidate_range_end(tlb.mm, start, end)
    tlb_finish_mmu(tlb)


def zap_hugetlb_range(vma: VmArea, start: int, end: int) -> None:
    """As `zap_page_range`, of huge pages: faults stay out until the pages are free again. Takes the VMA's lock
    and i_mmap_rwsem, for writing.
    """
    # Around the gather, which frees the pages: given back before that, the place faults and finds the pool
    # empty (hugetlb-dontneed-fault, Z75).
    lock = hugetlb_zap_begin(vma)
    tlb = tlb_gather_mmu(vma.vm_mm)
    mmu_notifier_invalidate_range_start(tlb.mm, start, end)
    unmap_single_vma(tlb, vma, start, end)
    mmu_notifier_invalidate_range_end(tlb.mm, start, end)
    tlb_finish_mmu(tlb)
    hugetlb_zap_end(vma, lock, final=False)


def unmap_page_range(
    tlb: MmuGather, vma: VmArea, start: int, end: int, details: ZapDetails | None = None
) -> None:
    """Clear all entries of ``[start, end)``. The upper entry is read without its lock; kernel: zap_pmd_range().

    A huge page goes whole, or is mapped page by page first if it goes only in part.
    """
    for low, high in addresses(tlb.mm, start, end):
        # Read once, and what is done goes by what was read: with mmap_lock for reading a fault or another
        # MADV_DONTNEED may change it between two reads, and a huge entry be taken for a table
        # (pmd-bad-in-zap, Z49).
        pmd = pmdp_get(tlb.mm, low)
        if isinstance(pmd, (Present, Migration)):
            if high - low != tlb.mm.pmd_size:
                split_huge_pmd(vma, low)
            # False if somebody else has split or emptied it: it is read again, and whatever is there now is
            # zapped.
            elif zap_huge_pmd(tlb, low):
                continue
            pmd = pmdp_get(tlb.mm, low)
        if isinstance(pmd, PageTable):
            zap_pte_range(tlb, vma, pmd, low, high, details)


def zap_pte_range(
    tlb: MmuGather, vma: VmArea, table: PageTable, start: int, end: int, details: ZapDetails | None = None
) -> None:
    """Clear the entries of ``[start, end)`` in one page-table page, and take their pages out of the counts.

    A migration entry counts as a page of the kind that it names; the page itself belongs to whoever moves it. What is
    swapped out is anonymous. If a page of a file was dirty, all is flushed before the lock is dropped: a store that
    came later would be lost.
    """
    mm = tlb.mm
    rss: dict[str, int] = {}
    flush = False
    with table.ptl:
        # What reclaim has emptied looks done: the caller would return, and CPUs go on using the page (Z33).
        flush_tlb_batched_pending(mm)
        for address in range(start, end, PAGE_SIZE):
            pte = ptep_get(table, address)
            if pte is None or is_spared(mm.memory, pte, details):
                continue
            pte = ptep_get_and_clear(table, address)
            assert pte is not None
            if isinstance(pte, Present):
                tlb_remove_tlb_entry(tlb, address, address + PAGE_SIZE)
                folio = vm_normal_page(mm.memory, pte)
                if folio is None:
                    trace("zap", mm=mm.name, addr=hex(address), pte=pte)
                    continue
                member = mm_counter(folio)
                if pte.dirty and member is MM_FILEPAGES:
                    # Until the flush a CPU may store by its translation, whose dirty bit goes nowhere now.
                    # Behind the lock page_mkclean() would find no entry, and let the page be written back
                    # without that store.
                    folio.dirty = flush = True
                # After the entry is empty: between the two, under the lock, the page counts as mapped where
                # nothing is. A walk that must not be misled by that takes the lock (split-without-sync,
                # Z31z).
                folio_remove_rmap(folio)
                # With the reference of the entry, until the flush: a thread may still read and write the
                # page.
                tlb.pages.append(folio)
            elif isinstance(pte, Migration):
                # Which asserts that the page is locked. That is where a migration entry that was left behind
                # is met.
                member = mm_counter(pfn_swap_entry_to_page(mm.memory, pte))
            elif isinstance(pte, Swap):
                member = MM_SWAPENTS
                assert mm.memory.swap is not None
                free_swap_and_cache(mm.memory, mm.memory.swap.slots[pte.slot])
            else:
                continue
            if not (details and details.drop_marker):
                pte_install_uffd_wp_if_needed(vma, table, address, pte)
            rss[member] = rss.get(member, 0) - 1
            trace("zap", mm=mm.name, addr=hex(address), pte=pte)
        for member, value in rss.items():
            add_mm_counter(mm, member, value)
        if flush:
            tlb_flush_mmu_tlbonly(tlb)


def is_spared(memory: Memory, pte: Present | Migration | Swap | Marker, details: ZapDetails | None) -> bool:
    """True if the entry stays; needs its lock. Kernel: should_zap_cows(), should_zap_page(), v6.1."""
    if isinstance(pte, Marker):
        return not (details and details.drop_marker)
    if details is None or details.even_cows:
        return False
    if isinstance(pte, Swap):
        return True
    if isinstance(pte, Migration):
        return folio_test_anon(pfn_swap_entry_to_page(memory, pte))
    page = vm_normal_page(memory, pte)
    return page is not None and folio_test_anon(page)


def pte_install_uffd_wp_if_needed(
    vma: VmArea, table: PageTable, address: int, pte: Present | Migration | Swap
) -> None:
    """`pte` was cleared: if it was protected, and its page can come back from the file, leave a marker; needs its lock.

    Kernel: include/linux/mm_inline.h, v6.1.
    """
    if pte.bits & PTE_UFFD_WP and not vma_is_anonymous(vma) and userfaultfd_wp(vma):
        set_pte(table, address, Marker())
