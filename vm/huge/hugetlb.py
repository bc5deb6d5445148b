"""Faults in files in hugetlbfs, and the ends of what they map. Kernel: mm/hugetlb.c, v6.1, locks of v6.6.

Faults on one page of a file are one at a time, by its fault mutex. A fault holds the lock of the VMA for
reading from before it looks for the page-table page until it is done with it.
"""

from __future__ import annotations

from sugarbush.concurrency import READ_ONCE, RwSemaphore, trace
from sugarbush.vm.files import (
    HPAGE_RESV_UNMAPPED,
    HugetlbFile,
    add_folio,
    filemap_get_folio,
    hstate_file,
    hugetlb_vma_lock_read,
    hugetlb_vma_lock_write,
    i_mmap_lock_write,
    i_mmap_unlock_write,
)
from sugarbush.vm.frames import (
    MmuGather,
    addresses,
    flush_tlb_range,
    folio_put,
    maybe_mkwrite,
    mk_pte,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
    pte_alloc,
    pte_offset_map,
    ptep_change,
    ptep_get,
    ptep_get_and_clear,
    set_pte,
    tlb_flush_mmu_tlbonly,
    tlb_remove_tlb_entry,
)
from sugarbush.vm.huge.hugetlb_cow import hugetlb_wp, hugetlb_write_fault, unmap_ref_private
from sugarbush.vm.huge.hugetlb_reserve import alloc_hugetlb_folio, put_unused
from sugarbush.vm.huge.hugetlb_share import huge_pmd_share, huge_pmd_unshare, want_pmd_share
from sugarbush.vm.objects import (
    EFAULT,
    ENOMEM,
    PAGE_SIZE,
    PTE_DIRTY,
    PTE_EXEC,
    PTE_READ,
    PTE_WRITE,
    PTE_YOUNG,
    VM_SHARED,
    Folio,
    Memory,
    PageTable,
    Present,
    VmArea,
)
from sugarbush.vm.reverse import (
    anon_vma_prepare,
    folio_add_file_rmap,
    folio_add_new_anon_rmap,
    folio_remove_rmap,
)
from sugarbush.vm.spaces import linear_page_index, vma_set_page_prot

_RIGHTS = PTE_READ | PTE_WRITE | PTE_EXEC


def hugetlb_fault(vma: VmArea, address: int, *, write: bool) -> int:
    """Map the page at `address`: 0, -ENOMEM without memory, or -EFAULT without a huge page.

    Needs mmap_lock.
    """
    mapping = hstate_file(vma)
    index = linear_page_index(vma, address)
    mutex = mapping.fault_mutexes[index % len(mapping.fault_mutexes)]
    # Outermost: two faults on one page of the file would each allocate one, and the pool may have just one.
    mutex.lock()
    # Before the table is looked for: it may be shared, and a task that leaves it holds this for writing.
    lock = hugetlb_vma_lock_read(vma)
    result: int | Folio
    table = huge_pte_alloc(vma, address)
    pte = None if table is None else ptep_get(table, address)
    if table is None:
        result = ENOMEM
    elif pte is None:
        result = hugetlb_no_page(vma, mapping, index, table, address, write=write)
    elif write and isinstance(pte, Present):
        result = hugetlb_write_fault(vma, mapping, index, table, address, pte)
    else:
        result = 0
    if lock is not None:
        lock.up_read()
    mutex.unlock()
    # Only here, with no lock held: to take the mutex again with the file's page locked waits for another
    # fault that has the mutex and waits for the page (hugetlb-cow-deadlock, Z79).
    if isinstance(result, Folio):
        # The access is made again then, and finds the page to be its own.
        unmap_ref_private(vma, result, address)
        return 0
    return result


def huge_pte_alloc(vma: VmArea, address: int) -> PageTable | None:
    """The page-table page of `address`, shared if possible; None without memory. Needs the lock of the VMA."""
    table = pte_offset_map(vma.vm_mm, address)
    if table is None and want_pmd_share(vma, address):
        return huge_pmd_share(vma, address)
    return pte_alloc(vma.vm_mm, address) if table is None else table


def hugetlb_no_page(
    vma: VmArea, mapping: HugetlbFile, index: int, table: PageTable, address: int, *, write: bool
) -> int:
    """Map page `index` of the file, a new one if need be; 0, -ENOMEM or -EFAULT. Needs the page's fault mutex.

    What a private mapping stores to becomes a page of its own at once. If a page was taken away from it,
    because those who had promises needed it, it gets no other: it would read zeroes where the parent had
    written something.
    """
    if vma.vm_private_data == HPAGE_RESV_UNMAPPED:
        return EFAULT
    shared = bool(vma.vm_flags & VM_SHARED)
    folio = find_lock_page(vma.vm_mm.memory, mapping, index)
    anon = folio is None and not shared
    if folio is None:
        # A truncate writes the size first and takes the page out under the same mutex: it finds the page that
        # is made now, or this look finds the size.
        size = READ_ONCE(mapping, "i_size")
        if size is not None and index >= size:
            return EFAULT
        folio = alloc_hugetlb_folio(vma, address)
        if folio is None:
            return EFAULT
        folio.lock.lock()
        if shared:
            # Nobody else adds that page: the fault mutex.
            added = add_folio(mapping, index, folio)
            assert added
            folio.restore_reserve = False
        elif not anon_vma_prepare(vma):
            folio.lock.unlock()
            # What is the file's by now stays there, whoever mapped it; a page of one's own goes back with its
            # promise.
            put_unused(vma, address, folio)
            return ENOMEM
    bits = vma.vm_page_prot | PTE_YOUNG | (PTE_DIRTY if write and (anon or shared) else 0)
    # With the folio locked, so that a hole that takes the page out finds it mapped, or not yet.
    with table.ptl:
        installed = ptep_get(table, address) is None
        if installed:
            if anon:
                folio_add_new_anon_rmap(folio, vma, address)
                folio.restore_reserve = False
                bits |= maybe_mkwrite(vma) if write else 0
            else:
                folio_add_file_rmap(folio)
            set_pte(table, address, mk_pte(folio, bits))
            trace("hugetlb_fault", mm=vma.vm_mm.name, addr=hex(address), page=folio.name)
    result = 0
    if installed and write and not shared and not anon:
        copied = hugetlb_wp(vma, table, address, mk_pte(folio, bits), folio)
        # A page is taken from a child only if the parent has used up its promise by a page that is not the
        # file's.
        assert isinstance(copied, int)
        result = copied
    folio.lock.unlock()
    if not installed:
        put_unused(vma, address, folio) if anon else folio_put(vma.vm_mm.memory, folio)
    return result


def find_lock_page(memory: Memory, mapping: HugetlbFile, index: int) -> Folio | None:
    """Page `index` of the file, locked and with a reference; None if it has none."""
    while True:
        folio = filemap_get_folio(mapping, index)
        if folio is None:
            return None
        folio.lock.lock()
        # Found without its lock: it may have been taken out since.
        if READ_ONCE(folio, "mapping") is mapping:
            return folio
        folio.lock.unlock()
        folio_put(memory, folio)


# -- changing and emptying --------------------------------------------------------------------------------------


def hugetlb_change_protection(vma: VmArea, start: int, end: int, flags: int) -> None:
    """Give `vma`, which is ``[start, end)``, the flags `flags`, and its entries the rights that they say.

    What is shared is left. Needs mmap_lock for writing. The flags are written under the lock that sharing
    needs: a fault of another process that already has such flags must not find entries that still permit more.
    v6.1 writes them before it takes that lock, so as far as we know it has that window.
    """
    mm, mapping = vma.vm_mm, hstate_file(vma)
    # What is left unshared goes as a whole, whatever part of it the VMA has.
    first, last = start & -mm.pmd_size, (end + mm.pmd_size - 1) & -mm.pmd_size
    mmu_notifier_invalidate_range_start(mm, first, last)
    lock = hugetlb_vma_lock_write(vma)
    i_mmap_lock_write(mapping)
    vma.vm_flags = flags
    vma_set_page_prot(vma)
    rights = vma.vm_page_prot & _RIGHTS
    for low, high in addresses(mm, start, end):
        # A shared table is left, not changed: its entries are those of other processes too, whose VMAs permit
        # what they did. What is left comes back by faults, with the new rights.
        table = None if huge_pmd_unshare(vma, low) else pte_offset_map(mm, low)
        if table is not None:
            with table.ptl:
                for address in range(low, high, PAGE_SIZE):
                    ptep_change(table, address, gained=rights, lost=_RIGHTS & ~rights)
    # Before i_mmap_rwsem goes: the pages of a table that was left are others' to free, and they know nothing
    # of our CPUs.
    flush_tlb_range(mm, first, last)
    i_mmap_unlock_write(mapping)
    if lock is not None:
        lock.up_write()
    mmu_notifier_invalidate_range_end(mm, first, last)
    trace("mprotect", vma=vma.name, flags=hex(flags))


def hugetlb_zap_begin(vma: VmArea) -> RwSemaphore | None:
    """Keep faults and those who share page tables out of `vma`, which is about to be emptied; gives what to
    unlock.

    Faults stay out until the pages are free again: a process that gives up a page and stores to the place at
    once would else find the pool empty, and be killed (2820b0f09be9, v6.6). Kernel: __hugetlb_zap_begin().
    """
    # Both, and further out than the zap: until the pages are back in the pool. See hugetlb-dontneed-fault
    # (Z75).
    lock = hugetlb_vma_lock_write(vma)
    i_mmap_lock_write(hstate_file(vma))
    return lock


def hugetlb_zap_end(vma: VmArea, lock: RwSemaphore | None, *, final: bool) -> None:
    """The end of `hugetlb_zap_begin`. With `final` the VMA goes, and page tables with it, so from now on nobody
    may share them: without its lock it is not shareable.
    """
    if final and vma.vm_flags & VM_SHARED:
        vma.vm_private_data = None
    i_mmap_unlock_write(hstate_file(vma))
    if lock is not None:
        lock.up_write()


def unmap_hugepage_range(tlb: MmuGather, vma: VmArea, start: int, end: int) -> None:
    """Empty ``[start, end)`` of `vma`; what is shared is left.

    Needs i_mmap_rwsem for writing, and the VMA's lock if page tables may be shared. Private copies go, too,
    even for a hole in the file. Kernel: __unmap_hugepage_range().
    """
    mm = vma.vm_mm
    left = False
    for low, high in addresses(mm, start, end):
        if huge_pmd_unshare(vma, low):
            whole = low & -mm.pmd_size
            tlb_remove_tlb_entry(tlb, whole, whole + mm.pmd_size)
            left = True
            continue
        table = pte_offset_map(mm, low)
        if table is not None:
            _zap(tlb, table, low, high)
    # Before the caller gives i_mmap_rwsem back, for the same reason as in `hugetlb_change_protection`.
    if left:
        tlb_flush_mmu_tlbonly(tlb)


def _zap(tlb: MmuGather, table: PageTable, start: int, end: int) -> None:
    """Empty the entries of one table. Takes its lock; needs what `unmap_hugepage_range` needs."""
    with table.ptl:
        for address in range(start, end, PAGE_SIZE):
            pte = ptep_get(table, address)
            if isinstance(pte, Present):
                ptep_get_and_clear(table, address)
                tlb_remove_tlb_entry(tlb, address, address + PAGE_SIZE)
                folio = tlb.mm.memory.mem_map[pte.pfn]
                folio_remove_rmap(folio)
                tlb.pages.append(folio)
                trace("zap", mm=tlb.mm.name, addr=hex(address), pte=pte)
