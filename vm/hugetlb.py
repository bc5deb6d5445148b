"""Huge pages of files in hugetlbfs, and page-table pages that address spaces share. Kernel: mm/hugetlb.c, v6.1.

Shared mappings that cover all that one page-table page maps, and show the same pages of the file there with the same
rights, use one page-table page together (huge_pmd_share()). Whoever is about to change entries of it, or to cut such a
mapping, leaves it first (huge_pmd_unshare()); what it had there comes back by faults. So an entry of a shared table
counts once in the mapcount of its page. In the kernel a huge page of 2 MiB is an entry of a PMD page, and that PMD page
is shared; here a huge page is an entry of the lower level, as large as any page of the model, and `PMD_SIZE` bytes is
what a shared table maps.

Who may share with whom is settled under i_mmap_rwsem of the file, held for reading by those who join and for writing
by those who leave. A fault keeps the table that it has found by the lock of the VMA (`vm_private_data`, struct
hugetlb_vma_lock), which those who leave hold for writing. Faults on one page are one at a time (the fault mutex).

Simpler here: only shared mappings; each file has its own number of huge pages, which are taken from the free frames at
the first fault, as surplus pages are, and given back when the file ends, and nothing is reserved by mmap. These pages
are not on the LRU, so they are neither moved nor reclaimed. Such a file is not truncated, and a mapping of it is not
moved. Sharing counts are apart from the references of the table, as since v6.14; page tables are left with an
interrupt for those who walk them without locks, as since v6.16.
"""

from __future__ import annotations

from typing import Any

from concurrency import (
    READ_ONCE,
    Access,
    Atomic,
    Mutex,
    Operation,
    RwSemaphore,
    active,
    atomic_add_unless,
    atomic_inc,
    perform,
    poke,
    trace,
)
from vm.errno import EFAULT, ENOMEM
from vm.filemap import (
    AddressSpace,
    add_folio,
    filemap_get_folio,
    i_mmap_lock_read,
    i_mmap_lock_write,
    i_mmap_unlock_read,
    i_mmap_unlock_write,
    vma_interval_tree_foreach,
)
from vm.folio import Folio, alloc_folio, folio_put
from vm.layout import PAGE_SIZE, PMD_SIZE, VM_LOCKED, pte_index
from vm.pgtable import (
    PTE_DIRTY,
    PTE_EXEC,
    PTE_READ,
    PTE_WRITE,
    PTE_YOUNG,
    PageTable,
    Present,
    addresses,
    maybe_mkwrite,
    mk_pte,
    pmdp_get,
    pte_alloc,
    pte_offset_map,
    ptep_change,
    ptep_get,
    ptep_get_and_clear,
    set_pmd,
    set_pte,
)
from vm.rmap import folio_add_file_rmap, folio_remove_rmap
from vm.tlb import (
    MmuGather,
    flush_tlb_range,
    tlb_flush_mmu_tlbonly,
    tlb_remove_table_sync_one,
    tlb_remove_tlb_entry,
)
from vm.vma import VmArea, linear_page_index, vma_address, vma_set_page_prot

_RIGHTS = PTE_READ | PTE_WRITE | PTE_EXEC
_FAULT_MUTEXES = 4
"""So many for each file; the kernel has one table of them for all."""


class HugetlbFile(AddressSpace):
    """A file in hugetlbfs, which may get `free_huge_pages` more pages. Its i_mmap_rwsem is of a class of its own:
    page tables are allocated under it, which may reclaim, and reclaim takes that of other files.
    """

    free_huge_pages: Atomic[int] = 0
    fault_mutexes: tuple[Mutex, ...]

    def __init__(self, name: str, huge_pages: int) -> None:
        super().__init__(name)
        self.i_mmap_rwsem = RwSemaphore("hugetlbfs_i_mmap_rwsem_key")
        poke(self, "free_huge_pages", huge_pages)
        self.fault_mutexes = tuple(Mutex("hugetlb_fault_mutex") for _ in range(_FAULT_MUTEXES))


def is_vm_hugetlb_page(vma: VmArea) -> bool:
    """`vma` maps a file in hugetlbfs. Asked of its file, which never changes, so it is no step."""
    return isinstance(vma.vm_file, HugetlbFile)


def hstate_file(vma: VmArea) -> HugetlbFile:
    """The file that a hugetlb mapping is of."""
    assert isinstance(vma.vm_file, HugetlbFile)
    return vma.vm_file


def hugetlb_vma_lock(vma: VmArea) -> RwSemaphore:
    """Under it for reading page tables of `vma` are used, for writing they are left. It ends with the last unmap."""
    lock = vma.vm_private_data
    assert lock is not None
    return lock


# -- sharing ----------------------------------------------------------------------------------------------------


def _add(table: PageTable, _task: Any, by: int) -> None:
    table.pt_share_count += by


PTS_ADD = Operation("ptdesc_pmd_pts_add", Access.ACQ_REL, field="share", effect=_add, local=True)
PTS_COUNT = Operation("ptdesc_pmd_pts_count", Access.READ_ONCE, field="share", local=True)


def ptdesc_pmd_pts_count(table: PageTable) -> int:
    """How many use `table` besides the first."""
    rt = active.runtime
    if rt is not None:
        rt.step(PTS_COUNT, table)
    return table.pt_share_count


def want_pmd_share(vma: VmArea, address: int) -> bool:
    """`vma` covers all that the page-table page of `address` maps."""
    start = address & -PMD_SIZE
    return vma.vm_start <= start and start + PMD_SIZE <= vma.vm_end


def page_table_shareable(other: VmArea, vma: VmArea, address: int, pgoff: int) -> int | None:
    """Where `other` has page `pgoff` of the file, if its page-table page would also serve `vma` at `address`.

    Needs i_mmap_rwsem.
    """
    there = vma_address(other, pgoff)
    if there is None or other.vm_private_data is None or (other.vm_flags ^ vma.vm_flags) & ~VM_LOCKED:
        return None
    return there if pte_index(there) == pte_index(address) and want_pmd_share(other, there) else None


def huge_pmd_share(vma: VmArea, address: int) -> PageTable | None:
    """The page-table page of `address`: that of another mapping if one fits, else a new one; None without memory.

    Takes i_mmap_rwsem for reading, so that nobody leaves meanwhile.
    """
    mm, mapping = vma.vm_mm, hstate_file(vma)
    pgoff = linear_page_index(vma, address)
    i_mmap_lock_read(mapping)
    for other in vma_interval_tree_foreach(mapping, pgoff, pgoff):
        there = None if other is vma else page_table_shareable(other, vma, address, pgoff)
        shared = None if there is None else pte_offset_map(other.vm_mm, there)
        if shared is not None:
            with mm.page_table_lock:
                if pmdp_get(mm, address) is None:
                    perform(PTS_ADD, shared, 1)
                    set_pmd(mm, address, shared)
                    trace("huge_pmd_share", mm=mm.name, addr=hex(address), other=other.vm_mm.name)
            break
    table = pte_alloc(mm, address)
    i_mmap_unlock_read(mapping)
    return table


def huge_pmd_unshare(vma: VmArea, address: int) -> bool:
    """Leave the page-table page of `address` to the others who use it; False if there are none.

    Needs i_mmap_rwsem for writing, and a flush before that is given back: afterwards the others may free the page.
    """
    hstate_file(vma).i_mmap_rwsem.assert_held_write()
    mm = vma.vm_mm
    with mm.page_table_lock:
        table = pmdp_get(mm, address)
        if not isinstance(table, PageTable) or not ptdesc_pmd_pts_count(table):
            return False
        set_pmd(mm, address, None)
        tlb_remove_table_sync_one(mm.memory)
        perform(PTS_ADD, table, -1)
    trace("huge_pmd_unshare", mm=mm.name, addr=hex(address))
    return True


def hugetlb_unshare_pmds(vma: VmArea, start: int, end: int) -> None:
    """Leave all shared page-table pages of ``[start, end)``; needs i_mmap_rwsem for writing."""
    for low, _ in addresses(start, end):
        huge_pmd_unshare(vma, low)
    flush_tlb_range(vma.vm_mm, start, end)


def hugetlb_split(vma: VmArea, address: int) -> None:
    """`vma` is about to be cut at `address`: no page-table page that lies across it may be shared any more.

    Needs mmap_lock and i_mmap_rwsem for writing, so that nobody shares it again before the VMA is cut. Kernel: v6.16.
    """
    start = address & -PMD_SIZE
    if address != start and want_pmd_share(vma, address):
        hugetlb_unshare_pmds(vma, start, start + PMD_SIZE)


# -- faults -----------------------------------------------------------------------------------------------------


def hugetlb_fault(vma: VmArea, address: int, *, write: bool) -> int:
    """Map the page of the file at `address`: 0, -ENOMEM without page tables, or -EFAULT without a huge page.

    Needs mmap_lock.
    """
    mapping = hstate_file(vma)
    index = linear_page_index(vma, address)
    mutex = mapping.fault_mutexes[index % len(mapping.fault_mutexes)]
    mutex.lock()
    lock = hugetlb_vma_lock(vma)
    lock.down_read()
    table = huge_pte_alloc(vma, address)
    if table is None:
        result = ENOMEM
    elif ptep_get(table, address) is None:
        result = hugetlb_no_page(vma, mapping, index, table, address, write=write)
    else:
        result = 0
        if write:
            hugetlb_wp(vma, table, address)
    lock.up_read()
    mutex.unlock()
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
    """Map page `index` of the file, a new one if need be; 0 or -EFAULT. Needs the page's fault mutex."""
    memory = vma.vm_mm.memory
    folio = filemap_get_folio(mapping, index)
    if folio is None:
        folio = alloc_huge_page(vma, mapping, index)
        if folio is None:
            return EFAULT
    folio.lock.lock()
    bits = vma.vm_page_prot | PTE_YOUNG | (PTE_DIRTY if write else 0)
    with table.ptl:
        installed = ptep_get(table, address) is None
        if installed:
            folio_add_file_rmap(folio)
            set_pte(table, address, mk_pte(folio, bits))
            trace("hugetlb_fault", mm=vma.vm_mm.name, addr=hex(address), page=folio.name)
    folio.lock.unlock()
    if not installed:
        folio_put(memory, folio)
    return 0


def alloc_huge_page(vma: VmArea, mapping: HugetlbFile, index: int) -> Folio | None:
    """A new page `index` of the file, with a reference besides the file's; None if it may have no more.

    Needs the page's fault mutex, so nobody else adds that page.
    """
    size = READ_ONCE(mapping, "i_size")
    if (size is not None and index >= size) or not atomic_add_unless(mapping, "free_huge_pages", -1, 0):
        return None
    folio = alloc_folio(vma.vm_mm.memory)
    if folio is None:
        atomic_inc(mapping, "free_huge_pages")
        return None
    folio.token = 0
    add_folio(mapping, index, folio)
    return folio


def hugetlb_wp(vma: VmArea, table: PageTable, address: int) -> None:
    """A store met an entry: let it be writable; needs mmap_lock. Others who share the table have the same rights."""
    with table.ptl:
        ptep_change(table, address, gained=maybe_mkwrite(vma) | PTE_DIRTY | PTE_YOUNG)


# -- changing and emptying --------------------------------------------------------------------------------------


def hugetlb_change_protection(vma: VmArea, start: int, end: int, flags: int) -> None:
    """Give `vma`, which is ``[start, end)``, the flags `flags`, and its entries the rights that they say.

    What is shared is left. Needs mmap_lock for writing. The flags are written under the lock that sharing needs: a
    fault of another process that already has such flags must not find entries that still permit more. v6.1 writes them
    before it takes that lock, so as far as we know it has that window.
    """
    mm, mapping = vma.vm_mm, hstate_file(vma)
    lock = hugetlb_vma_lock(vma)
    lock.down_write()
    i_mmap_lock_write(mapping)
    vma.vm_flags = flags
    vma_set_page_prot(vma)
    rights = vma.vm_page_prot & _RIGHTS
    for low, high in addresses(start, end):
        table = None if huge_pmd_unshare(vma, low) else pte_offset_map(mm, low)
        if table is not None:
            with table.ptl:
                for address in range(low, high, PAGE_SIZE):
                    ptep_change(table, address, gained=rights, lost=_RIGHTS & ~rights)
    flush_tlb_range(mm, start & -PMD_SIZE, (end | PMD_SIZE - 1) + 1)
    i_mmap_unlock_write(mapping)
    lock.up_write()
    trace("mprotect", vma=vma.name, flags=hex(flags))


def unmap_hugepage_range(tlb: MmuGather, vma: VmArea, start: int, end: int, *, final: bool) -> None:
    """Empty ``[start, end)`` of `vma`; what is shared is left. Needs mmap_lock.

    With `final` the VMA goes, and page tables with it, so from now on nobody may share them: without its lock it is
    not shareable. Kernel: __unmap_hugepage_range_final().
    """
    mm, mapping = vma.vm_mm, hstate_file(vma)
    lock = hugetlb_vma_lock(vma)
    lock.down_write()
    i_mmap_lock_write(mapping)
    left = False
    for low, high in addresses(start, end):
        if huge_pmd_unshare(vma, low):
            tlb_remove_tlb_entry(tlb, low & -PMD_SIZE, (low & -PMD_SIZE) + PMD_SIZE)
            left = True
            continue
        table = pte_offset_map(mm, low)
        if table is not None:
            _zap(tlb, table, low, high)
    if left:
        tlb_flush_mmu_tlbonly(tlb)
    if final:
        vma.vm_private_data = None
    i_mmap_unlock_write(mapping)
    lock.up_write()


def _zap(tlb: MmuGather, table: PageTable, start: int, end: int) -> None:
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
