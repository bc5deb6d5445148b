"""Where swap is as fast as memory, a page that only one process uses is read into a page of its own, without the swap
cache. Two threads that fault on it at once both read it. The first one installs its page, frees the slot and lets the
process write; then the page is swapped out again, into the same slot. The entry looks as it did before, so the second
thread installs what it had read the first time: the write is lost.

The fix keeps the slot from being used again while it is read, by marking it as if its page were cached.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.access import user_load
from sugarbush.vm.frames import swap
from sugarbush.vm.objects import SwapSlot
from sugarbush.vm.reclaim import kswapd


@patch(swap.swapcache_prepare)
def swapcache_prepare(_slot: SwapSlot) -> bool:
    """Nothing keeps the slot."""
    return True


@patch(swap.swapcache_clear)
def swapcache_clear(_slot: SwapSlot) -> None:
    """The end of what nothing did."""


def store_and_swap_out(process: Process) -> None:
    """Store to the page; then memory is short again."""
    process.store(page(0), "new")
    kswapd(process.mm.memory, 1)


@bug(
    "swap-in-without-cache",
    id="Z29",
    title="a page is swapped in twice, and the second one is of before",
    year=2024,
    versions="4.15 to 6.7",
    cve="CVE-2024-26759",
    fix="13ddaf26be32: mm/swap: fix race when skipping swapcache",
    evidence="as far as we know",
    kind=Kind.CORRUPTION,
    check="private-data",
    patches=(swapcache_prepare, swapcache_clear),
    tasks=3,
    preemptions=1,
)
def swap_in_without_cache() -> None:
    """Two threads swap one page in; one stores to it, and it goes out again."""
    machine, process = heap(1, slots=1, synchronous=True)
    kswapd(machine.memory, 1)
    join(
        spawn(user_load, process.mm, page(0), name="one"),
        spawn(store_and_swap_out, process, name="two"),
    )
    process.load(page(0))
    process.exit(machine)
