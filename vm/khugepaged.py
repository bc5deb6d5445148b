"""khugepaged: making a huge page out of small ones that are mapped already. Kernel: mm/khugepaged.c, v6.2."""

from __future__ import annotations

from functools import partial

from concurrency import READ_ONCE, bug_on, peek, trace
from vm.anon_vma import anon_vma_lock_write, anon_vma_unlock_write
from vm.errno import EAGAIN, ENOMEM
from vm.filemap import AddressSpace, i_mmap_lock_write, i_mmap_unlock_write, vma_interval_tree_foreach
from vm.find import vma_lookup
from vm.folio import Folio, alloc_huge, folio_put
from vm.huge_pmd import deposit, pmdp_huge_get_and_clear
from vm.layout import PAGE_SIZE, VM_HUGEPAGE
from vm.lru import isolate_lru_page, putback_lru_page
from vm.mm import (
    MmStruct,
    mmap_read_lock,
    mmap_read_unlock,
    mmap_write_lock,
    mmap_write_trylock,
    mmap_write_unlock,
)
from vm.mmu_notifier import mmu_notifier_invalidate_range_end, mmu_notifier_invalidate_range_start
from vm.pgtable import (
    PTE_DIRTY,
    PTE_UFFD_WP,
    PTE_YOUNG,
    Migration,
    PageTable,
    Present,
    Pte,
    maybe_mkwrite,
    mk_pte,
    pmd_index,
    pmdp_get,
    pte_cache,
    ptep_get,
    ptep_get_and_clear,
    set_pmd,
    userfaultfd_wp,
)
from vm.rmap import folio_remove_rmap, hugepage_add_new_anon_rmap
from vm.tlb import flush_tlb_range, tlb_remove_table_sync_one
from vm.vma import VmArea, vma_address, vma_is_anonymous
from vm.vma_lock import vma_start_write


def collapse_huge_page(mm: MmStruct, start: int) -> int:
    """Replace the small anonymous pages at `start` by a huge one; 0, -EAGAIN if it cannot be done now, or -ENOMEM.

    Takes mmap_lock, first for reading, then for writing. Simpler here: all pages must be present.
    """
    mmap_read_lock(mm)
    fits = hugepage_vma_revalidate(mm, start) is not None and isinstance(pmdp_get(mm, start), PageTable)
    mmap_read_unlock(mm)
    if not fits:
        return EAGAIN
    folio = alloc_huge(mm.memory)
    if folio is None:
        return ENOMEM
    mmap_write_lock(mm)
    vma = hugepage_vma_revalidate(mm, start)
    table = pmdp_get(mm, start)
    if vma is None or not isinstance(table, PageTable):
        result = EAGAIN
    else:
        # Since v6.4 a fault may come without mmap_lock: it would fill the upper entry that is emptied below.
        vma_start_write(vma)
        result = _collapse(vma, start, table, folio)
    mmap_write_unlock(mm)
    if result:
        folio_put(mm.memory, folio)
    return result


def hugepage_vma_revalidate(mm: MmStruct, start: int) -> VmArea | None:
    """The VMA that a huge page at `start` would be in, if it may have one; needs mmap_lock."""
    vma = None if mm.ended else vma_lookup(mm, start)
    if (
        vma is None
        or not vma.vm_flags & VM_HUGEPAGE
        or not vma_is_anonymous(vma)
        or vma.anon_vma is None
        or start < vma.vm_start
        or vma.vm_end < start + mm.pmd_size
    ):
        return None
    return vma


def _collapse(vma: VmArea, start: int, table: PageTable, folio: Folio) -> int:
    """Under mmap_lock for writing. The page-table page is out of everybody's reach while its pages are looked at.

    No fault comes, because of mmap_lock and the lock of the VMA, and no rmap walk, because of the anon_vma lock; the
    processors are stopped by the flush, and those that walk with interrupts off are waited for.
    """
    mm = vma.vm_mm
    anon_vma = vma.anon_vma
    assert anon_vma is not None
    anon_vma_lock_write(anon_vma)
    mmu_notifier_invalidate_range_start(mm, start, start + mm.pmd_size)
    with mm.page_table_lock:
        pmdp_collapse_flush(mm, start)
        mm.detached[pmd_index(mm, start)] = table
    mmu_notifier_invalidate_range_end(mm, start, start + mm.pmd_size)
    pages = collapse_isolate(mm, table, start)
    if pages is None:
        with mm.page_table_lock:
            _assert_pmd_none(mm, start)
            set_pmd(mm, start, mm.detached.pop(pmd_index(mm, start)))
        anon_vma_unlock_write(anon_vma)
        return EAGAIN
    anon_vma_unlock_write(anon_vma)
    for new, old in zip(folio.pages, pages, strict=True):
        new.token = READ_ONCE(old, "token")
    with table.ptl:
        for number, old in enumerate(pages):
            ptep_get_and_clear(table, start + number * PAGE_SIZE)
            folio_remove_rmap(old)
        del mm.detached[pmd_index(mm, start)]
    for old in pages:
        old.lock.unlock()
        folio_put(mm.memory, old)
        folio_put(mm.memory, old)
    with mm.page_table_lock:
        _assert_pmd_none(mm, start)
        hugepage_add_new_anon_rmap(folio, vma, start)
        folio.lru = True
        deposit(mm, start, table)
        set_pmd(mm, start, mk_pte(folio, vma.vm_page_prot | maybe_mkwrite(vma) | PTE_DIRTY | PTE_YOUNG))
    trace("collapse", mm=mm.name, addr=hex(start), page=folio.name)
    return 0


def _assert_pmd_none(mm: MmStruct, start: int) -> None:
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
    tlb_remove_table_sync_one(mm.memory)


def collapse_isolate(mm: MmStruct, table: PageTable, start: int) -> list[Folio] | None:
    """The pages of the table, locked and isolated, if nobody else refers to any; else None, and all as before.

    What userfaultfd protects stays small: the huge entry could not say which of its pages it was (dd47ac428c3f, v6.3;
    before, only a look without the locks found it).
    """
    pages: list[Folio] = []
    with table.ptl:
        for number in range(mm.memory.ptrs_per_pte):
            pte = ptep_get(table, start + number * PAGE_SIZE)
            page = mm.memory.mem_map[pte.pfn] if isinstance(pte, Present) else None
            if page is None or page.order or page.head is not page or not page.anon_exclusive:
                break
            if isinstance(pte, Present) and pte.bits & PTE_UFFD_WP:
                break
            if READ_ONCE(page, "refcount") != 1 or not page.lock.trylock():
                break
            if not isolate_lru_page(mm.memory, page):
                page.lock.unlock()
                break
            if READ_ONCE(page, "refcount") != 2:
                page.lock.unlock()
                putback_lru_page(mm.memory, page)
                break
            pages.append(page)
    if len(pages) == mm.memory.ptrs_per_pte:
        return pages
    for page in pages:
        page.lock.unlock()
        putback_lru_page(mm.memory, page)
    return None


# -- files ------------------------------------------------------------------------------------------------------


def retract_page_tables(mapping: AddressSpace, index: int) -> int:
    """Free the empty page-table pages that map the file from page `index` on, so that a huge page can be mapped there.

    Takes i_mmap_rwsem for writing, and tries mmap_lock of each address space; gives how many were freed. A walk of the
    file may have found a page-table page before it is taken away: it holds i_mmap_rwsem for reading. A VMA with private
    copies is left alone; that is looked at before the locks are taken, and again under them: a fault may have made the
    first one meanwhile. Kernel: v6.2; since v6.6 neither mmap_lock nor i_mmap_rwsem for writing is needed.
    """
    freed = 0
    i_mmap_lock_write(mapping)
    for vma in vma_interval_tree_foreach(mapping, index, index):
        if READ_ONCE(vma, "anon_vma") is not None:
            continue
        mm, address = vma.vm_mm, vma_address(vma, index)
        if address is None or address % mm.pmd_size or vma.vm_end < address + mm.pmd_size:
            continue
        if not isinstance(pmdp_get(mm, address), PageTable) or not mmap_write_trylock(mm):
            continue
        # Where userfaultfd may protect pages there are markers, which no fault brings back (v5.19).
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
        pmdp_collapse_flush(mm, address)
    bug_on(any(table.entries), f"BUG: Bad page map: {table.name} is freed with entries in it", "page-tables")
    pte_cache.free(table)
    trace("retract", mm=mm.name, addr=hex(address))
    return True


def _is_of_file(mm: MmStruct, pte: Pte) -> bool:
    return isinstance(pte, (Present, Migration)) and isinstance(
        peek(mm.memory.mem_map[pte.pfn], "mapping"), AddressSpace
    )
