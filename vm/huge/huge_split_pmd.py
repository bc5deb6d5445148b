"""Mapping a huge page page by page: the entry is split, the folio stays. Kernel: mm/huge_memory.c, v6.1."""

from __future__ import annotations

from sugarbush.concurrency import atomic_add_return, bug_on, trace
from sugarbush.vm.frames import (
    flush_tlb_range,
    folio_put,
    is_huge_zero_pmd,
    make_migration_entry,
    mk_pte,
    pfn_swap_entry_to_page,
    pmdp_get,
    set_pmd,
)
from sugarbush.vm.huge.huge_pmd import (
    is_leaf,
    maps,
    pmd_folio,
    pmdp_huge_get_and_clear,
    pmdp_invalidate,
    withdraw,
)
from sugarbush.vm.objects import (
    PTE_RIGHTS,
    PTE_SWP_EXCLUSIVE,
    PTE_UFFD_WP,
    PTE_WRITE,
    PTE_YOUNG,
    ZERO_PFN,
    Folio,
    Migration,
    Present,
    VmArea,
    folio_get,
    folio_maybe_dma_pinned,
)


def split_huge_pmd(vma: VmArea, address: int, *, freeze: bool = False, folio: Folio | None = None) -> None:
    """Map the huge page around `address` page by page, if there is one, and if it is `folio` where that is given.

    With `freeze` the entries become migration entries, unless somebody has pinned the huge page. The upper entry is
    looked at under its lock.
    """
    mm = vma.vm_mm
    start = address & -mm.pmd_size
    # No look before the lock: what was empty for a moment would be passed over, and the caller asserts
    # afterwards that nothing maps the folio (split-against-soft-dirty, Z31).
    with mm.page_table_lock:
        pmd = pmdp_get(mm, start)
        if not isinstance(pmd, (Present, Migration)):
            return
        if folio is not None and not maps(mm.memory, pmd, folio):
            return
        split_huge_pmd_locked(vma, start, freeze=freeze)


def split_huge_pmd_locked(vma: VmArea, start: int, *, freeze: bool) -> None:
    """As `split_huge_pmd`; needs `page_table_lock`. The VMA must contain all of the huge page."""
    mm = vma.vm_mm
    # The second crash of July 2022, whose cause was not published (brk-false-vma-huge, Z02): for a VMA that
    # begins or ends inside the huge page, small entries would be made where it maps nothing.
    bug_on(
        vma.vm_start > start,
        "kernel BUG at mm/huge_memory.c: __split_huge_pmd_locked(): VM_BUG_ON_VMA(vma->vm_start > haddr, vma)",
        "huge-in-vma",
        f"{vma.name}, haddr {start:#x}",
    )
    bug_on(
        vma.vm_end < start + mm.pmd_size,
        "kernel BUG at mm/huge_memory.c: __split_huge_pmd_locked(): "
        "VM_BUG_ON_VMA(vma->vm_end < haddr + HPAGE_PMD_SIZE, vma)",
        "huge-in-vma",
        f"{vma.name}, haddr {start:#x}",
    )
    pmd = pmdp_get(mm, start)
    if isinstance(pmd, Present) and is_huge_zero_pmd(mm.memory, pmd):
        split_huge_zero_page_pmd(vma, start)
        return
    table = withdraw(mm, start)
    if isinstance(pmd, Migration):
        folio = pfn_swap_entry_to_page(mm.memory, pmd)
        table.entries[:] = [Migration(page.pfn, page.generation, pmd.bits) for page in folio.pages]
    else:
        # Before the small entries: no CPU may have translations of both sizes for one address, which some
        # processors do not survive. And the dirty bit is read after the last store.
        pmd = pmdp_invalidate(mm, start)
        folio = pmd_folio(mm.memory, pmd)
        if pmd.dirty:
            folio.dirty = True
        # After the flush, as in try_to_migrate_one(): a pin either saw that the entry has gone, or is seen
        # here.
        if folio.anon_exclusive and folio_maybe_dma_pinned(folio):
            freeze = False
        # A hint of NUMA balancing is not handed on: small entries get the rights that the VMA has now.
        bits = pmd.bits & ~PTE_RIGHTS | vma.vm_page_prot | pmd.bits & PTE_WRITE
        for number, page in enumerate(folio.pages):
            if freeze:
                exclusive = PTE_SWP_EXCLUSIVE if page.anon_exclusive else 0
                page.anon_exclusive = False
                table.entries[number] = make_migration_entry(page, pmd.bits | exclusive)
            else:
                # One for each small entry, before the one of the huge entry goes: the count never looks
                # smaller than it is.
                folio_get(folio)
                atomic_add_return(page, "mapcount", 1)
                table.entries[number] = mk_pte(page, bits)
        atomic_add_return(folio, "entire_mapcount", -1)
        folio_put(mm.memory, folio)
    # Nobody could reach the table until here, so its entries were no steps; this store releases them.
    set_pmd(mm, start, table)
    trace("split_huge_pmd", mm=mm.name, addr=hex(start), page=folio.name)


def split_huge_zero_page_pmd(vma: VmArea, start: int) -> None:
    """Map the zero page everywhere in place of the huge one; needs `page_table_lock`.

    The upper entry looks empty meanwhile, which is true enough: a fault that finds it so waits for the lock, and
    other looks pass over zeroes. The protection by userfaultfd stays; in v6.1 it is lost, as far as we know.
    """
    mm = vma.vm_mm
    pmd = pmdp_huge_get_and_clear(mm, start)
    assert isinstance(pmd, Present)
    flush_tlb_range(mm, start, start + mm.pmd_size)
    table = withdraw(mm, start)
    bits = vma.vm_page_prot | PTE_YOUNG | pmd.bits & PTE_UFFD_WP
    table.entries[:] = [Present(ZERO_PFN, 0, bits)] * len(table.entries)
    set_pmd(mm, start, table)
    trace("split_huge_pmd", mm=mm.name, addr=hex(start), page="the huge zero page")


def split_huge_pmd_if_needed(vma: VmArea, address: int) -> None:
    """A border of `vma` is about to be at `address`: no huge page may lie across it. Needs mmap_lock for writing.

    What the VMA contains is read as its fields stand now.
    """
    mm = vma.vm_mm
    start = address & -mm.pmd_size
    # Called when a border has moved already this finds the page outside, and leaves it across the border: one
    # order of steps that ends in that crash (brk-false-vma-huge, Z02).
    inside = address != start and vma.vm_start <= start and start + mm.pmd_size <= vma.vm_end
    if inside and is_leaf(pmdp_get(mm, address)):
        split_huge_pmd(vma, address)


def vma_adjust_trans_huge(vma: VmArea, start: int, end: int, following: VmArea | None, shift: int) -> None:
    """`vma` is about to become ``[start, end)``, and the border to `following` to move by `shift` bytes.

    Needs mmap_lock for writing; before the rmap locks are taken, and before any field changes.
    """
    # Not under the rmap locks, where it once stood: the split of a locked page walked rmap, and waited for
    # itself (split-under-rmap-lock, Z40f). The price is that what it has looked at could in principle change
    # before those are taken; mmap_lock and the locks of the VMAs, for writing, see to it that no fault makes
    # a huge page. For shared tables of hugetlbfs, which other processes change, that is not enough:
    # `hugetlb_split`.
    split_huge_pmd_if_needed(vma, start)
    split_huge_pmd_if_needed(vma, end)
    if shift > 0 and following is not None:
        split_huge_pmd_if_needed(following, following.vm_start + shift)
