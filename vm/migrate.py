"""Page migration and compaction. Kernel: mm/migrate.c and mm/compaction.c, v6.1."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from concurrency import READ_ONCE, cmpxchg, trace
from vm.anon_vma import put_anon_vma
from vm.errno import EAGAIN, EBUSY
from vm.folio import (
    Folio,
    Memory,
    folio_get,
    folio_mapped,
    folio_put,
    folio_test_anon,
    folio_try_get,
    isolate_freepage,
)
from vm.pgtable import (
    PTE_KEPT,
    PTE_SWP_EXCLUSIVE,
    Migration,
    maybe_mkwrite,
    mk_pte,
    pte_offset_map,
    ptep_get,
    set_pte,
)
from vm.rmap import folio_add_anon_rmap, folio_get_anon_vma, rmap_walk_anon, try_to_migrate

if TYPE_CHECKING:
    from vm.vma import VmArea


def compact_zone(memory: Memory) -> int:
    """Move anonymous pages from the low frames to the high ones until the two scanners meet; gives how many moved.

    The migrate scanner goes up from the first frame, the free scanner takes the highest free frame above it.
    Simpler here: a page that cannot be moved is not tried again.
    """
    moved = 0
    for folio in memory.mem_map:
        if isolate_lru_page(memory, folio):
            target = isolate_freepage(memory, folio.pfn)
            if target is None:
                putback_lru_page(memory, folio)
                break
            if migrate_folio(memory, folio, target) == 0:
                moved += 1
                folio_put(memory, folio)
            else:
                putback_lru_page(memory, folio)
    return moved


def isolate_lru_page(memory: Memory, folio: Folio) -> bool:
    """Take an anonymous page off the LRU and a reference to it, unless it is free or already taken."""
    if not folio_try_get(folio):
        return False
    if folio_test_anon(folio) and cmpxchg(folio, "lru", True, False):
        return True
    folio_put(memory, folio)
    return False


def putback_lru_page(memory: Memory, folio: Folio) -> None:
    """The end of an isolation that led to nothing."""
    folio.lru = True
    folio_put(memory, folio)


def migrate_folio(memory: Memory, src: Folio, dst: Folio) -> int:
    """Move the isolated anonymous folio `src` to the frame of the new folio `dst`, whose one reference it takes over.

    0, or a negative error and nothing has changed. The caller's reference to `src` keeps the old frame until the
    end. Kernel: unmap_and_move(), steps 1 to 18 of Documentation/mm/page_migration.rst.
    """
    src.lock.lock()
    anon_vma = folio_get_anon_vma(src)
    result = EBUSY
    if anon_vma is not None:
        if dst.lock.trylock():
            try_to_migrate(src)
            result = EAGAIN if folio_mapped(src) else move_to_new_folio(dst, src)
            if result == 0:
                dst.lru = True
            remove_migration_ptes(src, dst if result == 0 else src)
            dst.lock.unlock()
        put_anon_vma(anon_vma)
    src.lock.unlock()
    folio_put(memory, dst)
    return result


def move_to_new_folio(dst: Folio, src: Folio) -> int:
    """Give `dst` the content and identity of `src`, which nothing maps; -EAGAIN if somebody else refers to it.

    `src` keeps its mapping until it is freed: whoever zaps a migration entry must still see that it was anonymous.
    Simpler here: the one reference that is left is the caller's, so there is no page cache to update.
    """
    if READ_ONCE(src, "refcount") != 1:
        return EAGAIN
    dst.index = READ_ONCE(src, "index")
    dst.mapping = READ_ONCE(src, "mapping")
    dst.token = READ_ONCE(src, "token")
    trace("migrate", old=src.name, new=dst.name)
    return 0


def remove_migration_ptes(old: Folio, new: Folio) -> None:
    """The second walk: turn the migration entries of `old` into entries of `new`."""
    visited = rmap_walk_anon(new, partial(_remove_migration_pte, old))
    trace("remove_migration_ptes", old=old.name, new=new.name, vmas=visited)


def _remove_migration_pte(old: Folio, new: Folio, vma: VmArea, address: int) -> None:
    """The permissions come from the VMA as it is now, read without mmap_lock: only the rmap lock is held."""
    mm = vma.vm_mm
    table = pte_offset_map(mm, address)
    if table is None:
        return
    with table.ptl:
        pte = ptep_get(table, address)
        if not isinstance(pte, Migration) or pte.pfn != old.pfn:
            return
        folio_get(new)
        bits = vma.vm_page_prot | pte.bits & PTE_KEPT
        if pte.write:
            bits |= maybe_mkwrite(vma)
        folio_add_anon_rmap(new, exclusive=bool(pte.bits & PTE_SWP_EXCLUSIVE))
        set_pte(table, address, mk_pte(new, bits))
        trace("remove_migration_pte", mm=mm.name, addr=hex(address), old=old.name, new=new.name)
