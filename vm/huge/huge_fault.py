"""Faults on huge pages. Kernel: mm/huge_memory.c, v6.1.

Simpler here: only anonymous memory that was advised so (MADV_HUGEPAGE) gets huge pages.
"""

from __future__ import annotations

from sugarbush.concurrency import READ_ONCE, trace
from sugarbush.vm.frames import (
    alloc_huge,
    folio_put,
    is_huge_zero_pmd,
    maybe_mkwrite,
    mk_pte,
    new_table,
    pfn_swap_entry_to_page,
    pmdp_get,
    pte_cache,
    set_pmd,
)
from sugarbush.vm.huge.huge_pmd import change_pmd_bits, deposit
from sugarbush.vm.huge.huge_split_pmd import split_huge_pmd, split_huge_pmd_locked
from sugarbush.vm.huge.huge_zero import mm_get_huge_zero_page
from sugarbush.vm.objects import (
    EFAULT,
    ENOMEM,
    MM_ANONPAGES,
    PTE_DIRTY,
    PTE_YOUNG,
    VM_HUGEPAGE,
    Folio,
    Migration,
    MmStruct,
    Present,
    VmArea,
    folio_get,
    folio_wait_locked,
)
from sugarbush.vm.reverse import anon_vma_prepare, hugepage_add_new_anon_rmap, hugepage_set_anon_rmap
from sugarbush.vm.spaces import add_mm_counter, check_stable_address_space

FALLBACK = 1
"""A huge page is not possible here: use small ones. Kernel: VM_FAULT_FALLBACK."""


def do_huge_pmd_anonymous_page(vma: VmArea, address: int, *, write: bool) -> int:
    """Map a huge page around `address`, for a read the huge zero page, unless somebody was faster. 0, -ENOMEM,
    FALLBACK, or -EFAULT in a victim of the OOM reaper.

    Needs mmap_lock, or the VMA's lock.
    """
    mm = vma.vm_mm
    start = address & -mm.pmd_size
    # All of it inside: an entry across the border of a VMA would be changed, moved or emptied for its
    # neighbour as well.
    if not vma.vm_flags & VM_HUGEPAGE or start < vma.vm_start or vma.vm_end < start + mm.pmd_size:
        return FALLBACK
    if not anon_vma_prepare(vma):
        return ENOMEM
    if not write and mm.memory.huge_zero.use:
        return _map_huge_zero_page(vma, start)
    folio = alloc_huge(mm.memory)
    if folio is None:
        return FALLBACK
    # For the day of the split, which has no place to allocate: its lock is a spinlock, and its caller may be
    # reclaim.
    table = new_table(mm, start)
    if table is None:
        folio_put(mm.memory, folio)
        return ENOMEM
    for page in folio.pages:
        page.token = 0
    bits = vma.vm_page_prot | maybe_mkwrite(vma) | PTE_YOUNG | (PTE_DIRTY if write else 0)
    stable = True
    with mm.page_table_lock:
        installed = pmdp_get(mm, start) is None
        if installed:
            # Under the lock, with the entry seen empty: see `check_stable_address_space`.
            installed = stable = check_stable_address_space(mm)
        if installed:
            hugepage_add_new_anon_rmap(folio, vma, start)
            folio.lru = True
            # Before the entry: a task that finds a huge entry under this lock may withdraw a table.
            deposit(mm, start, table)
            set_pmd(mm, start, mk_pte(folio, bits))
            add_mm_counter(mm, MM_ANONPAGES, mm.memory.ptrs_per_pte)
            trace("huge_fault", mm=mm.name, addr=hex(start), page=folio.name)
    if not installed:
        pte_cache.free(table)
        folio_put(mm.memory, folio)
    return 0 if stable else EFAULT


def _map_huge_zero_page(vma: VmArea, start: int) -> int:
    """The read fault: as `do_huge_pmd_anonymous_page`. A page-table page is deposited, as with any huge page."""
    mm = vma.vm_mm
    table = new_table(mm, start)
    if table is None:
        return ENOMEM
    folio = mm_get_huge_zero_page(mm)
    if folio is None:
        pte_cache.free(table)
        return FALLBACK
    stable = True
    with mm.page_table_lock:
        installed = pmdp_get(mm, start) is None
        if installed:
            installed = stable = check_stable_address_space(mm)
        if installed:
            deposit(mm, start, table)
            set_pmd(mm, start, mk_pte(folio, vma.vm_page_prot | PTE_YOUNG))
            trace("huge_fault", mm=mm.name, addr=hex(start), page=folio.name, zero=True)
    if not installed:
        pte_cache.free(table)
    return 0 if stable else EFAULT


def do_huge_pmd_wp_page(vma: VmArea, address: int, pmd: Present) -> int:
    """A store met the read-only huge entry `pmd`: make it writable, or map it page by page. 0.

    As with small pages, one that nobody else refers to becomes exclusive, under the folio lock. That is only tried
    here, where v6.1 drops `page_table_lock` and waits. The huge zero page is mapped page by page, and the next fault
    copies a small one.
    """
    mm = vma.vm_mm
    start = address & -mm.pmd_size
    if is_huge_zero_pmd(mm.memory, pmd):
        # Looked at without the lock, and looked at again by the split, under it.
        split_huge_pmd(vma, start)
        return 0
    with mm.page_table_lock:
        if pmdp_get(mm, start) != pmd:
            return 0
        folio = mm.memory.mem_map[pmd.pfn]
        if all(page.anon_exclusive for page in folio.pages) or _may_reuse_huge(folio, vma, start):
            change_pmd_bits(mm, start, gained=maybe_mkwrite(vma) | PTE_DIRTY | PTE_YOUNG)
            return 0
        split_huge_pmd_locked(vma, start, freeze=False)
    return 0


def _may_reuse_huge(folio: Folio, vma: VmArea, start: int) -> bool:
    """If nobody else refers to the huge page, make it exclusive, and move it to the anon_vma of `vma`. Needs
    `page_table_lock`.
    """
    # A first look, so that the lock is not taken for nothing. Under the lock it counts: a task that makes
    # another reference without an entry, as one that adds the page to the swap cache, has the folio locked.
    if READ_ONCE(folio, "refcount") != 1 or not folio.lock.trylock():
        return False
    alone = bool(READ_ONCE(folio, "refcount") == 1)
    if alone:
        hugepage_set_anon_rmap(folio, vma, start)
        for page in folio.pages:
            page.anon_exclusive = True
    folio.lock.unlock()
    return alone


def huge_pmd_set_accessed(mm: MmStruct) -> None:
    """A fault met a huge entry that permits the access by now, or soon: wait for the task that is changing it.
    Needs mmap_lock, or the lock of the VMA.
    """
    with mm.page_table_lock:
        pass


def pmd_migration_entry_wait(mm: MmStruct, address: int) -> None:
    """Sleep until the huge page at `address` has been moved; the caller looks again.

    Needs mmap_lock, or the lock of the VMA. A reference keeps the page while it is waited for; the migration sees
    that, and gives up.
    """
    with mm.page_table_lock:
        pmd = pmdp_get(mm, address)
        folio = pfn_swap_entry_to_page(mm.memory, pmd) if isinstance(pmd, Migration) else None
        if folio is not None:
            # Under the lock, where the entry still keeps the page. Without it the page may be freed before we
            # sleep on its lock (pmd-migration-wait, Z47). For small pages there is a way to wait that needs
            # none: `migration_entry_wait_on_locked`.
            folio_get(folio)
    if folio is not None:
        folio_wait_locked(folio)
        folio_put(mm.memory, folio)
