"""khugepaged: making a huge page out of small ones that are mapped already. Kernel: mm/khugepaged.c, v6.1 to v6.6.

Which pages it is made of, and at whose wish, is said in `vm.huge.collapse`.
"""

from __future__ import annotations

from functools import partial

from sugarbush.concurrency import READ_ONCE, bug_on, trace
from sugarbush.concurrency.lowlevel import peek
from sugarbush.vm.files import i_mmap_lock_write, i_mmap_unlock_write, vma_interval_tree_foreach
from sugarbush.vm.frames import (
    alloc_huge,
    flush_tlb_range,
    folio_put,
    is_zero_pfn,
    isolate_lru_page,
    maybe_mkwrite,
    mk_pte,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
    pmd_index,
    pmdp_get,
    pte_cache,
    ptep_get,
    ptep_get_and_clear,
    putback_lru_page,
    set_pmd,
    tlb_remove_table_sync_one,
    userfaultfd_wp,
)
from sugarbush.vm.huge.collapse_control import KHUGEPAGED, CollapseControl, Scan
from sugarbush.vm.huge.huge_pmd import deposit, pmdp_huge_get_and_clear
from sugarbush.vm.objects import (
    MM_ANONPAGES,
    PAGE_SIZE,
    PTE_DIRTY,
    PTE_UFFD_WP,
    PTE_YOUNG,
    VM_HUGEPAGE,
    VM_HUGETLB,
    VM_NOHUGEPAGE,
    VM_SPECIAL,
    AddressSpace,
    Folio,
    Memory,
    Migration,
    MmStruct,
    PageTable,
    Present,
    Pte,
    VmArea,
)
from sugarbush.vm.reverse import (
    anon_vma_lock_write,
    anon_vma_unlock_write,
    folio_remove_rmap,
    hugepage_add_new_anon_rmap,
)
from sugarbush.vm.spaces import (
    add_mm_counter,
    mmap_read_lock,
    mmap_read_unlock,
    mmap_write_lock,
    mmap_write_trylock,
    mmap_write_unlock,
    vma_address,
    vma_is_anonymous,
    vma_is_temporary_stack,
    vma_lookup,
    vma_start_write,
)


def collapse_huge_page(mm: MmStruct, start: int, cc: CollapseControl = KHUGEPAGED) -> Scan:
    """Replace the small anonymous pages at `start` by a huge one, if that can be done now.

    Takes mmap_lock, first for reading, then for writing, and looks at everything anew each time. The huge page is
    allocated before, since that may take long. Whoever calls it has looked at the pages (`vm.huge.collapse`), but holds
    nothing any more. Simpler here: all pages must be present, or holes.
    """
    folio = alloc_huge(mm.memory)
    if folio is None:
        return Scan.ALLOC_HUGE_PAGE_FAIL
    # A look that costs nobody much, before the lock that stops everybody; what it finds counts for nothing
    # afterwards.
    mmap_read_lock(mm)
    fits = hugepage_vma_revalidate(mm, start, cc) is not None
    result = find_pmd_or_thp_or_none(mm, start) if fits else Scan.VMA_CHECK
    mmap_read_unlock(mm)
    if result is Scan.SUCCEED:
        mmap_write_lock(mm)
        vma = hugepage_vma_revalidate(mm, start, cc)
        table = pmdp_get(mm, start)
        if vma is None:
            result = Scan.VMA_CHECK
        elif not isinstance(table, PageTable):
            result = Scan.PMD_NULL
        else:
            # Since v6.4 a fault may come without mmap_lock: it would fill the upper entry that is emptied below.
            vma_start_write(vma)
            result = _collapse(vma, start, table, folio, cc)
        mmap_write_unlock(mm)
    if result is not Scan.SUCCEED:
        folio_put(mm.memory, folio)
    return result


def find_pmd_or_thp_or_none(mm: MmStruct, start: int) -> Scan:
    """Whether the upper entry of `start` names a page-table page; needs mmap_lock."""
    pmd = pmdp_get(mm, start)
    if isinstance(pmd, PageTable):
        return Scan.SUCCEED
    if pmd is None:
        return Scan.PMD_NONE
    return Scan.PMD_MAPPED if isinstance(pmd, Present) else Scan.PMD_NULL


def hugepage_vma_check(vma: VmArea, cc: CollapseControl) -> bool:
    """`vma` may have huge pages; needs mmap_lock. khugepaged makes them only where they were asked for.

    Simpler here: those of files are not made.
    """
    flags = vma.vm_flags
    wanted = flags & VM_HUGEPAGE if cc.is_khugepaged else not flags & VM_NOHUGEPAGE
    return (
        bool(wanted)
        and not flags & (VM_SPECIAL | VM_HUGETLB)
        and vma_is_anonymous(vma)
        and not vma_is_temporary_stack(vma)
        # Where nothing was written to there is nothing to collapse.
        and vma.anon_vma is not None
    )


def hugepage_vma_revalidate(mm: MmStruct, start: int, cc: CollapseControl = KHUGEPAGED) -> VmArea | None:
    """The VMA that a huge page at `start` would be in, if it may have one; needs mmap_lock, which was just
    taken.
    """
    vma = None if mm.ended else vma_lookup(mm, start)
    if (
        vma is None
        or start < vma.vm_start
        or vma.vm_end < start + mm.pmd_size
        or not hugepage_vma_check(vma, cc)
    ):
        return None
    return vma


def _collapse(
    vma: VmArea, start: int, table: PageTable, folio: Folio, cc: CollapseControl = KHUGEPAGED
) -> Scan:
    """Under mmap_lock for writing. The page-table page is out of everybody's reach while its pages are looked at.

    No fault comes, because of mmap_lock and the lock of the VMA, and no rmap walk, because of the anon_vma
    lock; the processors are stopped by the flush, and those that walk with interrupts off are waited for.
    """
    mm = vma.vm_mm
    anon_vma = vma.anon_vma
    assert anon_vma is not None
    # While the table hangs nowhere a walk of rmap would pass these pages over: a migration between its walks
    # would leave entries behind.
    anon_vma_lock_write(anon_vma)
    mmu_notifier_invalidate_range_start(mm, start, start + mm.pmd_size)
    with mm.page_table_lock:
        pmdp_collapse_flush(mm, start)
        mm.detached[pmd_index(mm, start)] = table
    mmu_notifier_invalidate_range_end(mm, start, start + mm.pmd_size)
    pages: list[Folio | None] = []
    result = collapse_isolate(vma, table, start, cc, pages)
    if result is not Scan.SUCCEED:
        with mm.page_table_lock:
            _assert_pmd_none(mm, start)
            # With its entries as they were: to be empty for a moment is no harm where no fault and no walk
            # can come.
            set_pmd(mm, start, mm.detached.pop(pmd_index(mm, start)))
        anon_vma_unlock_write(anon_vma)
        return result
    anon_vma_unlock_write(anon_vma)
    # The anon_vma lock may go now: all pages are locked and off the LRU, so nobody migrates or reclaims them.
    for new, old in zip(folio.pages, pages, strict=True):
        new.token = 0 if old is None else READ_ONCE(old, "token")
    _copied(mm, table, start, pages)
    with mm.page_table_lock:
        _assert_pmd_none(mm, start)
        # Content first, then rmap and LRU, then the entry, which releases all of that.
        hugepage_add_new_anon_rmap(folio, vma, start)
        folio.lru = True
        deposit(mm, start, table)
        set_pmd(mm, start, mk_pte(folio, vma.vm_page_prot | maybe_mkwrite(vma) | PTE_DIRTY | PTE_YOUNG))
    trace("collapse", mm=mm.name, addr=hex(start), page=folio.name)
    return Scan.SUCCEED


def _copied(mm: MmStruct, table: PageTable, start: int, pages: list[Folio | None]) -> None:
    """Let the small pages go; what was a hole counts from now on. Needs mmap_lock for writing, and their locks,
    which it gives back. Kernel: __collapse_huge_page_copy_succeeded().
    """
    holes = 0
    with table.ptl:
        for number, old in enumerate(pages):
            ptep_get_and_clear(table, start + number * PAGE_SIZE)
            if old is None:
                holes += 1
            else:
                folio_remove_rmap(old)
        add_mm_counter(mm, MM_ANONPAGES, holes)
        del mm.detached[pmd_index(mm, start)]
    for old in pages:
        if old is not None:
            old.lock.unlock()
            # One for the entry, one for the isolation.
            folio_put(mm.memory, old)
            folio_put(mm.memory, old)


def _assert_pmd_none(mm: MmStruct, start: int) -> None:
    """Fail if a fault has filled the upper entry that was emptied; needs `page_table_lock`."""
    pmd = pmdp_get(mm, start)
    bug_on(
        pmd is not None,
        "kernel BUG at mm/khugepaged.c: collapse_huge_page(): BUG_ON(!pmd_none(*pmd))",
        "pmd-none",
        f"a fault has filled the upper entry of {start:#x} meanwhile",
    )


def pmdp_collapse_flush(mm: MmStruct, start: int) -> None:
    """Take the page-table page at `start` away from the processors; needs `page_table_lock`.

    The flush is not enough for those that walk page tables with interrupts off: they are waited for.
    """
    pmdp_huge_get_and_clear(mm, start)
    flush_tlb_range(mm, start, start + mm.pmd_size)
    # Where a flush needs no interrupt nobody has waited for such a walk yet (khugepaged-without-ipi, Z25).
    tlb_remove_table_sync_one(mm.memory)


def may_be_hole(pte: Pte) -> bool:
    """There is nothing to copy: no entry, or the zero page."""
    return pte is None or (isinstance(pte, Present) and is_zero_pfn(pte))


def collapse_isolate(
    vma: VmArea, table: PageTable, start: int, cc: CollapseControl, pages: list[Folio | None]
) -> Scan:
    """Put the pages of the table into `pages`, locked and isolated, and None for holes, if nobody else refers
    to any; else all is as before, and `pages` is empty.

    What userfaultfd protects stays small: the huge entry could not say which of its pages it was. That was
    found before by a look under mmap_lock for reading, but the monitor may have protected it since
    (dd47ac428c3f, v6.3). Where it may do so, no hole is filled either.
    """
    mm, size = vma.vm_mm, vma.vm_mm.memory.ptrs_per_pte
    result, writable = Scan.SUCCEED, False
    with table.ptl:
        for number in range(size):
            pte = ptep_get(table, start + number * PAGE_SIZE)
            if may_be_hole(pte):
                pages.append(None)
                if userfaultfd_wp(vma) or not cc.permits_holes(pages.count(None), size):
                    result = Scan.EXCEED_NONE_PTE
            elif not isinstance(pte, Present):
                result = Scan.PTE_NON_PRESENT
            elif is_protected(pte):
                result = Scan.PTE_UFFD_WP
            else:
                page = mm.memory.mem_map[pte.pfn]
                result = _isolate(mm.memory, page)
                writable |= pte.write
                pages += [page] if result is Scan.SUCCEED else []
            if result is not Scan.SUCCEED:
                break
    if result is Scan.SUCCEED and not writable:
        result = Scan.PAGE_RO
    if result is not Scan.SUCCEED:
        for page in filter(None, pages):
            page.lock.unlock()
            putback_lru_page(mm.memory, page)
        pages.clear()
    return result


def is_protected(pte: Present) -> bool:
    """Stores to the page are kept away by userfaultfd."""
    # Asked with no fault and no monitor around, which the look before the huge page was allocated was not
    # (khugepaged-uffd-wp, Z78).
    return bool(pte.bits & PTE_UFFD_WP)


def _isolate(memory: Memory, page: Folio) -> Scan:
    """Lock the page and take it off the LRU, if it is small and nobody but its entry refers to it."""
    if page.order or page.head is not page:
        return Scan.PAGE_COMPOUND
    if not page.anon_exclusive:
        return Scan.EXCEED_SHARED_PTE
    if READ_ONCE(page, "refcount") != 1:
        return Scan.PAGE_COUNT
    # Only tried: page-table locks are held.
    if not page.lock.trylock():
        return Scan.PAGE_LOCK
    if not isolate_lru_page(memory, page):
        page.lock.unlock()
        return Scan.DEL_PAGE_LRU
    # Once more, now that it is isolated: a task that looked it up by its frame in between has a reference.
    # More can come only by the entry, which is out of reach.
    if READ_ONCE(page, "refcount") != 2:
        page.lock.unlock()
        putback_lru_page(memory, page)
        return Scan.PAGE_COUNT
    return Scan.SUCCEED


# -- files ------------------------------------------------------------------------------------------------------


def retract_page_tables(mapping: AddressSpace, index: int) -> int:
    """Free the empty page-table pages that map the file from page `index` on, so that a huge page can be mapped
    there.

    Takes i_mmap_rwsem for writing, and tries mmap_lock of each address space; gives how many were freed. A walk
    of the file may have found a page-table page before it is taken away: it holds i_mmap_rwsem for reading. A
    VMA with private copies is left alone; that is looked at before the locks are taken, and again under them: a
    fault may have made the first one meanwhile. Kernel: v6.2; since v6.6 neither mmap_lock nor i_mmap_rwsem for
    writing is needed.
    """
    freed = 0
    i_mmap_lock_write(mapping)
    for vma in vma_interval_tree_foreach(mapping, index, index):
        if READ_ONCE(vma, "anon_vma") is not None:
            continue
        mm, address = vma.vm_mm, vma_address(vma, index)
        if address is None or address % mm.pmd_size or vma.vm_end < address + mm.pmd_size:
            continue
        # Only tried: mmap_lock stands outside of i_mmap_rwsem.
        if not isinstance(pmdp_get(mm, address), PageTable) or not mmap_write_trylock(mm):
            continue
        # Where userfaultfd may protect pages there are markers, which no fault brings back (v5.19).
        # The look at the top was without mmap_lock. A fault since then may have put the first private copy
        # into this very table, where a walk by its anon_vma would look for it (khugepaged-anon-vma, Z27).
        if READ_ONCE(vma, "anon_vma") is None and not userfaultfd_wp(vma):
            freed += collapse_and_free_pmd(mm, address)
        mmap_write_unlock(mm)
    i_mmap_unlock_write(mapping)
    return freed


def collapse_and_free_pmd(mm: MmStruct, address: int) -> bool:
    """Free the page-table page of `address`; needs mmap_lock for writing and all rmap locks.

    False if a fault has mapped a page of the file again.
    """
    with mm.page_table_lock:
        table = pmdp_get(mm, address)
        if not isinstance(table, PageTable) or any(map(partial(_is_of_file, mm), table.entries)):
            return False
        # This may be another process, and mremap() may be about to move this very table there: it reads the
        # upper entry once more with the rmap locks held (move-pmd-against-retract, Z26).
        pmdp_collapse_flush(mm, address)
    bug_on(any(table.entries), f"BUG: Bad page map: {table.name} is freed with entries in it", "page-tables")
    pte_cache.free(table)
    trace("retract", mm=mm.name, addr=hex(address))
    return True


def _is_of_file(mm: MmStruct, pte: Pte) -> bool:
    return isinstance(pte, (Present, Migration)) and isinstance(
        peek(mm.memory.mem_map[pte.pfn], "mapping"), AddressSpace
    )
