"""Splitting large folios. Kernel: mm/huge_memory.c, v6.1."""

from __future__ import annotations

from typing import Any

from sugarbush.concurrency import READ_ONCE, bug_on, trace
from sugarbush.concurrency.lowlevel import Operation, peek, perform, poke
from sugarbush.vm.frames import break_up, folio_put, notified
from sugarbush.vm.huge import split_huge_pmd
from sugarbush.vm.objects import (
    EAGAIN,
    EBUSY,
    Folio,
    Memory,
    VmArea,
    folio_mapped,
    folio_try_get,
    total_mapcount,
)
from sugarbush.vm.reclaim.remove_migration import remove_migration_pte
from sugarbush.vm.reverse import (
    anon_vma_lock_write,
    anon_vma_unlock_write,
    folio_get_anon_vma,
    put_anon_vma,
    rmap_walk_locked,
    try_to_migrate_one,
)


def split_huge_page(memory: Memory, folio: Folio) -> int:
    """Make the pages of the locked large `folio` folios of their own; 0, -EBUSY or -EAGAIN.

    Nobody has a tail locked while it is one, so those locks are free. They are held until the pages are mapped again.
    Needs a reference. Takes the root anon_vma lock for writing: no walk may see the folio half split.
    """
    anon_vma = folio_get_anon_vma(folio)
    if anon_vma is None:
        return EBUSY
    # For writing, where migration needs it for reading only: the folio itself comes apart, and a walk goes by
    # its pages.
    anon_vma_lock_write(anon_vma)
    result = EAGAIN
    # A look that saves the trouble: with references besides those of the entries and of the cache the freeze
    # would fail.
    if total_mapcount(folio) == READ_ONCE(folio, "refcount") - 1 - _in_swap_cache(memory, folio):
        pages = folio.pages
        pinned: list[Folio] = []

        def unmap_one(page: Folio, vma: VmArea, address: int) -> None:
            if not notified(unmap_folio_one)(page, vma, address):
                pinned.append(page)

        # So that nobody makes or drops references by entries while the counts are shared out.
        rmap_walk_locked(folio, anon_vma, unmap_one)
        bug_on(
            folio_mapped(folio) and not pinned,
            "WARNING: unmap_folio(): VM_WARN_ON_ONCE_FOLIO(folio_mapped(folio)): "
            f"{folio.name} is still mapped after the walk",
            "unmap-folio",
        )
        for page in pages[1:]:
            # Locked before they are folios, so that nobody gets one before it is mapped again.
            page.lock.trylock()
        split = perform(SPLIT, folio)
        for page in pages:
            # Whether or not the split was made: migration entries must not stay.
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


def unmap_folio_one(page: Folio, vma: VmArea, address: int) -> bool:
    """Turn what maps `page` at `address` into migration entries, of the whole folio if it is mapped whole.

    False if the page is pinned, and stays mapped. Needs the folio lock and the rmap lock.
    """
    if page is page.head:
        split_huge_pmd(vma, address, freeze=True, folio=page)
    # With `sync`: after this walk it is asserted that nothing maps the folio, so an unmap that has emptied
    # its entry and not counted it off must be waited for (split-without-sync, Z31z). Reclaim need not: it
    # looks, and gives up.
    return try_to_migrate_one(page, vma, address, sync=True)


def _restore(page: Folio, vma: VmArea, address: int) -> None:
    """The second walk of a split: the page goes back to where it was. Needs its lock and the rmap lock."""
    remove_migration_pte(page, page, vma, address)


def _in_swap_cache(memory: Memory, folio: Folio) -> int:
    """How many references the swap cache has to a large folio."""
    area = memory.swap
    return len(folio.pages) if area is not None and area.thp and READ_ONCE(folio, "swap") is not None else 0


def _split(folio: Folio, _task: Any, _arg: Any) -> bool:
    pages = folio.pages
    cached = peek(folio, "swap") is not None
    # In one step with what follows, as page_ref_freeze() makes it: from the look on nobody gets a reference.
    if peek(folio, "refcount") != 1 + cached * len(pages):
        return False
    break_up(folio)
    poke(folio, "refcount", 1 + cached)
    for page in pages[1:]:
        split_huge_page_tail(folio, page)
    return True


def split_huge_page_tail(head: Folio, tail: Folio) -> None:
    """`tail` becomes a folio of its own; inside an effect. If it is in the swap cache it stays in its own slot.

    Kernel: __split_huge_page_tail().
    """
    # Not `swap`: a tail in the swap cache has its own slot. Were it cleared, a fault on an entry that names
    # the slot would not take the page for the right one any more (split-clobbers-swap, Z52).
    poke(tail, "refcount", peek(head, "refcount"))
    poke(tail, "lru", True)
    poke(tail, "dirty", peek(head, "dirty"))


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
