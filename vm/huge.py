"""Huge pages: an entry of the upper level that maps a whole folio. Kernel: mm/huge_memory.c, v6.1.

`page_table_lock` guards the upper entries. With each huge page a page-table page is deposited, so that it can be
mapped page by page at any time without allocating. Simpler here: only anonymous memory that was advised so
(MADV_HUGEPAGE) gets huge pages, and there is no huge zero page.
"""

from __future__ import annotations

from concurrency import Operation, atomic_add_return, bug_on, perform, trace
from vm.anon_vma import anon_vma_prepare
from vm.errno import EAGAIN, ENOMEM
from vm.folio import Folio, Memory, alloc_huge, folio_get, folio_put, folio_wait_locked
from vm.layout import HPAGE_PMD_NR, PMD_SIZE, VM_HUGEPAGE, pmd_index
from vm.mm import MM_ANONPAGES, MmStruct, add_mm_counter
from vm.pgtable import (
    PMD_SET,
    PTE_DIRTY,
    PTE_EXEC,
    PTE_READ,
    PTE_SOFT_DIRTY,
    PTE_SWP_EXCLUSIVE,
    PTE_WRITE,
    PTE_YOUNG,
    Migration,
    PageTable,
    Pmd,
    Present,
    make_migration_entry,
    maybe_mkwrite,
    mk_pte,
    new_table,
    pfn_swap_entry_to_page,
    pmdp_get,
    pte_cache,
    set_pmd,
)
from vm.rmap import hugepage_add_new_anon_rmap
from vm.tlb import MmuGather, flush_tlb_range, tlb_remove_tlb_entry
from vm.vma import VmArea

_RIGHTS = PTE_READ | PTE_WRITE | PTE_EXEC
FALLBACK = 1
"""A huge page is not possible here: use small ones. Kernel: VM_FAULT_FALLBACK."""


def is_leaf(pmd: Pmd) -> bool:
    """The upper entry maps a huge page, or stands for one that is being moved."""
    return isinstance(pmd, (Present, Migration))


# -- filling ----------------------------------------------------------------------------------------------------


def do_huge_pmd_anonymous_page(vma: VmArea, address: int, *, write: bool) -> int:
    """Map a huge page around `address`, unless somebody was faster. 0, -ENOMEM, or FALLBACK.

    Needs mmap_lock, or the VMA's lock.
    """
    mm = vma.vm_mm
    start = address & -PMD_SIZE
    if not vma.vm_flags & VM_HUGEPAGE or start < vma.vm_start or vma.vm_end < start + PMD_SIZE:
        return FALLBACK
    if not anon_vma_prepare(vma):
        return ENOMEM
    folio = alloc_huge(mm.memory)
    if folio is None:
        return FALLBACK
    table = new_table(start)
    if table is None:
        folio_put(mm.memory, folio)
        return ENOMEM
    for page in folio.pages:
        page.token = 0
    bits = vma.vm_page_prot | maybe_mkwrite(vma) | PTE_YOUNG | (PTE_DIRTY if write else 0)
    with mm.page_table_lock:
        installed = pmdp_get(mm, start) is None
        if installed:
            hugepage_add_new_anon_rmap(folio, vma, start)
            folio.lru = True
            deposit(mm, start, table)
            set_pmd(mm, start, mk_pte(folio, bits))
            add_mm_counter(mm, MM_ANONPAGES, HPAGE_PMD_NR)
            trace("huge_fault", mm=mm.name, addr=hex(start), page=folio.name)
    if not installed:
        pte_cache.free(table)
        folio_put(mm.memory, folio)
    return 0


def deposit(mm: MmStruct, address: int, table: PageTable) -> None:
    """Keep a page-table page for the day when the huge page is split; kernel: pgtable_trans_huge_deposit()."""
    mm.deposits[pmd_index(address)] = table


def withdraw(mm: MmStruct, address: int) -> PageTable:
    """The page-table page that was deposited with a huge page."""
    return mm.deposits.pop(pmd_index(address))


def do_huge_pmd_wp_page(vma: VmArea, address: int, pmd: Present) -> int:
    """A store met the read-only huge entry `pmd`: make it writable, or map it page by page. 0."""
    mm = vma.vm_mm
    start = address & -PMD_SIZE
    with mm.page_table_lock:
        if pmdp_get(mm, start) != pmd:
            return 0
        folio = mm.memory.mem_map[pmd.pfn]
        if all(page.anon_exclusive for page in folio.pages):
            change_pmd_bits(mm, start, gained=maybe_mkwrite(vma) | PTE_DIRTY | PTE_YOUNG)
            return 0
        split_huge_pmd_locked(vma, start, freeze=False)
    return 0


def huge_pmd_set_accessed(mm: MmStruct) -> None:
    """A fault met a huge entry that permits the access by now, or soon: wait for whoever is changing it."""
    with mm.page_table_lock:
        pass


def pmd_migration_entry_wait(mm: MmStruct, address: int) -> None:
    """Sleep until the huge page at `address` has been moved; the caller looks again.

    A reference keeps the page while it is waited for; whoever moves it sees that, and gives up.
    """
    with mm.page_table_lock:
        pmd = pmdp_get(mm, address)
        folio = pfn_swap_entry_to_page(mm.memory, pmd) if isinstance(pmd, Migration) else None
        if folio is not None:
            folio_get(folio)
    if folio is not None:
        folio_wait_locked(folio)
        folio_put(mm.memory, folio)


# -- changing in place ------------------------------------------------------------------------------------------


def _change(mm: MmStruct, _task: object, arg: tuple[int, int, int]) -> Pmd:
    index, gained, lost = arg
    old = mm.pmds.get(index)
    if isinstance(old, Present):
        mm.pmds[index] = old.lacking(lost).having(gained)
    return old


def _get_and_clear(mm: MmStruct, _task: object, index: int) -> Pmd:
    return mm.pmds.pop(index, None)


PMD_CHANGE = Operation("pmdp_change", PMD_SET.access, field="pmd", effect=_change, local=True)
PMD_CLEAR = Operation(
    "pmdp_huge_get_and_clear", PMD_SET.access, field="pmd", effect=_get_and_clear, local=True
)


def change_pmd_bits(mm: MmStruct, address: int, *, gained: int = 0, lost: int = 0) -> Pmd:
    """Set and clear bits of a huge entry in one step, so that it never looks empty; gives the entry of before.

    Needs `page_table_lock`. Kernel: pmdp_invalidate() and set_pmd_at(), pmdp_set_wrprotect() and their like.
    """
    mm.page_table_lock.assert_held()
    pmd: Pmd = perform(PMD_CHANGE, mm, (pmd_index(address), gained, lost))
    return pmd


def pmdp_huge_get_and_clear(mm: MmStruct, address: int) -> Pmd:
    """Empty the upper entry and give what was there, in one step; needs `page_table_lock`."""
    mm.page_table_lock.assert_held()
    pmd: Pmd = perform(PMD_CLEAR, mm, pmd_index(address))
    return pmd


def change_huge_pmd(tlb: MmuGather, vma: VmArea, address: int) -> bool:
    """Give the huge entry the rights of its VMA; False if it is a huge entry no more. Needs mmap_lock.

    Kernel: change_huge_pmd(). It must not look empty in between, even to those who hold mmap_lock for reading.
    """
    mm = vma.vm_mm
    rights = vma.vm_page_prot
    with mm.page_table_lock:
        pmd = pmdp_get(mm, address)
        if isinstance(pmd, Present):
            change_pmd_bits(mm, address, gained=rights, lost=_RIGHTS & ~rights)
            tlb_remove_tlb_entry(tlb, address, address + PMD_SIZE)
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
            change_pmd_bits(mm, address, lost=PTE_WRITE | PTE_SOFT_DIRTY)
            flush_tlb_range(mm, address, address + PMD_SIZE)
            trace("clear_soft_dirty", mm=mm.name, addr=hex(address))


# -- emptying ---------------------------------------------------------------------------------------------------


def zap_huge_pmd(tlb: MmuGather, address: int) -> bool:
    """Empty the upper entry of a huge page; False if there is none (any more). The whole range must go."""
    mm = tlb.mm
    with mm.page_table_lock:
        if not is_leaf(pmdp_get(mm, address)):
            return False
        pmd = pmdp_huge_get_and_clear(mm, address)
        tlb_remove_tlb_entry(tlb, address, address + PMD_SIZE)
        if isinstance(pmd, Present):
            folio = mm.memory.mem_map[pmd.pfn]
            atomic_add_return(folio, "entire_mapcount", -1)
            tlb.pages.append(folio)
        else:
            assert isinstance(pmd, Migration)
            pfn_swap_entry_to_page(mm.memory, pmd)
        tlb.tables.append(withdraw(mm, address))
        add_mm_counter(mm, MM_ANONPAGES, -HPAGE_PMD_NR)
        trace("zap_huge", mm=mm.name, addr=hex(address), pmd=pmd)
    return True


# -- fork -------------------------------------------------------------------------------------------------------


def copy_huge_pmd(dst: VmArea, src: VmArea, address: int) -> int:
    """Share a huge page with the child: 0, -ENOMEM, or -EAGAIN if it is a huge page no more."""
    mm, child = src.vm_mm, dst.vm_mm
    table = new_table(address)
    if table is None:
        return ENOMEM
    child.page_table_lock.lock()
    mm.page_table_lock.lock(1)
    pmd = pmdp_get(mm, address)
    if isinstance(pmd, Present):
        folio = mm.memory.mem_map[pmd.pfn]
        folio_get(folio)
        atomic_add_return(folio, "entire_mapcount", 1)
        for page in folio.pages:
            page.anon_exclusive = False
        pmd = change_pmd_bits(mm, address, lost=PTE_WRITE)
        assert isinstance(pmd, Present)
        set_pmd(child, address, pmd.lacking(PTE_WRITE | PTE_YOUNG))
    elif isinstance(pmd, Migration):
        pfn_swap_entry_to_page(mm.memory, pmd)
        pmd = Migration(pmd.pfn, pmd.generation, pmd.bits & ~(PTE_WRITE | PTE_SWP_EXCLUSIVE))
        set_pmd(mm, address, pmd)
        set_pmd(child, address, pmd)
    copied = is_leaf(pmd)
    if copied:
        deposit(child, address, table)
        add_mm_counter(child, MM_ANONPAGES, HPAGE_PMD_NR)
    mm.page_table_lock.unlock()
    child.page_table_lock.unlock()
    if not copied:
        pte_cache.free(table)
    return 0 if copied else EAGAIN


# -- splitting the entry ----------------------------------------------------------------------------------------


def split_huge_pmd(vma: VmArea, address: int, *, freeze: bool = False, folio: Folio | None = None) -> None:
    """Map the huge page around `address` page by page, if there is one, and if it is `folio` where that is given.

    With `freeze` the entries become migration entries. The upper entry is looked at under its lock.
    """
    mm = vma.vm_mm
    start = address & -PMD_SIZE
    with mm.page_table_lock:
        pmd = pmdp_get(mm, start)
        if not isinstance(pmd, (Present, Migration)):
            return
        if folio is not None and not maps(mm.memory, pmd, folio):
            return
        split_huge_pmd_locked(vma, start, freeze=freeze)


def maps(memory: Memory, pmd: Pmd, folio: Folio) -> bool:
    """The upper entry maps this folio. One that is being moved is not mapped, and has no folio to compare with."""
    return isinstance(pmd, Present) and pmd_folio(memory, pmd) is folio


def split_huge_pmd_locked(vma: VmArea, start: int, *, freeze: bool) -> None:
    """As `split_huge_pmd`, under `page_table_lock`. The VMA must contain all of the huge page."""
    mm = vma.vm_mm
    bug_on(
        vma.vm_start > start,
        "kernel BUG at mm/huge_memory.c: __split_huge_pmd_locked(): VM_BUG_ON_VMA(vma->vm_start > haddr, vma)",
        "huge-in-vma",
        f"{vma.name}, haddr {start:#x}",
    )
    bug_on(
        vma.vm_end < start + PMD_SIZE,
        "kernel BUG at mm/huge_memory.c: __split_huge_pmd_locked(): "
        "VM_BUG_ON_VMA(vma->vm_end < haddr + HPAGE_PMD_SIZE, vma)",
        "huge-in-vma",
        f"{vma.name}, haddr {start:#x}",
    )
    pmd = pmdp_get(mm, start)
    table = withdraw(mm, start)
    if isinstance(pmd, Migration):
        folio = pfn_swap_entry_to_page(mm.memory, pmd)
        table.entries[:] = [Migration(page.pfn, page.generation, pmd.bits) for page in folio.pages]
    else:
        pmd = pmdp_invalidate(mm, start)
        folio = pmd_folio(mm.memory, pmd)
        if pmd.dirty:
            folio.dirty = True
        for number, page in enumerate(folio.pages):
            if freeze:
                exclusive = PTE_SWP_EXCLUSIVE if page.anon_exclusive else 0
                page.anon_exclusive = False
                table.entries[number] = make_migration_entry(page, pmd.bits | exclusive)
            else:
                folio_get(folio)
                atomic_add_return(page, "mapcount", 1)
                table.entries[number] = mk_pte(page, pmd.bits)
        atomic_add_return(folio, "entire_mapcount", -1)
        folio_put(mm.memory, folio)
    set_pmd(mm, start, table)
    trace("split_huge_pmd", mm=mm.name, addr=hex(start), page=folio.name)


def pmdp_invalidate(mm: MmStruct, address: int) -> Present:
    """No CPU may use the huge entry from here on, yet it does not look empty; gives what it was.

    Needs `page_table_lock`; whoever faults on it meanwhile waits for that lock.
    """
    pmd = change_pmd_bits(mm, address, lost=_RIGHTS)
    assert isinstance(pmd, Present)
    flush_tlb_range(mm, address, address + PMD_SIZE)
    return pmd


def pmd_folio(memory: Memory, pmd: Pmd) -> Folio:
    """The folio that a huge entry maps, which must be present: there is no page at what else the bits may say."""
    bug_on(
        not isinstance(pmd, Present),
        "BUG: unable to handle page fault: pmd_folio() of an entry that is not present",
        "pmd-present",
        f"the entry is {pmd}",
    )
    assert isinstance(pmd, (Present, Migration))
    return memory.mem_map[pmd.pfn]


def split_huge_pmd_if_needed(vma: VmArea, address: int) -> None:
    """A border of `vma` is about to be at `address`: no huge page may lie across it.

    What the VMA contains is read as its fields stand now.
    """
    start = address & -PMD_SIZE
    inside = address != start and vma.vm_start <= start and start + PMD_SIZE <= vma.vm_end
    if inside and is_leaf(pmdp_get(vma.vm_mm, address)):
        split_huge_pmd(vma, address)


def vma_adjust_trans_huge(vma: VmArea, start: int, end: int, following: VmArea | None, shift: int) -> None:
    """`vma` is about to become ``[start, end)``, and the border to `following` to move by `shift` bytes.

    Needs mmap_lock for writing; before the rmap locks are taken, and before any field changes.
    """
    split_huge_pmd_if_needed(vma, start)
    split_huge_pmd_if_needed(vma, end)
    if shift > 0 and following is not None:
        split_huge_pmd_if_needed(following, following.vm_start + shift)
