"""Private mappings of files in hugetlbfs: copies at the first store, and at a fork. Kernel: mm/hugetlb.c, v6.1.

A fork shares the pages, as with small ones, but the promises stay with the parent. If there is no page for the
copy that the parent has to make, the child loses the page that both have, and is refused when it looks for it
again: whoever called mmap was promised that his stores do not fail (HPAGE_RESV_OWNER, v2.6.27).
"""

from __future__ import annotations

from sugarbush.concurrency import READ_ONCE, trace
from sugarbush.vm.files import (
    HPAGE_RESV_UNMAPPED,
    HugetlbFile,
    filemap_get_folio,
    hstate_file,
    i_mmap_lock_write,
    i_mmap_unlock_write,
    vma_interval_tree_foreach,
    vma_resv_map,
)
from sugarbush.vm.frames import (
    folio_put,
    maybe_mkwrite,
    mk_pte,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
    pte_alloc,
    pte_offset_map,
    ptep_change,
    ptep_clear_flush,
    ptep_get,
    ptep_get_and_clear,
    ptep_set_wrprotect,
    set_pte,
    tlb_finish_mmu,
    tlb_gather_mmu,
    tlb_remove_tlb_entry,
)
from sugarbush.vm.huge.hugetlb_reserve import alloc_hugetlb_folio, put_unused
from sugarbush.vm.objects import (
    EFAULT,
    ENOMEM,
    PAGE_SIZE,
    PTE_DIRTY,
    PTE_WRITE,
    PTE_YOUNG,
    VM_SHARED,
    Folio,
    PageTable,
    Present,
    VmArea,
    folio_get,
    folio_maybe_dma_pinned,
    folio_test_anon,
)
from sugarbush.vm.reverse import anon_vma_prepare, folio_add_new_anon_rmap, folio_dup_rmap, folio_remove_rmap
from sugarbush.vm.spaces import SINGLE_DEPTH_NESTING, linear_page_index, vma_address


def hugetlb_write_fault(
    vma: VmArea, mapping: HugetlbFile, index: int, table: PageTable, address: int, pte: Present
) -> int | Folio:
    """A store met the entry `pte`, read without its lock: let it be writable, or copy its page. As `hugetlb_wp`.

    Needs the page's fault mutex. The page of the file, if there is one, is locked, and the page of the entry
    only tried: two locks of one kind would need an order.
    """
    cached = None if vma.vm_flags & VM_SHARED or pte.write else _lock_cached(mapping, index)
    page = vma.vm_mm.memory.mem_map[pte.pfn]
    result: int | Folio = 0
    locked: Folio | None = None
    with table.ptl:
        same = ptep_get(table, address) == pte
        if same and (vma.vm_flags & VM_SHARED or pte.write):
            # Others who share the table have the same rights.
            ptep_change(table, address, gained=maybe_mkwrite(vma) | PTE_DIRTY | PTE_YOUNG)
            same = False
        # Two folio locks, with no order between them: the second is only tried, and the fault comes again.
        elif same and page is not cached:
            same = page.lock.trylock()
            locked = page if same else None
        if same:
            # Under the lock: the entry keeps the page only that long.
            folio_get(page)
    if same:
        result = hugetlb_wp(vma, table, address, pte, cached)
        folio_put(vma.vm_mm.memory, page)
    if locked is not None:
        locked.lock.unlock()
    if cached is not None:
        cached.lock.unlock()
        folio_put(vma.vm_mm.memory, cached)
    return result


def _lock_cached(mapping: HugetlbFile, index: int) -> Folio | None:
    """The page of the file, locked and with a reference, if it is cached; needs the page's fault mutex."""
    folio = filemap_get_folio(mapping, index)
    if folio is not None:
        # A hole needs the fault mutex, which we have: the page is still the file's.
        folio.lock.lock()
    return folio


def hugetlb_wp(
    vma: VmArea, table: PageTable, address: int, pte: Present, cached: Folio | None
) -> int | Folio:
    """Break the sharing of the private page that the read-only `pte` maps. 0, -ENOMEM or -EFAULT; or the page,
    with a reference, which has to be taken from those who were promised nothing (`unmap_ref_private`).

    Needs the page's fault mutex and the locks of its page and of `cached`, the page of the file. Whoever was
    promised a page for the mapping, and has used that up by the page that a fork then shared, gets one that
    nobody was promised (avoid_reserve); and if there is none, that of his child.
    """
    mm = vma.vm_mm
    old = mm.memory.mem_map[pte.pfn]
    with table.ptl:
        if ptep_get(table, address) != pte:
            return 0
        # By the mapcount, as v6.1: the callers have references of their own.
        if READ_ONCE(old, "mapcount") == 1 and folio_test_anon(old):
            if not old.anon_exclusive:
                old.mapping = vma.anon_vma
                old.anon_exclusive = True
            ptep_change(table, address, gained=maybe_mkwrite(vma) | PTE_DIRTY | PTE_YOUNG)
            return 0
        folio_get(old)
    # Where `old` is the page of the file, the promise for this place is still to be used. Else `old` has used
    # it up, and what is promised now is for other places.
    outside = vma_resv_map(vma) is not None and old is not cached
    new = alloc_hugetlb_folio(vma, address, avoid_reserve=outside)
    if new is not None:
        return _copy(vma, table, address, pte, old, new)
    if outside:
        return old
    folio_put(mm.memory, old)
    return EFAULT


def _copy(vma: VmArea, table: PageTable, address: int, pte: Present, old: Folio, new: Folio) -> int:
    """Map `new` in place of `old`, a reference to which is taken over; needs what `hugetlb_wp` needs."""
    mm = vma.vm_mm
    if not anon_vma_prepare(vma):
        put_unused(vma, address, new)
        folio_put(mm.memory, old)
        return ENOMEM
    new.token = READ_ONCE(old, "token")
    mmu_notifier_invalidate_range_start(mm, address, address + PAGE_SIZE)
    with table.ptl:
        copied = ptep_get(table, address) == pte
        if copied:
            # Devices have dropped the old page before (the invalidation began), CPUs have after this; only
            # then the new one is there for anybody (set-pte-notify, Z69).
            ptep_clear_flush(mm, table, address)
            folio_remove_rmap(old)
            folio_add_new_anon_rmap(new, vma, address)
            new.restore_reserve = False
            bits = vma.vm_page_prot | maybe_mkwrite(vma) | PTE_DIRTY | PTE_YOUNG
            set_pte(table, address, mk_pte(new, bits))
            trace("hugetlb_cow", mm=mm.name, addr=hex(address), old=old.name, new=new.name)
    mmu_notifier_invalidate_range_end(mm, address, address + PAGE_SIZE)
    if copied:
        folio_put(mm.memory, old)
    else:
        put_unused(vma, address, new)
    folio_put(mm.memory, old)
    return 0


def unmap_ref_private(vma: VmArea, page: Folio, address: int) -> None:
    """Take `page` out of all private mappings of the file but `vma` that were promised nothing.

    Takes i_mmap_rwsem for writing, under mmap_lock, and gives up a reference to the page. The fault mutex and the
    lock of the page are given back before: a fault that has the mutex waits for the page of the file (v6.17).
    """
    mapping = hstate_file(vma)
    index = linear_page_index(vma, address)
    # This, and not their mmap_locks, keeps the other VMAs and their tables: munmap takes a VMA out of the
    # file's tree under it before it frees tables. Their mmap_locks could not be waited for: the parent's is
    # held, and there is no order between the two.
    i_mmap_lock_write(mapping)
    for other in vma_interval_tree_foreach(mapping, index, index):
        there = vma_address(other, index)
        if other is vma or there is None or other.vm_flags & VM_SHARED or vma_resv_map(other) is not None:
            continue
        _unmap_one(other, there, page)
    i_mmap_unlock_write(mapping)
    folio_put(vma.vm_mm.memory, page)


def _unmap_one(vma: VmArea, address: int, page: Folio) -> None:
    """Empty the entry of `address`, if it maps `page`. Needs i_mmap_rwsem for writing."""
    mm = vma.vm_mm
    tlb = tlb_gather_mmu(mm)
    mmu_notifier_invalidate_range_start(mm, address, address + PAGE_SIZE)
    table = pte_offset_map(mm, address)
    if table is not None:
        with table.ptl:
            pte = ptep_get(table, address)
            if isinstance(pte, Present) and mm.memory.mem_map[pte.pfn] is page:
                # From now on its faults here are refused, since it would read zeroes where its parent wrote
                # something else.
                vma.vm_private_data = HPAGE_RESV_UNMAPPED
                ptep_get_and_clear(table, address)
                tlb_remove_tlb_entry(tlb, address, address + PAGE_SIZE)
                folio_remove_rmap(page)
                tlb.pages.append(page)
                trace("unmap_ref_private", mm=mm.name, addr=hex(address), page=page.name)
    mmu_notifier_invalidate_range_end(mm, address, address + PAGE_SIZE)
    tlb_finish_mmu(tlb)


# -- fork -------------------------------------------------------------------------------------------------------


def copy_hugetlb_page_range(dst: VmArea, src: VmArea, table: PageTable, start: int, end: int) -> int:
    """Share the private pages of ``[start, end)`` of one page-table page with the child; 0 or -ENOMEM.

    Needs mmap_lock of both for writing. A page that is pinned is copied at once, for which the locks are given
    back and the entry is looked at again.
    """
    child, memory = dst.vm_mm, src.vm_mm.memory
    copy = pte_alloc(child, start)
    if copy is None:
        return ENOMEM
    address = start
    while address < end:
        pinned: Present | None = None
        copy.ptl.lock()
        table.ptl.lock(SINGLE_DEPTH_NESTING)
        pte = ptep_get(table, address)
        if isinstance(pte, Present):
            page = memory.mem_map[pte.pfn]
            # As `vm.faults.cow._copy_present_pte`: asked after `write_protect_seq` became odd.
            if folio_test_anon(page) and page.anon_exclusive and folio_maybe_dma_pinned(page):
                pinned = pte
            else:
                folio_get(page)
                folio_dup_rmap(page)
                if pte.write:
                    ptep_set_wrprotect(table, address)
                set_pte(copy, address, pte.lacking(PTE_WRITE))
                trace("copy_hugetlb_pte", mm=child.name, addr=hex(address), pte=pte)
        table.ptl.unlock()
        copy.ptl.unlock()
        if pinned is not None and not _copy_pinned(dst, copy, address, memory.mem_map[pinned.pfn]):
            return ENOMEM
        address += PAGE_SIZE
    return 0


def _copy_pinned(dst: VmArea, copy: PageTable, address: int, page: Folio) -> bool:
    """Give the child a copy of a pinned page. Nobody changes the parent's entry: both mmap_locks are held, and
    these pages are not moved.
    """
    new = alloc_hugetlb_folio(dst, address, avoid_reserve=True)
    if new is None:
        return False
    new.token = READ_ONCE(page, "token")
    with copy.ptl:
        folio_add_new_anon_rmap(new, dst, address)
        new.restore_reserve = False
        set_pte(copy, address, mk_pte(new, dst.vm_page_prot | maybe_mkwrite(dst) | PTE_DIRTY))
    return True
