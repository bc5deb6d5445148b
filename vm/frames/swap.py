"""The swap area: giving its slots away, and the cache of pages that are in both memory and a slot. Kernel:
mm/swapfile.c and mm/swap_state.c, v6.1.

A slot counts the entries that name it, and knows whether its page is cached; it is free when neither is so. Simpler
here: one operation each (`vm.frames.swap_slots`) stands for the locks of the area, of a cluster and of the cache's
xarray; a slot is prepared for its page and gets it in one step; there is one area.

Whoever looks at a slot that nothing keeps (a locked entry, a locked page in its cache) first uses the area:
`get_swap_device`. `vm.reclaim.swapping_off` frees the slots when nobody does any more.
"""

from __future__ import annotations

from sugarbush.concurrency import READ_ONCE, ConcurrencyError, bug_on, trace
from sugarbush.concurrency.lowlevel import peek, perform
from sugarbush.vm.frames.page_alloc import folio_put
from sugarbush.vm.frames.swap_slots import (
    ALLOC_SLOT,
    CLEAR,
    COUNT,
    DELETE,
    FREE_SWAP,
    LOOKUP,
    PREPARE,
    READ,
    REMOVE,
    SWAP_FULL,
    SWAP_MAP,
    TRY_CACHE,
    WAIT,
    WRITE,
)
from sugarbush.vm.frames.zswap import zswap_copy, zswap_invalidate, zswap_search
from sugarbush.vm.objects import (
    SWP_USED,
    Folio,
    Memory,
    SwapArea,
    SwapSlot,
    folio_mapped,
    percpu_ref_put,
    percpu_ref_tryget_live,
)


def swapon(
    memory: Memory, slots: int, *, synchronous: bool = False, zswap: bool = False, thp: bool = False
) -> SwapArea:
    """Give the machine a swap area of so many pages; SWP_SYNCHRONOUS_IO is what zram has.

    Raises `ConcurrencyError` where there is one.
    """
    if memory.swap is not None and peek(memory.swap, "flags") & SWP_USED:
        raise ConcurrencyError(
            "the machine has a swap area, and the model knows of one only: swapoff(memory) first"
        )
    memory.swap = SwapArea(slots, synchronous=synchronous, zswap=zswap, thp=thp)
    return memory.swap


def add_to_swap(memory: Memory, folio: Folio) -> bool:
    """Give the locked `folio` a slot, or a row of them if it is large, and put it into the swap cache.

    False if no slot or no such row is free.
    """
    area = memory.swap
    if area is None or not perform(ALLOC_SLOT, area, folio):
        return False
    # The slot has nothing of the page yet, be the page clean by its entries: it must be written before it may
    # go.
    folio.dirty = True
    trace("add_to_swap", page=folio.name)
    return True


def get_swap_device(area: SwapArea) -> bool:
    """Keep the slots from being freed; may be called under a spinlock. False once swapoff has come so far that no
    entry names a slot any more.
    """
    return percpu_ref_tryget_live(area.users)


def put_swap_device(area: SwapArea) -> None:
    """The end of a `get_swap_device` that gave True."""
    percpu_ref_put(area.users)


def vm_swap_full(area: SwapArea) -> bool:
    """More than half of the slots are taken: pages in memory should not keep theirs."""
    return bool(perform(SWAP_FULL, area))


def try_add_to_swap_cache(slot: SwapSlot, folio: Folio) -> bool:
    """Make the locked `folio` the page of a slot that is in use; False if it has one, or is in use no more."""
    return bool(perform(TRY_CACHE, slot, folio))


def swap_cache_get_folio(slot: SwapSlot) -> Folio | None:
    """The page of the slot if it is cached, with a reference. It may be of another slot by the time it is locked."""
    folio: Folio | None = perform(LOOKUP, slot)
    return folio


def swap_duplicate(slot: SwapSlot) -> None:
    """One more entry names the slot; needs the lock of its page table."""
    perform(COUNT, slot, 1)


def swap_free(slot: SwapSlot) -> None:
    """One entry less names the slot; needs the lock of the page table that it was in."""
    left = perform(COUNT, slot, -1)
    # Once too often: another page's slot would be free while entries name it.
    bug_on(left < 0, f"swap_info_get: Unused swap offset entry {slot.number}", "swap-count")


def swap_count(slot: SwapSlot) -> int:
    """How many entries name the slot."""
    count: int = perform(COUNT, slot, 0)
    return count


def swap_map(slot: SwapSlot) -> tuple[int, bool]:
    """How many entries name the slot, and whether its page is cached, or is about to be: READ_ONCE(si->swap_map[i])."""
    found: tuple[int, bool] = perform(SWAP_MAP, slot)
    return found


def delete_from_swap_cache(slot: SwapSlot, folio: Folio) -> None:
    """Take the locked `folio`, the page of `slot`, out of the swap cache."""
    perform(DELETE, slot, folio)


def folio_free_swap(folio: Folio) -> bool:
    """Take the locked `folio` out of the swap cache, if no entry names its slot."""
    # The folio lock keeps this; whether entries name the slot is looked at in the step that takes the page
    # out.
    slot = folio.swap
    return slot is not None and bool(perform(FREE_SWAP, slot, folio.head))


def remove_from_swap_cache(folio: Folio) -> bool:
    """Take the locked `folio` out of the swap cache, if it is clean and only the caller refers to it besides."""
    slot = folio.swap
    return slot is not None and bool(perform(REMOVE, slot, folio))


def swapcache_prepare(slot: SwapSlot) -> bool:
    """Keep the slot from being given away or cached by others; False if somebody else does so already."""
    return bool(perform(PREPARE, slot))


def swapcache_clear(slot: SwapSlot) -> None:
    """The end of a `swapcache_prepare` after which no page was added."""
    perform(CLEAR, slot)


def swapcache_wait(slot: SwapSlot) -> None:
    """Sleep until whoever prepared the slot is done."""
    perform(WAIT, slot)


def swap_writepage(memory: Memory, folio: Folio) -> None:
    """Write the locked, unmapped `folio` to its slots, or keep copies; a later store makes it dirty again."""
    area = memory.swap
    assert area is not None
    folio.dirty = False
    folio.writeback = True
    for page in folio.pages:
        slot = page.swap
        assert slot is not None
        if not zswap_store(area, slot, page):
            swap_writepage_to_slot(slot, page)
        trace("swap_writepage", page=page.name, slot=slot.name)
    folio.writeback = False


def zswap_store(area: SwapArea, slot: SwapSlot, folio: Folio) -> bool:
    """Keep a copy of the locked `folio` instead of writing it to its slot; False if it must be written.

    A copy that the slot has from before goes in any case: it would be read instead of what is written now, and could be
    written over it. The locked page keeps the slot from anybody else. Kernel: mm/zswap.c, as since v6.8 (678e54d4bb9a)
    and v6.6.17; up to v6.5 __frontswap_store() saw to it.
    """
    if area.zswap:
        area.zswap_used = True
        zswap_copy(slot, folio)
        return True
    if area.zswap_used:
        zswap_invalidate(slot)
    return False


def swap_writepage_to_slot(slot: SwapSlot, folio: Folio) -> None:
    """Write the locked `folio` to the slot; kernel: __swap_writepage()."""
    perform(WRITE, slot, folio)


def swap_readpage(slot: SwapSlot) -> object:
    """What was written to the slot, or the copy that stands for it."""
    entry = zswap_search(slot)
    # The copy first: where there is one the slot was never written since (zswap-duplicate, Z73).
    return perform(READ, slot) if entry is None else entry.token


def free_page_and_swap_cache(memory: Memory, folio: Folio) -> None:
    """Drop the reference of an entry that is gone, and the page from the swap cache if nobody needs it there."""
    if memory.swap is not None:
        free_swap_cache(folio)
    folio_put(memory, folio)


def free_swap_cache(folio: Folio) -> None:
    """Drop `folio` from the swap cache if nothing maps it, no entry names its slot, and nobody has it locked."""
    folio = folio.head
    # The lock is only tried: zap_pte_range() comes here with a page-table lock held. If another task has the
    # page locked it stays in the cache until reclaim comes to it.
    if READ_ONCE(folio, "swap") is not None and not folio_mapped(folio) and folio.lock.trylock():
        folio_free_swap(folio)
        folio.lock.unlock()


def free_swap_and_cache(memory: Memory, slot: SwapSlot) -> None:
    """One entry less names the slot; if it was the last, its page is dropped from the cache too.

    After the entry is gone nothing keeps the slot, which is looked at once more: so the area is used up to the end, as
    since v6.9 and v6.6.24 (82b1c07a0af6). Needs the lock of the page table that the entry was in.
    """
    area = memory.swap
    assert area is not None
    if not get_swap_device(area):
        return
    # From this step on the slot may be free, and the next look at it is a use after free if swapoff comes in
    # between (zap-during-swapoff, Z81). That the page-table lock is held does not help: swapoff waits only
    # for what is in use.
    swap_free(slot)
    folio = swap_cache_get_folio(slot)
    if folio is not None:
        free_page_and_swap_cache(memory, folio)
    put_swap_device(area)
