"""Unmapping a page that was swapped out takes two steps: the slot is named once less, and if its page is still
cached it goes from the cache. After the first step nothing keeps the slot. A swapoff that finds nothing in use any
more need not wait for the lock of the page table, under which all this is done: it frees the map of the slots, and
the second step looks into it.

The commit calls the window theoretical; it was found by reading, and got a CVE. The fix uses the area for both steps.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.frames import free_page_and_swap_cache, swap, swap_cache_get_folio, swap_free
from sugarbush.vm.objects import Memory, SwapSlot
from sugarbush.vm.reclaim import kswapd, swapoff


@patch(swap.free_swap_and_cache)
def free_swap_and_cache(memory: Memory, slot: SwapSlot) -> None:
    """Nothing keeps the slot after it is named once less."""
    swap_free(slot)
    folio = swap_cache_get_folio(slot)
    if folio is not None:
        free_page_and_swap_cache(memory, folio)


@bug(
    "zap-during-swapoff",
    id="Z81",
    title="what is unmapped looks once more at a slot that swapoff has freed",
    year=2024,
    versions="up to 6.8",
    cve="CVE-2024-26960",
    fix="82b1c07a0af6: mm: swap: fix race between free_swap_and_cache() and swapoff()",
    evidence="read",
    kind=Kind.USE_AFTER_FREE,
    check="use-after-free",
    patches=(free_swap_and_cache,),
    tasks=2,
    preemptions=1,
)
def zap_during_swapoff() -> None:
    """Give up a page that was swapped out while an administrator takes the swap area away."""
    machine, process = heap(1, slots=2)
    kswapd(machine.memory, 1)
    join(
        spawn(process.dontneed, page(0), 1, name="cc1"),
        spawn(swapoff, machine.memory, name="swapoff"),
    )
    process.load(page(0))
    process.exit(machine)
