"""zswap keeps pages that are swapped out in memory, compressed, and writes them to their slots when it has too many. It
took such a copy, put a page for its slot into the swap cache, and decompressed the copy into it. Between the first and
the second the slot could be freed and used again: then the copy was of the page that was in the slot before, and what
the slot held now was overwritten with it.

Found with stress-ng. The fix looks once more, with the page in the swap cache, whether the copy is still the slot's.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.objects import SwapSlot, ZswapEntry
from sugarbush.vm.reclaim import kswapd, zswap_shrink
from sugarbush.vm.reclaim import zswap_writeback as zswap


@patch(zswap.zswap_is_stored)
def zswap_is_stored(_slot: SwapSlot, _entry: ZswapEntry) -> bool:
    """Nobody looked."""
    return True


def store_and_swap_out(process: Process) -> None:
    """Store to the page; then memory is short again."""
    process.store(page(0), "new")
    kswapd(process.mm.memory, 1)


@bug(
    "zswap-writeback",
    id="Z53",
    title="zswap writes a copy to a slot that has another page by now",
    year=2023,
    versions="up to v6.3",
    fix="04fc7816089c: mm: fix zswap writeback race condition",
    evidence="as far as we know",
    kind=Kind.CORRUPTION,
    check="private-data",
    patches=(zswap_is_stored,),
)
def zswap_writeback() -> None:
    """Shrink zswap while a process stores to a page that is in it, and the page goes out again."""
    machine, process = heap(1, slots=1, zswap=True)
    kswapd(machine.memory, 1)
    join(spawn(zswap_shrink, machine.memory), spawn(store_and_swap_out, process))
    process.load(page(0))
    process.exit(machine)
