"""Page tables: reading and writing their entries at the two levels, and what an entry means. What an entry may be is
said in `vm.objects.pgtable_types`.

Kernel: arch/x86/include/asm/pgtable.h and include/linux/pgtable.h, v6.1. The processor sets the accessed and dirty bits
of an entry at any time (`vm.access.user`), so whoever changes an entry that is present must do it in one step:
`ptep_get_and_clear`, `ptep_set_wrprotect`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sugarbush.concurrency import KmemCache, bug_on
from sugarbush.concurrency.lowlevel import Access, Operation, perform, step
from sugarbush.lockdep.model import GFP_KERNEL
from sugarbush.vm.objects import (
    PAGE_SIZE,
    PTE_UFFD_WP,
    PTE_WRITE,
    VM_UFFD_WP,
    Folio,
    Memory,
    Migration,
    MmStruct,
    PageTable,
    Pmd,
    Present,
    Pte,
    VmArea,
    folio_test_locked,
)

pte_cache = KmemCache("pte_table", PageTable, object_size=PAGE_SIZE, stepped=True)


def _set(table: PageTable, _task: Any, arg: tuple[int, Pte]) -> None:
    index, pte = arg
    table.entries[index] = pte


def _get_and_clear(table: PageTable, _task: Any, index: int) -> Pte:
    old, table.entries[index] = table.entries[index], None
    return old


def _change_bits(table: PageTable, _task: Any, arg: tuple[int, int, int]) -> Pte:
    index, gained, lost = arg
    old = table.entries[index]
    if isinstance(old, Present):
        table.entries[index] = old.lacking(lost).having(gained)
    return old


def _set_pmd(mm: MmStruct, _task: Any, arg: tuple[int, Pmd]) -> None:
    index, pmd = arg
    if pmd is None:
        mm.pmds.pop(index, None)
    else:
        mm.pmds[index] = pmd


PTE_GET = Operation("ptep_get", Access.READ_ONCE, field="pte", local=True)
# keeps_arg: which pages these are about decides which checks see them (`stress.kit.sight`).
PTE_SET = Operation(
    "set_pte", Access.WRITE_ONCE, field="pte", effect=_set, wakes=False, local=True, keeps_arg=True
)
PTE_CLEAR = Operation(
    "ptep_get_and_clear",
    Access.WRITE_ONCE,
    field="pte",
    effect=_get_and_clear,
    wakes=True,
    local=True,
    keeps_arg=True,
)
PTE_CHANGE = Operation(
    "ptep_change", Access.WRITE_ONCE, field="pte", effect=_change_bits, wakes=True, local=True
)
# pmd_install() has a write barrier before the store, and whoever reads the entry follows it, which orders
# loads. Accesses here have no such dependencies, so the read acquires, and the store releases.
PMD_GET = Operation("pmdp_get", Access.ACQUIRE, field="pmd", local=True)
PMD_SET = Operation(
    "pmd_populate", Access.RELEASE, field="pmd", effect=_set_pmd, wakes=True, local=True, keeps_arg=True
)


# -- the lower level --------------------------------------------------------------------------------------------


def ptep_get(table: PageTable, address: int) -> Pte:
    """Read the entry of `address`; stable only under the table's lock."""
    step(PTE_GET, table)
    return table.entries[table.index(address)]


def set_pte(table: PageTable, address: int, pte: Pte) -> None:
    """Write the entry of `address`, which must not be present; needs the table's lock."""
    table.ptl.assert_held()
    # Not for an entry that is present: the processor may set its dirty bit between our look and this store,
    # and the store would undo that. Such an entry is cleared, or changed in one step.
    perform(PTE_SET, table, (table.index(address), pte))


def ptep_get_and_clear(table: PageTable, address: int) -> Pte:
    """Empty the entry of `address` and give what was there, in one step; needs the table's lock.

    Translations of it may still be in use: see `vm.frames.tlb`.
    """
    table.ptl.assert_held()
    pte: Pte = perform(PTE_CLEAR, table, table.index(address))
    return pte


def ptep_change(table: PageTable, address: int, *, gained: int = 0, lost: int = 0) -> Pte:
    """Set and clear bits of the entry of `address`, if it is present, in one step; gives the entry of before.

    Needs the table's lock. Kernel: ptep_set_wrprotect(), ptep_test_and_clear_young() and their like.
    """
    table.ptl.assert_held()
    pte: Pte = perform(PTE_CHANGE, table, (table.index(address), gained, lost))
    return pte


def ptep_set_wrprotect(table: PageTable, address: int) -> Pte:
    """Take the write permission away; gives the entry of before. Needs the table's lock, and a flush afterwards."""
    return ptep_change(table, address, lost=PTE_WRITE)


# -- the upper level --------------------------------------------------------------------------------------------


def pmd_index(mm: MmStruct, address: int) -> int:
    """Which upper entry is that of `address`."""
    return address // mm.pmd_size


def pte_index(mm: MmStruct, address: int) -> int:
    """Which entry of its page-table page, or which page of a huge page, is that of `address`."""
    return address % mm.pmd_size // PAGE_SIZE


def pmdp_get(mm: MmStruct, address: int) -> Pmd:
    """Read the upper entry of `address`; stable only under `page_table_lock`."""
    step(PMD_GET, mm)
    return mm.pmds.get(pmd_index(mm, address))


def pte_offset_map(mm: MmStruct, address: int) -> PageTable | None:
    """The page-table page of `address`, read without any lock; None if there is none, or a huge page."""
    pmd = pmdp_get(mm, address)
    return pmd if isinstance(pmd, PageTable) else None


def set_pmd(mm: MmStruct, address: int, pmd: Pmd) -> None:
    """Write the upper entry of `address`; needs `page_table_lock`."""
    mm.page_table_lock.assert_held()
    perform(PMD_SET, mm, (pmd_index(mm, address), pmd))


def pmd_page_table(pmd: Pmd) -> PageTable:
    """The page-table page that an upper entry names; it must name one. Kernel: pmd_pgtable(), pmd_bad()."""
    bug_on(
        not isinstance(pmd, PageTable),
        f"mm/pgtable-generic.c: bad pmd ({pmd}): no page-table page",
        "bad-pmd",
    )
    assert isinstance(pmd, PageTable)
    return pmd


def new_table(mm: MmStruct, address: int) -> PageTable | None:
    """A page-table page for the range around `address`, which is in no tree yet; None without memory."""
    start = address & -mm.pmd_size
    # May reclaim, and so take rmap locks: a table is made before a lock of page tables is taken, and under no
    # rmap lock but that of hugetlbfs, which is of a class of its own because of this.
    return pte_cache.alloc(GFP_KERNEL, f"pte@{start:#x}", mm.memory.ptrs_per_pte)


def pte_alloc(mm: MmStruct, address: int) -> PageTable | None:
    """The page-table page of `address`, made if need be; None without memory, or if a huge page is there.

    Needs mmap_lock, or the VMA's lock.
    """
    # Read without the lock: a table stays as long as the caller keeps its VMA. Whoever takes tables away from
    # under one holds mmap_lock for writing and, where faults go without that, the lock of the VMA.
    pmd = pmdp_get(mm, address)
    if pmd is not None:
        return pmd if isinstance(pmd, PageTable) else None
    new = new_table(mm, address)
    if new is None:
        return None
    # Made before the lock, which is no place to sleep; so somebody may have been faster.
    with mm.page_table_lock:
        pmd = pmdp_get(mm, address)
        if pmd is None:
            set_pmd(mm, address, new)
            return new
    pte_cache.free(new)
    return pmd if isinstance(pmd, PageTable) else None


def addresses(mm: MmStruct, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut ``[start, end)`` at the borders of page-table pages.

    >>> from sugarbush.vm.vmas import boot
    >>> mm = boot(frames=4, ptrs_per_pte=2).add_mm("cc1", start_brk=0)  # a table maps 0x2000 bytes
    >>> [(hex(low), hex(high)) for low, high in addresses(mm, 0x1000, 0x5000)]
    [('0x1000', '0x2000'), ('0x2000', '0x4000'), ('0x4000', '0x5000')]
    """
    while start < end:
        stop = min(end, (start // mm.pmd_size + 1) * mm.pmd_size)
        yield start, stop
        start = stop


# -- what entries mean ------------------------------------------------------------------------------------------


def userfaultfd_wp(vma: VmArea) -> bool:
    """Pages of `vma` may be protected from stores by userfaultfd (`vm.faults.uffd`)."""
    return bool(vma.vm_flags & VM_UFFD_WP)


def userfaultfd_pte_wp(vma: VmArea, pte: Present) -> bool:
    """The page that `pte` maps is protected. The bit alone says nothing: it may be left over from before a mremap."""
    return bool(pte.bits & PTE_UFFD_WP) and userfaultfd_wp(vma)


def maybe_mkwrite(vma: VmArea) -> int:
    """The bit that makes an entry of `vma` writable, if that may be so."""
    return vma.vm_flags & PTE_WRITE


def mk_pte(folio: Folio, bits: int) -> Present:
    """The entry that maps `folio` with these bits."""
    return Present(folio.pfn, folio.generation, bits)


def make_migration_entry(folio: Folio, bits: int = 0) -> Migration:
    """The entry that stands for `folio` while it is moved; `bits` are those of the entry that maps it."""
    return Migration(folio.pfn, folio.generation, bits)


def pfn_swap_entry_to_page(memory: Memory, entry: Migration) -> Folio:
    """The folio that a migration entry names; it must be locked.

    Kernel: pfn_swap_entry_to_page() in include/linux/swapops.h, v6.1, with its BUG_ON; the second check, that the
    locked page is still the one that was meant, no kernel can make.
    """
    folio = memory.mem_map[entry.pfn]
    freed = folio.generation - entry.generation
    detail = f"the entry is {entry}; its frame was freed {freed} times since"
    locked = folio_test_locked(folio.head)
    # Where the July 2022 crashes ended. The cause lay behind by then: a walk had missed the entry (`coverage`
    # sees that).
    bug_on(
        not locked,
        "kernel BUG at include/linux/swapops.h: pfn_swap_entry_to_page(): "
        "BUG_ON(is_migration_entry(entry) && !PageLocked(p))",
        "migration-entry-locked",
        detail,
    )
    bug_on(
        locked and folio.generation != entry.generation,
        "pfn_swap_entry_to_page(): the entry means a page that was freed; the next owner of its frame holds the lock, "
        "so BUG_ON(!PageLocked(p)) stays silent",
        "migration-entry-owner",
        detail,
    )
    return folio
