"""Who gets which frame: allocation, the free list, and what becomes of a folio when its last reference is dropped.

Kernel: mm/page_alloc.c and mm/swap.c, v6.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sugarbush.concurrency import atomic_add_return, bug_on, direct_reclaim, may_reclaim, might_sleep, trace
from sugarbush.concurrency.lowlevel import Operation, active, perform, poke
from sugarbush.lockdep.model import GFP_DIRECT_RECLAIM, GFP_HIGHUSER_MOVABLE, gfpflags_allow_blocking
from sugarbush.vm.objects import Folio, Memory, fields, total_mapcount

if TYPE_CHECKING:
    from sugarbush.concurrency.core import Place


def page_to_nid(memory: Memory, folio: Folio) -> int:
    """The node that a frame belongs to."""
    return folio.pfn * memory.nodes // len(memory.mem_map)


def _is_on(memory: Memory, folio: Folio, nid: int | None) -> bool:
    return nid is None or page_to_nid(memory, folio) == nid


def _take_frame(memory: Memory, _task: Any, nid: int | None) -> Folio | None:
    free = memory.free_list
    # From the end, where the last freed one is: so a frame is its next owner's as early as may be, which is
    # what a stale entry needs to do harm (brk-false-vma-silent, Z01s).
    for place in range(len(free) - 1, -1, -1):
        if _is_on(memory, free[place], nid):
            folio = free.pop(place)
            poke(folio, "refcount", 1)
            return folio
    return None


def _free_frame(memory: Memory, _task: Any, folio: Folio) -> None:
    for page in reversed(folio.pages):
        page.generation += 1
        poke(page, "mapping", None)
        poke(page, "lru", False)
        poke(page, "anon_exclusive", False)
        poke(page, "dirty", False)
        poke(page, "pincount", 0)
        poke(page, "token", None)
        memory.free_list.append(page)
    if folio.order:
        break_up(folio)


def break_up(folio: Folio) -> None:
    """Each page becomes a folio of its own; inside an effect."""
    for page in folio.pages:
        page.order = 0
        page.head = page
        page.pages = (page,)


def _take_huge(memory: Memory, _task: Any, nid: int | None) -> Folio | None:
    size = memory.ptrs_per_pte
    # At multiples of its size, as the buddy allocator has them, and as an upper entry wants them.
    starts = range(0, len(memory.mem_map) - size + 1, size)
    frames = memory.mem_map
    fits = [pfn for pfn in starts if all(_is_on(memory, page, nid) for page in frames[pfn : pfn + size])]
    return _take_block(memory, fits)


def _take_highest_block(memory: Memory, _task: Any, above: int) -> Folio | None:
    size = memory.ptrs_per_pte
    starts = range(0, len(memory.mem_map) - size + 1, size)
    return _take_block(memory, [pfn for pfn in reversed(starts) if pfn > above])


def _take_block(memory: Memory, starts: list[int]) -> Folio | None:
    """The first of the blocks of frames that is free, as a large folio."""
    free = {folio.pfn for folio in memory.free_list}
    for pfn in starts:
        pages = tuple(memory.mem_map[pfn : pfn + memory.ptrs_per_pte])
        if all(page.pfn in free for page in pages):
            head = pages[0]
            memory.free_list = [folio for folio in memory.free_list if folio not in pages]
            for page in pages:
                page.head = head
            head.pages = pages
            head.order = len(pages).bit_length() - 1
            poke(head, "refcount", 1)
            return head
    return None


def _take_highest(memory: Memory, _task: Any, above: int) -> Folio | None:
    folio = max(memory.free_list, key=lambda folio: folio.pfn, default=None)
    if folio is None or folio.pfn <= above:
        return None
    memory.free_list.remove(folio)
    poke(folio, "refcount", 1)
    return folio


def _takes_frame(memory: Memory, _task: Any, nid: int | None) -> list[Place]:
    found = next((folio for folio in reversed(memory.free_list) if _is_on(memory, folio, nid)), None)
    return [(memory, "free_list", True), *([] if found is None else fields(found, "refcount"))]


def _takes_highest(memory: Memory, _task: Any, _above: int) -> list[Place]:
    found = max(memory.free_list, key=lambda folio: folio.pfn, default=None)
    return [(memory, "free_list", True), *([] if found is None else fields(found, "refcount"))]


def _frees(memory: Memory, _task: Any, folio: Folio) -> list[Place] | None:
    # Breaking up a large folio also changes its other pages, which no operation names: so this may touch
    # anything.
    if folio.order:
        return None
    freed = ("mapping", "lru", "anon_exclusive", "dirty", "pincount", "token", "generation")
    return [(memory, "free_list", True), *fields(folio, *freed)]


# What an owner did with a frame comes before all that the next one does: as by the lock of the zone.
ALLOC_HUGE = Operation("alloc_pages", effect=_take_huge, acquires=("frames",))
ISOLATE_FREE = Operation(
    "isolate_freepages", effect=_take_highest, acquires=("frames",), touches=_takes_highest
)
ISOLATE_FREE_BLOCK = Operation("isolate_freepages", effect=_take_highest_block, acquires=("frames",))
ALLOC_FRAME = Operation("alloc_pages", effect=_take_frame, acquires=("frames",), touches=_takes_frame)
FREE_FRAME = Operation("free_pages", effect=_free_frame, releases=("frames",), touches=_frees)


def alloc_folio(memory: Memory, gfp: int = GFP_HIGHUSER_MOVABLE, nid: int | None = None) -> Folio | None:
    """A frame, of node `nid` if that is given, with one reference, or None; kernel: folio_alloc()."""
    return _alloc(memory, gfp, ALLOC_FRAME, nid)


def alloc_huge(memory: Memory, gfp: int = GFP_HIGHUSER_MOVABLE, nid: int | None = None) -> Folio | None:
    """A large folio of one upper entry's size with one reference, or None; kernel: vma_alloc_folio()."""
    # None is no error to most callers: they go on with small pages (FALLBACK).
    return _alloc(memory, gfp, ALLOC_HUGE, nid)


def _alloc(memory: Memory, gfp: int, op: Operation, nid: int | None) -> Folio | None:
    rt = active.runtime
    if rt is not None:
        if gfpflags_allow_blocking(gfp):
            # All of it whether or not a frame is free: that an allocation may sleep or reclaim is wrong under
            # some locks even on the days on which it does neither.
            might_sleep()
        rt.might_alloc(gfp)
        if gfp & GFP_DIRECT_RECLAIM:
            may_reclaim(rt)
        if rt.faults and rt.choose(2, "allocation of a page fails"):
            # A choice, so a schedule that replays makes the same allocation fail.
            rt.faults -= 1
            return None
    folio: Folio | None = perform(op, memory, nid)
    if folio is None and gfpflags_allow_blocking(gfp):
        direct_reclaim()
        folio = perform(op, memory, nid)
    if folio is not None:
        trace("mm_page_alloc", page=folio.name)
    return folio


def isolate_freepage(memory: Memory, above: int) -> Folio | None:
    """The highest free frame beyond number `above`, with one reference, or None; kernel: compaction_alloc()."""
    folio: Folio | None = perform(ISOLATE_FREE, memory, above)
    if folio is not None:
        trace("mm_page_alloc", page=folio.name)
    return folio


def isolate_freepages_block(memory: Memory, above: int) -> Folio | None:
    """The highest free frames beyond number `above` for a large folio, with one reference, or None."""
    folio: Folio | None = perform(ISOLATE_FREE_BLOCK, memory, above)
    if folio is not None:
        trace("mm_page_alloc", page=folio.name)
    return folio


def folio_put(memory: Memory, folio: Folio) -> None:
    """Drop a reference; the last one frees the frame."""
    folio = folio.head
    left = atomic_add_return(folio, "refcount", -1)
    bug_on(left < 0, f"VM_BUG_ON_FOLIO(folio_ref_count({folio.name}) < 0)", "refcount")
    if left == 0:
        # free_page_is_bad(): each of these is a bug of the one who dropped the last reference, not of this
        # function.
        mapcount = total_mapcount(folio) if folio.order else folio.mapcount
        bug_on(
            mapcount != 0, f"BUG: Bad page state: {folio.name} is freed with mapcount {mapcount}", "mapcount"
        )
        bug_on(
            not folio.lock.unheld, f"BUG: Bad page state: {folio.name} is freed with PG_locked", "refcount"
        )
        trace("mm_page_free", page=folio.name)
        pool = folio.hugetlb
        if pool is None:
            perform(FREE_FRAME, memory, folio)
            return
        # The frame may have another owner before the pool is told.
        folio.hugetlb, promised = None, folio.restore_reserve
        folio.restore_reserve = False
        perform(FREE_FRAME, memory, folio)
        pool.free_huge_page(promised=promised)
