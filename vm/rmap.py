"""Reverse mapping: visiting every page-table entry that maps a folio.

Kernel: mm/rmap.c and mm/page_vma_mapped.c, v6.1. A migration makes two walks: `try_to_migrate` turns entries into
migration entries, `remove_migration_ptes` (vm/migrate.py) turns them back. Both must find the same entries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from concurrency import READ_ONCE, atomic_add_return, cmpxchg, rcu_reader, trace
from vm.anon_vma import (
    AnonVma,
    anon_vma_lock_read,
    anon_vma_unlock_read,
    interval_tree_foreach,
    put_anon_vma,
)
from vm.folio import Folio, folio_mapped, folio_put
from vm.pgtable import (
    Present,
    make_migration_entry,
    pmd_offset,
    ptep_get,
    set_pte,
)
from vm.vma import linear_page_index, vma_address

if TYPE_CHECKING:
    from vm.vma import VmArea

RmapOne = Callable[[Folio, "VmArea", int], None]


def folio_add_new_anon_rmap(folio: Folio, vma: VmArea, address: int) -> None:
    """The first mapping of a new anonymous folio; needs the page-table lock."""
    folio.index = linear_page_index(vma, address)
    folio.mapping = vma.anon_vma
    atomic_add_return(folio, "mapcount", 1)


def folio_add_anon_rmap(folio: Folio) -> None:
    """One more mapping of an anonymous folio; needs the page-table lock."""
    atomic_add_return(folio, "mapcount", 1)


def folio_remove_rmap(folio: Folio) -> None:
    """One mapping less; needs the page-table lock."""
    atomic_add_return(folio, "mapcount", -1)


def folio_get_anon_vma(folio: Folio) -> AnonVma | None:
    """Pin the anon_vma of a mapped folio, or None if it is not mapped (any more).

    An anon_vma may be freed and used again at any time; the reader keeps its memory, the count and the second look
    at the folio show that it is still the right one.
    """
    with rcu_reader():
        anon_vma = READ_ONCE(folio, "mapping")
        if not isinstance(anon_vma, AnonVma) or not folio_mapped(folio):
            return None
        while True:
            count = READ_ONCE(anon_vma, "refcount")
            if count == 0:
                return None
            if cmpxchg(anon_vma, "refcount", count, count + 1) == count:
                break
        mapped = folio_mapped(folio)
    if not mapped:
        put_anon_vma(anon_vma)
        return None
    return anon_vma


def rmap_walk_anon(folio: Folio, rmap_one: RmapOne) -> int:
    """Call `rmap_one(folio, vma, address)` wherever a VMA of the folio's anon_vma covers its index; gives how often.

    The folio must be locked, or its anon_vma pinned. Takes the root anon_vma lock for reading.
    """
    anon_vma = READ_ONCE(folio, "mapping")
    if not isinstance(anon_vma, AnonVma):
        return 0
    anon_vma_lock_read(anon_vma)
    index = READ_ONCE(folio, "index")
    visited = 0
    for avc in interval_tree_foreach(anon_vma, index):
        address = vma_address(avc.vma, index)
        if address is not None:
            rmap_one(folio, avc.vma, address)
            visited += 1
    anon_vma_unlock_read(anon_vma)
    return visited


def try_to_migrate(folio: Folio) -> None:
    """The first walk: turn every entry that maps the locked `folio` into a migration entry."""
    visited = rmap_walk_anon(folio, _try_to_migrate_one)
    trace("try_to_migrate", page=folio.name, vmas=visited)


def _try_to_migrate_one(folio: Folio, vma: VmArea, address: int) -> None:
    mm = vma.vm_mm
    table = pmd_offset(mm, address)
    if table is None:
        return
    with table.ptl:
        pte = ptep_get(table, address)
        if not isinstance(pte, Present) or pte.pfn != folio.pfn:
            return
        set_pte(table, address, make_migration_entry(folio))
        trace("set_migration_pte", mm=mm.name, addr=hex(address), page=folio.name)
        folio_remove_rmap(folio)
        folio_put(mm.memory, folio)
