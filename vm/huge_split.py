"""Splitting large folios, and moving them whole. Kernel: mm/huge_memory.c and mm/migrate.c, v6.1."""

from __future__ import annotations

from typing import Any

from concurrency import READ_ONCE, Operation, atomic_add_return, bug_on, peek, perform, poke, trace
from vm.anon_vma import anon_vma_lock_write, anon_vma_unlock_write, put_anon_vma
from vm.errno import EAGAIN, EBUSY
from vm.folio import (
    Folio,
    Memory,
    break_up,
    folio_get,
    folio_mapped,
    folio_put,
    folio_try_get,
    total_mapcount,
)
from vm.huge_pmd import maps, pmdp_invalidate
from vm.huge_split_pmd import split_huge_pmd
from vm.migrate import remove_migration_pte
from vm.pgtable import (
    PTE_KEPT,
    PTE_SWP_EXCLUSIVE,
    Migration,
    Present,
    make_migration_entry,
    maybe_mkwrite,
    mk_pte,
    pmdp_get,
    set_pmd,
)
from vm.rmap import (
    folio_get_anon_vma,
    folio_lock_anon_vma_read,
    rmap_walk_anon,
    rmap_walk_locked,
    try_to_migrate_one,
)
from vm.vma import VmArea

# -- splitting --------------------------------------------------------------------------------------------------


def split_huge_page(memory: Memory, folio: Folio) -> int:
    """Make the pages of the locked large `folio` folios of their own; 0, -EBUSY or -EAGAIN.

    Nobody has a tail locked while it is one, so those locks are free. They are held until the pages are mapped again.
    Needs a reference. Takes the root anon_vma lock for writing: no walk may see the folio half split.
    """
    anon_vma = folio_get_anon_vma(folio)
    if anon_vma is None:
        return EBUSY
    anon_vma_lock_write(anon_vma)
    result = EAGAIN
    if total_mapcount(folio) == READ_ONCE(folio, "refcount") - 1:
        pages = folio.pages
        rmap_walk_locked(folio, anon_vma, unmap_folio_one)
        bug_on(
            folio_mapped(folio),
            "WARNING: unmap_folio(): VM_WARN_ON_ONCE_FOLIO(folio_mapped(folio)): "
            f"{folio.name} is still mapped after the walk",
            "unmap-folio",
        )
        for page in pages[1:]:
            page.lock.trylock()
        split = perform(SPLIT, folio)
        for page in pages:
            rmap_walk_locked(page, anon_vma, _restore)
        for page in pages[1:]:
            page.lock.unlock()
            if split:
                folio_put(memory, page)
        result = 0 if split else EAGAIN
        trace("split_huge_page", page=folio.name, done=bool(split))
    anon_vma_unlock_write(anon_vma)
    put_anon_vma(anon_vma)
    return result


def unmap_folio_one(page: Folio, vma: VmArea, address: int) -> None:
    """Turn what maps `page` at `address` into migration entries, of the whole folio if it is mapped whole."""
    if page is page.head:
        split_huge_pmd(vma, address, freeze=True, folio=page)
    try_to_migrate_one(page, vma, address)


def _restore(page: Folio, vma: VmArea, address: int) -> None:
    remove_migration_pte(page, page, vma, address)


def _split(folio: Folio, _task: Any, _arg: Any) -> bool:
    if peek(folio, "refcount") != 1:
        return False
    tails = folio.pages[1:]
    break_up(folio)
    for page in tails:
        poke(page, "refcount", 1)
        poke(page, "lru", True)
        poke(page, "dirty", peek(folio, "dirty"))
    return True


SPLIT = Operation("__split_huge_page", effect=_split)


def deferred_split_folio(memory: Memory, folio: Folio) -> None:
    """A part of `folio` is not mapped any more: split it when there is time."""
    if folio.order and not any(one is folio for one in memory.deferred_split):
        memory.deferred_split.append(folio)


def deferred_split_scan(memory: Memory) -> int:
    """Split what was deferred; gives how many folios were. Kernel: the shrinker of that name."""
    done = 0
    queue, memory.deferred_split = memory.deferred_split, []
    for folio in queue:
        if folio_try_get(folio):
            if folio.order and folio.lock.trylock():
                done += split_huge_page(memory, folio) == 0
                folio.lock.unlock()
            folio_put(memory, folio)
    return done


# -- moving -----------------------------------------------------------------------------------------------------


def migrate_huge_folio(memory: Memory, src: Folio, dst: Folio) -> int:
    """Move the large folio `src`, of which the caller has a reference, to `dst`, whose one reference it takes over.

    0, or a negative error and nothing has changed.
    """
    src.lock.lock()
    result = migrate_locked_huge_folio(src, dst)
    src.lock.unlock()
    folio_put(memory, dst)
    return result


def migrate_locked_huge_folio(src: Folio, dst: Folio) -> int:
    """As `migrate_huge_folio`, with `src` locked by the caller, and the reference to `dst` left to him.

    What is not mapped whole cannot be moved here. Between the two walks the huge migration entry may be split, so the
    second looks for small ones, too.
    """
    anon_vma = folio_get_anon_vma(src)
    result = EBUSY
    if anon_vma is not None:
        if dst.lock.trylock():
            rmap_walk_anon(src, set_pmd_migration_entry, folio_lock_anon_vma_read)
            result = EAGAIN if folio_mapped(src) else _move_huge(dst, src)
            target = dst if result == 0 else src

            def restore(page: Folio, vma: VmArea, address: int) -> None:
                remove_migration_pmd(src, page, vma, address)
                remove_migration_pte(src.pages[page.pfn - page.head.pfn], page, vma, address)

            rmap_walk_anon(target, restore)
            if result == 0:
                dst.lru = True
            dst.lock.unlock()
        put_anon_vma(anon_vma)
    return result


def set_pmd_migration_entry(page: Folio, vma: VmArea, address: int) -> None:
    """Turn the huge entry of `address`, if it maps the folio of which `page` is the head, into a migration entry."""
    mm = vma.vm_mm
    if page is not page.head or not isinstance(pmdp_get(mm, address), Present):
        return
    with mm.page_table_lock:
        pmd = pmdp_get(mm, address)
        if not maps(mm.memory, pmd, page):
            return
        pmd = pmdp_invalidate(mm, address)
        exclusive = PTE_SWP_EXCLUSIVE if page.anon_exclusive else 0
        for one in page.pages:
            one.anon_exclusive = False
        set_pmd(mm, address, make_migration_entry(page, pmd.bits | exclusive))
        atomic_add_return(page, "entire_mapcount", -1)
        folio_put(mm.memory, page)
        trace("set_migration_pmd", mm=mm.name, addr=hex(address), page=page.name)


def remove_migration_pmd(old: Folio, page: Folio, vma: VmArea, address: int) -> None:
    """Turn the migration entry of `old`, a huge page, into an entry of the folio of which `page` is the head."""
    mm = vma.vm_mm
    if page is not page.head or address % mm.pmd_size:
        return
    with mm.page_table_lock:
        pmd = pmdp_get(mm, address)
        if not isinstance(pmd, Migration) or pmd.pfn != old.pfn:
            return
        folio_get(page)
        atomic_add_return(page, "entire_mapcount", 1)
        bits = vma.vm_page_prot | pmd.bits & PTE_KEPT
        if pmd.write:
            bits |= maybe_mkwrite(vma)
        if pmd.bits & PTE_SWP_EXCLUSIVE:
            for one in page.pages:
                one.anon_exclusive = True
        set_pmd(mm, address, mk_pte(page, bits))
        trace("remove_migration_pmd", mm=mm.name, addr=hex(address), old=old.name, new=page.name)


def _switch(src: Folio, _task: Any, dst: Folio) -> bool:
    if peek(src, "refcount") != 1:
        return False
    for old, new in zip(src.pages, dst.pages, strict=True):
        for field in ("mapping", "index"):
            poke(new, field, peek(old, field))
    return True


SWITCH_HUGE = Operation("folio_migrate_mapping", effect=_switch)


def _move_huge(dst: Folio, src: Folio) -> int:
    if not perform(SWITCH_HUGE, src, dst):
        return EAGAIN
    for old, new in zip(src.pages, dst.pages, strict=True):
        new.token = READ_ONCE(old, "token")
    trace("migrate", old=src.name, new=dst.name)
    return 0
