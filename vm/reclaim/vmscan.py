"""Reclaim: taking pages away from those who use them, for others. Kernel: mm/vmscan.c and mm/rmap.c, v6.1.

kswapd does it as a task of its own. An allocation with __GFP_DIRECT_RECLAIM does it in place, with whatever locks its
task holds (`allow_direct_reclaim`).

Simpler here: pages have no age and stand in no list; the frames are looked at by number. A large folio is split, and
its pages swapped out one by one, unless the swap area gives it a row of slots.
"""

from __future__ import annotations

from functools import partial

from sugarbush.concurrency import READ_ONCE, fs_reclaim, trace
from sugarbush.concurrency.lowlevel import Pressure, domain
from sugarbush.vm.files import remove_clean_page
from sugarbush.vm.frames import (
    add_to_swap,
    folio_free_swap,
    folio_put,
    isolate_lru_page,
    putback_lru_page,
    remove_from_swap_cache,
    swap_writepage,
)
from sugarbush.vm.objects import Folio, Memory, folio_mapped, folio_test_anon
from sugarbush.vm.reclaim.huge_split import split_huge_page
from sugarbush.vm.reclaim.unmap import FlushBatch, try_to_unmap, try_to_unmap_flush


def kswapd(memory: Memory, wanted: int) -> int:
    """Free up to `wanted` pages, as kswapd does when it is woken; gives how many. Kernel: balance_pgdat()."""
    with fs_reclaim():
        return shrink_node(memory, wanted)


def allow_direct_reclaim(memory: Memory, chances: int) -> None:
    """From here on allocations that may reclaim do so when no frame is free, and up to `chances` of them by choice."""
    pressure = domain(Pressure)
    pressure.reclaim = partial(shrink_node, memory, 1)
    pressure.chances = chances


def shrink_node(memory: Memory, wanted: int) -> int:
    """Look at each frame once, and free up to `wanted` pages; gives how many."""
    freed = 0
    # By number, and not by age: which page goes decides how fast a machine is, and not what may go wrong with
    # it. The order in which a program touches its memory says which page has which frame.
    for folio in memory.mem_map:
        if freed >= wanted:
            break
        if isolate_lru_page(memory, folio):
            freed += shrink_folio_list(memory, [folio])
    return freed


def shrink_folio_list(memory: Memory, folios: list[Folio]) -> int:
    """Free those of the isolated `folios` that can be freed, and put the others back; gives how many were freed.

    Their translations are flushed once for all of them: before a dirty page is written, and before any is freed or put
    back, for whoever takes it next may free it.
    """
    batch = FlushBatch()
    doomed: list[Folio] = []
    kept: list[Folio] = []
    queue = list(folios)
    for folio in queue:
        # Only tried. Reclaim may be called with folio locks held; and a lock that is waited for under an rmap
        # lock is the other way round altogether (folio-lock-under-rmap-lock, Z40h).
        if folio.lock.trylock():
            if folio.order and not swaps_whole(memory, folio):
                queue += split_folio_to_list(memory, folio)
            gone = shrink_folio(memory, folio, batch)
            folio.lock.unlock()
            (doomed if gone else kept).append(folio)
        else:
            kept.append(folio)
    # With all unlocked. One flush for many pages is what the batch is for; until here they have our
    # reference, so none is anybody else's yet.
    try_to_unmap_flush(batch)
    freed = sum(len(folio.pages) for folio in doomed)
    for folio in doomed:
        folio_put(memory, folio)
    for folio in kept:
        putback_lru_page(memory, folio)
    return freed


def swaps_whole(memory: Memory, folio: Folio) -> bool:
    """The locked large folio has a row of slots, or has got one now; one that is mapped in parts only gets none."""
    area = memory.swap
    if area is None or not area.thp:
        return False
    if READ_ONCE(folio, "swap") is not None:
        return True
    return bool(READ_ONCE(folio, "entire_mapcount")) and add_to_swap(memory, folio)


def split_folio_to_list(memory: Memory, folio: Folio) -> list[Folio]:
    """Split the locked, isolated large `folio`; its tails, isolated too, if that could be done."""
    tails = folio.pages[1:]
    if split_huge_page(memory, folio):
        return []
    return [page for page in tails if isolate_lru_page(memory, page)]


def shrink_folio(memory: Memory, folio: Folio, batch: FlushBatch) -> bool:
    """Take the locked `folio` from all who map it, and out of its cache. True if only the caller has it now.

    A large folio is one that could not be split: it is pinned, or somebody else refers to it.
    """
    if folio.order and not (
        memory.swap is not None and memory.swap.thp and READ_ONCE(folio, "swap") is not None
    ):
        return False
    anon = folio_test_anon(folio)
    # A slot before the first entry is taken away: the entry must have something to name.
    if anon and READ_ONCE(folio, "swap") is None and not add_to_swap(memory, folio):
        return False
    if folio_mapped(folio):
        try_to_unmap(folio, batch)
        if folio_mapped(folio):
            return False
    if READ_ONCE(folio, "swap") is None:
        return remove_clean_page(folio)
    if READ_ONCE(folio, "dirty"):
        # Before the content is read: a store by an old translation after the write would be lost, for no dirty bit is
        # set any more.
        try_to_unmap_flush(batch)
        swap_writepage(memory, folio)
    # In one step with the looks at count and dirty bit; a task that has looked the page up since has a
    # reference, and the page stays.
    removed = remove_from_swap_cache(folio)
    if removed:
        trace("swap_out", page=folio.name)
    else:
        # All entries may have gone meanwhile, and then nobody needs the slot.
        folio_free_swap(folio)
    return removed
