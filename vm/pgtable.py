"""Page tables: two levels, with the lock of each page-table page.

Kernel: arch/x86/include/asm/pgtable.h and mm/memory.c, v6.1. An entry is None, `Present` or `Migration`. An entry
keeps the generation of its frame, which no kernel has: the invariants use it to tell a frame from its next owner.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from concurrency import Access, KmemCache, Operation, Spinlock, active, bug_on
from lockdep.gfp import GFP_KERNEL
from vm.folio import folio_test_locked
from vm.layout import PAGE_SIZE, PMD_SIZE, PTRS_PER_PTE, pmd_index, pte_index

if TYPE_CHECKING:
    from vm.folio import Folio, Memory
    from vm.mm import MmStruct


@dataclass(frozen=True, slots=True)
class Present:
    """The page is mapped."""

    pfn: int
    generation: int

    def __str__(self) -> str:
        return f"pfn{self.pfn}"


@dataclass(frozen=True, slots=True)
class Migration:
    """The page is being moved; whoever needs it waits for the folio lock of the old frame."""

    pfn: int
    generation: int

    def __str__(self) -> str:
        return f"migration(pfn{self.pfn})"


Pte = Present | Migration | None


class PageTable:
    """A page-table page: `PTRS_PER_PTE` entries and their lock."""

    __slots__ = ("entries", "name", "ptl")

    def __init__(self, name: str) -> None:
        self.name = name
        self.ptl = Spinlock("ptlock")
        self.entries: list[Pte] = [None] * PTRS_PER_PTE


pte_cache = KmemCache("pte_table", PageTable, object_size=PAGE_SIZE, stepped=True)

PTE_GET = Operation("ptep_get", Access.READ_ONCE, field="pte", local=True)
PTE_SET = Operation("set_pte", Access.WRITE_ONCE, field="pte", local=True)
PMD_GET = Operation("pmdp_get", Access.ACQUIRE, field="pmd", local=True)
PMD_SET = Operation("pmd_populate", Access.RELEASE, field="pmd", local=True)


def ptep_get(table: PageTable, address: int) -> Pte:
    """Read the entry of `address`; stable only under the table's lock."""
    rt = active.runtime
    if rt is not None:
        rt.step(PTE_GET, table)
    return table.entries[pte_index(address)]


def set_pte(table: PageTable, address: int, pte: Pte) -> None:
    """Write the entry of `address`; needs the table's lock."""
    table.ptl.assert_held()
    rt = active.runtime
    if rt is not None:
        rt.step(PTE_SET, table)
    table.entries[pte_index(address)] = pte


def pmd_offset(mm: MmStruct, address: int) -> PageTable | None:
    """The page-table page of `address`, read without any lock."""
    rt = active.runtime
    if rt is not None:
        rt.step(PMD_GET, mm)
    return mm.pmds.get(pmd_index(address))


def pte_alloc(mm: MmStruct, address: int) -> PageTable | None:
    """The page-table page of `address`, made if need be; None without memory. Needs mmap_lock."""
    table = pmd_offset(mm, address)
    if table is not None:
        return table
    index = pmd_index(address)
    new = pte_cache.alloc(GFP_KERNEL, f"pte@{index * PMD_SIZE:#x}")
    if new is None:
        return None
    with mm.page_table_lock:
        table = pmd_offset(mm, address)
        if table is None:
            rt = active.runtime
            if rt is not None:
                rt.step(PMD_SET, mm)
            mm.pmds[index] = new
            return new
    pte_cache.free(new)
    return table


def free_pgd_range(mm: MmStruct, start: int, end: int, floor: int, ceiling: int) -> None:
    """Free the page-table pages of ``[start, end)`` that no other VMA can use.

    The range must be out of reach of every rmap tree. `floor` and `ceiling` are where the neighbours end and begin.
    """
    first = max(-(-floor // PMD_SIZE), pmd_index(start))
    last = min(ceiling // PMD_SIZE - 1, pmd_index(end - 1))
    rt = active.runtime
    if rt is not None:
        rt.step(PMD_GET, mm)
    for index in [index for index in sorted(mm.pmds) if first <= index <= last]:
        with mm.page_table_lock:
            if rt is not None:
                rt.step(PMD_SET, mm)
            table = mm.pmds.pop(index)
        bug_on(
            any(table.entries), f"BUG: Bad page map: {table.name} is freed with entries in it", "page-tables"
        )
        pte_cache.free(table)


def addresses(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut ``[start, end)`` at the borders of page-table pages."""
    while start < end:
        stop = min(end, (start // PMD_SIZE + 1) * PMD_SIZE)
        yield start, stop
        start = stop


def present(folio: Folio) -> Present:
    """The entry that maps `folio`."""
    return Present(folio.pfn, folio.generation)


def make_migration_entry(folio: Folio) -> Migration:
    """The entry that stands for `folio` while it is moved."""
    return Migration(folio.pfn, folio.generation)


def pfn_swap_entry_to_page(memory: Memory, entry: Migration) -> Folio:
    """The folio that a migration entry names; it must be locked.

    Kernel: pfn_swap_entry_to_page() in include/linux/swapops.h, v6.1, with its BUG_ON; the second check, that the
    locked page is still the one that was meant, no kernel can make.
    """
    folio = memory.mem_map[entry.pfn]
    freed = folio.generation - entry.generation
    detail = f"the entry is {entry}; its frame was freed {freed} times since"
    bug_on(
        not folio_test_locked(folio),
        "kernel BUG at include/linux/swapops.h: pfn_swap_entry_to_page(): "
        "BUG_ON(is_migration_entry(entry) && !PageLocked(p))",
        "migration-entry-locked",
        detail,
    )
    bug_on(
        folio.generation != entry.generation,
        "pfn_swap_entry_to_page(): the entry means a page that was freed; the next owner of its frame holds the lock, "
        "so BUG_ON(!PageLocked(p)) stays silent",
        "migration-entry-locked",
        detail,
    )
    return folio
