"""UFFDIO_MOVE of a huge page that goes whole. Kernel: move_pages_huge_pmd() in mm/huge_memory.c, v6.8."""

from __future__ import annotations

from sugarbush.concurrency import trace
from sugarbush.vm.frames import (
    flush_tlb_range,
    folio_put,
    is_huge_zero_pmd,
    maybe_mkwrite,
    mk_pte,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
    pmdp_get,
    set_pmd,
)
from sugarbush.vm.huge import deposit, pmd_folio, pmd_migration_entry_wait, pmdp_huge_get_and_clear, withdraw
from sugarbush.vm.objects import (
    EAGAIN,
    EBUSY,
    ENOENT,
    PTE_DIRTY,
    Folio,
    Migration,
    Present,
    VmArea,
    folio_get,
    folio_maybe_dma_pinned,
)
from sugarbush.vm.reverse import (
    anon_vma_lock_write,
    anon_vma_unlock_write,
    folio_get_anon_vma,
    hugepage_set_anon_rmap,
    put_anon_vma,
)


def move_pages_huge_pmd(dst_vma: VmArea, src_vma: VmArea, dst: int, src: int) -> int:
    """Move the huge page at `src` whole to `dst`, where no page-table page is; 0, -EAGAIN, -EBUSY or -ENOENT.

    Needs mmap_lock for reading. Locks the folio, which keeps migration away, and its anon_vma for writing, since a
    split walks without the lock of the page; then `page_table_lock`, which is that of both upper entries, and looks
    again. One that is being migrated is waited for.
    """
    mm = src_vma.vm_mm
    with mm.page_table_lock:
        pmd = pmdp_get(mm, src)
        zero = isinstance(pmd, Present) and is_huge_zero_pmd(mm.memory, pmd)
        if isinstance(pmd, Present) and not zero:
            folio = pmd_folio(mm.memory, pmd)
            if not folio.anon_exclusive:
                return EBUSY
            # Under the lock of the entry; the lock of the folio can be waited for only after that.
            folio_get(folio)
    if isinstance(pmd, Migration):
        pmd_migration_entry_wait(mm, src)
        return EAGAIN
    if not isinstance(pmd, Present):
        return ENOENT
    mmu_notifier_invalidate_range_start(mm, src, src + mm.pmd_size)
    if zero:
        result = _move_zero(dst_vma, src_vma, dst, src, pmd)
        mmu_notifier_invalidate_range_end(mm, src, src + mm.pmd_size)
        return result
    folio.lock.lock()
    anon_vma = folio_get_anon_vma(folio)
    result = EAGAIN
    if anon_vma is not None:
        anon_vma_lock_write(anon_vma)
        result = _move_locked(dst_vma, src_vma, dst, src, pmd, folio)
        anon_vma_unlock_write(anon_vma)
        put_anon_vma(anon_vma)
    folio.lock.unlock()
    mmu_notifier_invalidate_range_end(mm, src, src + mm.pmd_size)
    folio_put(mm.memory, folio)
    return result


def _move_zero(dst_vma: VmArea, src_vma: VmArea, dst: int, src: int, pmd: Present) -> int:
    """The huge zero page, of which the address space has one reference wherever it is mapped: only the entry moves."""
    mm = src_vma.vm_mm
    with mm.page_table_lock:
        if pmdp_get(mm, src) != pmd or pmdp_get(mm, dst) is not None:
            return EAGAIN
        pmdp_huge_get_and_clear(mm, src)
        flush_tlb_range(mm, src, src + mm.pmd_size)
        set_pmd(mm, dst, Present(pmd.pfn, pmd.generation, dst_vma.vm_page_prot))
        deposit(mm, dst, withdraw(mm, src))
    return 0


def _move_locked(dst_vma: VmArea, src_vma: VmArea, dst: int, src: int, pmd: Present, folio: Folio) -> int:
    """Move the huge page; needs the folio lock and its anon_vma locked for writing. 0, -EAGAIN or -EBUSY."""
    mm = src_vma.vm_mm
    with mm.page_table_lock:
        if pmdp_get(mm, src) != pmd or pmdp_get(mm, dst) is not None:
            return EAGAIN
        if folio_maybe_dma_pinned(folio) or not folio.anon_exclusive:
            return EBUSY
        # Cleared, and then the pins looked at again, as v6.8 does, since there gup_fast pins huge pages, too.
        # Here only `follow_page` does, under this lock.
        cleared = pmdp_huge_get_and_clear(mm, src)
        flush_tlb_range(mm, src, src + mm.pmd_size)
        if folio_maybe_dma_pinned(folio):
            set_pmd(mm, src, cleared)
            return EBUSY
        # Only when it is certain to go, as with small pages (uffd-move-pinned, Z84).
        hugepage_set_anon_rmap(folio, dst_vma, dst)
        set_pmd(mm, dst, mk_pte(folio, dst_vma.vm_page_prot | maybe_mkwrite(dst_vma) | PTE_DIRTY))
        deposit(mm, dst, withdraw(mm, src))
        trace("move_pages_huge_pmd", mm=mm.name, src=hex(src), dst=hex(dst), page=folio.name)
    return 0
