"""Writing the copies of zswap to their slots, when they take too much memory. Kernel: mm/zswap.c, v6.4.

Simpler here: the copies are taken in the order of their slots, not of their age.
"""

from __future__ import annotations

from sugarbush.concurrency import trace
from sugarbush.vm.frames import (
    alloc_folio,
    delete_from_swap_cache,
    folio_put,
    get_swap_device,
    put_swap_device,
    swap_writepage_to_slot,
    try_add_to_swap_cache,
    zswap_invalidate,
    zswap_search,
)
from sugarbush.vm.objects import Memory, SwapSlot, ZswapEntry


def zswap_shrink(memory: Memory) -> int:
    """Write back every copy that can be; gives how many were."""
    area = memory.swap
    written = 0
    if area is None or not get_swap_device(area):
        return 0
    for slot in area.slots:
        entry = zswap_search(slot)
        if entry is not None:
            written += zswap_writeback_entry(memory, slot, entry)
    put_swap_device(area)
    return written


def zswap_writeback_entry(memory: Memory, slot: SwapSlot, entry: ZswapEntry) -> bool:
    """Put what `entry` holds into a page of the swap cache, and write that to its slot; False if it cannot be.

    As long as the page is in the cache nobody else uses the slot. Before, the slot may have been freed and used again:
    so it is looked at once more whether `entry` is the slot's.
    """
    folio = alloc_folio(memory)
    if folio is None:
        return False
    folio.lock.lock()
    written = False
    if try_add_to_swap_cache(slot, folio):
        # Asked again once the page is in the cache, which keeps the slot. Without this what another page has
        # in the slot by now is written over (zswap-writeback, Z53).
        written = zswap_is_stored(slot, entry)
        if written:
            folio.token = entry.token
            swap_writepage_to_slot(slot, folio)
            # After the write: there is always one place that has the content.
            zswap_invalidate(slot)
            folio.lru = True
            trace("zswap_writeback", page=folio.name, slot=slot.name)
        else:
            delete_from_swap_cache(slot, folio)
    folio.lock.unlock()
    folio_put(memory, folio)
    return written


def zswap_is_stored(slot: SwapSlot, entry: ZswapEntry) -> bool:
    """`entry` is still the one that is kept for the slot, whose page is cached."""
    return zswap_search(slot) is entry
