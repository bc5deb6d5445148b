"""A huge page as a whole: its rights, its end, its copy in the child of a fork. Kernel: mm/huge_memory.c, v6.1."""

from __future__ import annotations

from sugarbush.concurrency import atomic_add_return, trace
from sugarbush.vm.frames import (
    MmuGather,
    flush_tlb_range,
    is_huge_zero_pmd,
    new_table,
    pfn_swap_entry_to_page,
    pmdp_get,
    pte_cache,
    set_pmd,
    tlb_remove_tlb_entry,
    userfaultfd_wp,
)
from sugarbush.vm.huge.huge_pmd import change_pmd_bits, deposit, is_leaf, pmdp_huge_get_and_clear, withdraw
from sugarbush.vm.huge.huge_split_pmd import split_huge_pmd_locked
from sugarbush.vm.huge.huge_zero import mm_get_huge_zero_page
from sugarbush.vm.objects import (
    EAGAIN,
    ENOMEM,
    MM_ANONPAGES,
    PTE_RIGHTS,
    PTE_SOFT_DIRTY,
    PTE_SWP_EXCLUSIVE,
    PTE_UFFD_WP,
    PTE_WRITE,
    PTE_YOUNG,
    Folio,
    Migration,
    MmStruct,
    Present,
    VmArea,
    folio_get,
    folio_maybe_dma_pinned,
)
from sugarbush.vm.spaces import add_mm_counter


def change_huge_pmd(tlb: MmuGather, vma: VmArea, address: int, *, numa: bool = False) -> bool:
    """Give the huge entry the rights of its VMA, or with `numa` none; False if it is a huge entry no more.

    Needs mmap_lock. Kernel: change_huge_pmd(). It must not look empty in between, even to those who hold mmap_lock for
    reading.
    """
    mm = vma.vm_mm
    rights = 0 if numa else vma.vm_page_prot
    with mm.page_table_lock:
        pmd = pmdp_get(mm, address)
        if isinstance(pmd, Present) and numa and (pmd.protnone or is_huge_zero_pmd(mm.memory, pmd)):
            # Zeroes are in the cache of whoever reads them: nothing is learnt by a fault.
            return True
        # In one step. To clear it and write it back, all under this lock, is not the same: MADV_DONTNEED
        # looks without the lock, and passes over what looks empty (dontneed-against-numa, Z09).
        if isinstance(pmd, Present):
            change_pmd_bits(mm, address, gained=rights, lost=PTE_RIGHTS & ~rights)
            tlb_remove_tlb_entry(tlb, address, address + mm.pmd_size)
        # What it will permit when the page has been moved. No flush: it permits nothing now.
        elif isinstance(pmd, Migration) and pmd.write:
            set_pmd(mm, address, Migration(pmd.pfn, pmd.generation, pmd.bits & ~PTE_WRITE))
        return is_leaf(pmd)


def clear_soft_dirty_pmd(vma: VmArea, address: int) -> None:
    """Forget that the huge page at `address` was written to, so that the next store is seen; needs mmap_lock.

    Kernel: clear_soft_dirty_pmd() in fs/proc/task_mmu.c, under mmap_lock for reading.
    """
    mm = vma.vm_mm
    with mm.page_table_lock:
        if isinstance(pmdp_get(mm, address), Present):
            # In one step, as above (dontneed-against-soft-dirty, Z09s; split-against-soft-dirty, Z31).
            change_pmd_bits(mm, address, lost=PTE_WRITE | PTE_SOFT_DIRTY)
            # Before the lock goes: a store by a translation of before would not fault, and leave no bit.
            flush_tlb_range(mm, address, address + mm.pmd_size)
            trace("clear_soft_dirty", mm=mm.name, addr=hex(address))


def zap_huge_pmd(tlb: MmuGather, address: int) -> bool:
    """Empty the upper entry of a huge page; False if there is none (any more). The whole range must go.

    Needs mmap_lock, the lock of the VMA, or an rmap lock.
    """
    mm = tlb.mm
    with mm.page_table_lock:
        if not is_leaf(pmdp_get(mm, address)):
            return False
        pmd = pmdp_huge_get_and_clear(mm, address)
        tlb_remove_tlb_entry(tlb, address, address + mm.pmd_size)
        counted = True
        if isinstance(pmd, Present) and is_huge_zero_pmd(mm.memory, pmd):
            # It stays until the address space ends: no reference is dropped before the flush.
            counted = False
        elif isinstance(pmd, Present):
            folio = mm.memory.mem_map[pmd.pfn]
            atomic_add_return(folio, "entire_mapcount", -1)
            # The reference that the entry had goes with the gather, after the flush.
            tlb.pages.append(folio)
        else:
            assert isinstance(pmd, Migration)
            # For its assertion; the page itself is left to the migration, which finds the entry gone.
            pfn_swap_entry_to_page(mm.memory, pmd)
        tlb.tables.append(withdraw(mm, address))
        if counted:
            add_mm_counter(mm, MM_ANONPAGES, -mm.memory.ptrs_per_pte)
        trace("zap_huge", mm=mm.name, addr=hex(address), pmd=pmd)
    return True


def _share(child: MmStruct, mm: MmStruct, address: int, folio: Folio, lost: int) -> None:
    """Let both have the page, read-only; needs `page_table_lock` of both."""
    folio_get(folio)
    atomic_add_return(folio, "entire_mapcount", 1)
    for page in folio.pages:
        page.anon_exclusive = False
    # Not flushed here: fork flushes once, at its end, and keeps write faults out till then by mmap_lock and
    # the lock of the VMA (fork-without-vma-locks, Z19).
    pmd = change_pmd_bits(mm, address, lost=PTE_WRITE)
    assert isinstance(pmd, Present)
    set_pmd(child, address, pmd.lacking(PTE_WRITE | PTE_YOUNG | lost))


def _share_zero(child: MmStruct, mm: MmStruct, address: int, lost: int) -> None:
    """As `_share`, of the huge zero page, which no entry counts; needs `page_table_lock` of both."""
    # The parent has a reference, so there is nothing to allocate under these locks.
    got = mm_get_huge_zero_page(child)
    assert got is not None
    pmd = change_pmd_bits(mm, address, lost=PTE_WRITE)
    assert isinstance(pmd, Present)
    set_pmd(child, address, pmd.lacking(PTE_WRITE | PTE_YOUNG | lost))


def copy_huge_pmd(dst: VmArea, src: VmArea, address: int) -> int:
    """Share a huge page with the child: 0, -ENOMEM, or -EAGAIN if it is a huge page no more.

    One that is pinned is mapped page by page: the child gets copies of its pages. Needs mmap_lock of both for writing.
    """
    mm, child = src.vm_mm, dst.vm_mm
    table = new_table(child, address)
    if table is None:
        return ENOMEM
    # The child's first, as v6.1. Nobody else has two of these at once for these two: both mmap_locks are held
    # for writing.
    child.page_table_lock.lock()
    mm.page_table_lock.lock(1)
    pmd = pmdp_get(mm, address)
    # A protection goes with the registration of the child's VMA, as in `vm.faults.cow`.
    protected = isinstance(pmd, Present | Migration) and pmd.bits & PTE_UFFD_WP
    lost = PTE_UFFD_WP if protected and not userfaultfd_wp(dst) else 0
    zero = isinstance(pmd, Present) and is_huge_zero_pmd(mm.memory, pmd)
    if zero:
        _share_zero(child, mm, address, lost)
    elif isinstance(pmd, Present):
        folio = mm.memory.mem_map[pmd.pfn]
        # Asked after `write_protect_seq` became odd: a task that pins later gives the pin up
        # (gup-fast-against-fork, Z36).
        if folio.anon_exclusive and folio_maybe_dma_pinned(folio):
            split_huge_pmd_locked(src, address, freeze=False)
            pmd = pmdp_get(mm, address)
        else:
            _share(child, mm, address, folio, lost)
    elif isinstance(pmd, Migration):
        pfn_swap_entry_to_page(mm.memory, pmd)
        pmd = Migration(pmd.pfn, pmd.generation, pmd.bits & ~(PTE_WRITE | PTE_SWP_EXCLUSIVE))
        set_pmd(mm, address, pmd)
        set_pmd(child, address, Migration(pmd.pfn, pmd.generation, pmd.bits & ~lost))
    copied = is_leaf(pmd)
    if copied:
        deposit(child, address, table)
        if not zero:
            add_mm_counter(child, MM_ANONPAGES, mm.memory.ptrs_per_pte)
    mm.page_table_lock.unlock()
    child.page_table_lock.unlock()
    if not copied:
        pte_cache.free(table)
    return 0 if copied else EAGAIN
