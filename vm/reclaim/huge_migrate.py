"""Moving large folios whole. Kernel: mm/huge_memory.c and mm/migrate.c, v6.1."""

from __future__ import annotations

from typing import Any

from sugarbush.concurrency import READ_ONCE, atomic_add_return, trace
from sugarbush.concurrency.lowlevel import Operation, peek, perform, poke
from sugarbush.vm.frames import (
    folio_put,
    make_migration_entry,
    maybe_mkwrite,
    mk_pte,
    notified,
    pmdp_get,
    set_pmd,
)
from sugarbush.vm.huge import change_pmd_bits, maps, pmdp_invalidate
from sugarbush.vm.objects import (
    EAGAIN,
    EBUSY,
    PTE_KEPT,
    PTE_SWP_EXCLUSIVE,
    Folio,
    Migration,
    Present,
    VmArea,
    folio_get,
    folio_mapped,
    folio_maybe_dma_pinned,
)
from sugarbush.vm.reclaim.remove_migration import remove_migration_pte
from sugarbush.vm.reverse import (
    folio_get_anon_vma,
    folio_lock_anon_vma_read,
    put_anon_vma,
    rmap_walk_anon,
    try_to_migrate_one,
)


def migrate_locked_huge_folio(src: Folio, dst: Folio) -> int:
    """Move the locked large folio `src`, of which the caller has a reference, to the frames of `dst`.

    0, or a negative error and nothing has changed. The reference to `dst` is left to the caller. Where `src` is mapped
    page by page its pages get entries of their own. A huge migration entry may be split between the two walks, so the
    second looks for both kinds.
    """
    assert src.order == dst.order, "a large folio moves to as many frames as it has"
    anon_vma = folio_get_anon_vma(src)
    result = EBUSY
    if anon_vma is not None:
        # It is new and nobody has it; but with one folio lock held another is only tried, here as anywhere.
        if dst.lock.trylock():
            rmap_walk_anon(src, notified(_try_to_migrate_one), folio_lock_anon_vma_read)
            # Still mapped: pinned, or by the stack of an exec, which is left alone.
            result = EAGAIN if folio_mapped(src) else _move_huge(dst, src)
            target = dst if result == 0 else src

            def restore(page: Folio, vma: VmArea, address: int) -> None:
                remove_migration_pmd(src, page, vma, address)
                remove_migration_pte(src.pages[page.pfn - page.head.pfn], page, vma, address)

            # Without a way to lock that looks whether the folio is mapped: it is not. The anon_vma was pinned
            # above.
            rmap_walk_anon(target, restore)
            if result == 0:
                dst.lru = True
            dst.lock.unlock()
        put_anon_vma(anon_vma)
    return result


def _try_to_migrate_one(page: Folio, vma: VmArea, address: int) -> None:
    set_pmd_migration_entry(page, vma, address)
    try_to_migrate_one(page, vma, address)


def set_pmd_migration_entry(page: Folio, vma: VmArea, address: int) -> None:
    """Turn the huge entry of `address`, if it maps the folio of which `page` is the head, into a migration entry.

    Nothing happens if somebody has pinned it: it must stay where it is. Needs the folio lock and the rmap lock.
    """
    mm = vma.vm_mm
    if page is not page.head or not isinstance(pmdp_get(mm, address), Present):
        return
    with mm.page_table_lock:
        pmd = pmdp_get(mm, address)
        if not maps(mm.memory, pmd, page):
            return
        # As with small pages: first no CPU and no walk can use it, then the pins are looked at.
        pmd = pmdp_invalidate(mm, address)
        if page.anon_exclusive and folio_maybe_dma_pinned(page):
            change_pmd_bits(mm, address, gained=pmd.bits)
            return
        exclusive = PTE_SWP_EXCLUSIVE if page.anon_exclusive else 0
        for one in page.pages:
            one.anon_exclusive = False
        # Entry, count, reference, in this order and under the lock.
        set_pmd(mm, address, make_migration_entry(page, pmd.bits | exclusive))
        atomic_add_return(page, "entire_mapcount", -1)
        folio_put(mm.memory, page)
        trace("set_migration_pmd", mm=mm.name, addr=hex(address), page=page.name)


def remove_migration_pmd(old: Folio, page: Folio, vma: VmArea, address: int) -> None:
    """Turn the migration entry of `old`, a huge page, into an entry of the folio of which `page` is the head.

    Needs both folio locks and the rmap lock.
    """
    mm = vma.vm_mm
    # The walk comes for each page, the huge entry is one; split meanwhile, it is small entries, for the other
    # function.
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
    # The caller's is the only one, or somebody else has the page, and may go on reading or writing its old
    # frames.
    if peek(src, "refcount") != 1:
        return False
    for old, new in zip(src.pages, dst.pages, strict=True):
        for field in ("mapping", "index"):
            poke(new, field, peek(old, field))
    return True


SWITCH_HUGE = Operation("folio_migrate_mapping", effect=_switch)


def _move_huge(dst: Folio, src: Folio) -> int:
    """Give `dst` identity and content of `src`, which nothing maps; 0 or -EAGAIN. Needs both folio locks."""
    if not perform(SWITCH_HUGE, src, dst):
        return EAGAIN
    for old, new in zip(src.pages, dst.pages, strict=True):
        new.token = READ_ONCE(old, "token")
    trace("migrate", old=src.name, new=dst.name)
    return 0
