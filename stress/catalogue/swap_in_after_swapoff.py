"""A fault reads a swap entry without the lock of its table, and then looks at the slot: is its page cached, how
often is it named, what is in it. Nothing kept the slot meanwhile. A swapoff could bring the page back, find that
nothing is in use any more, and free the map of the slots, the cache and the file, while the fault was on its way to
them.

Since v5.3 looks at the slot use the area (get_swap_device(), eb085574a752), and swapoff waits for those who do. A
device as fast as memory was still read without it, until v5.14 let the whole fault use the area. The patch takes it
from the fault.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.faults import swap_fault, swap_in
from sugarbush.vm.objects import PageTable, Swap, VmArea
from sugarbush.vm.reclaim import kswapd, swapoff


@patch(swap_fault.do_swap_page)
def do_swap_page(vma: VmArea, table: PageTable, address: int, pte: Swap, *, write: bool) -> int:
    """Nothing keeps the slots."""
    area = vma.vm_mm.memory.swap
    assert area is not None
    return swap_in(area, vma, table, address, pte, write=write)


@bug(
    "swap-in-after-swapoff",
    id="Z80",
    title="a fault looks at a slot that swapoff has freed",
    year=2021,
    versions="up to 5.2; with devices as fast as memory up to 5.13",
    fix="2799e77529c2: swap: fix do_swap_page() race with swapoff",
    evidence="read",
    kind=Kind.USE_AFTER_FREE,
    check="use-after-free",
    patches=(do_swap_page,),
    tasks=2,
    preemptions=1,
)
def swap_in_after_swapoff() -> None:
    """Read a page that was swapped out while an administrator takes the swap area away."""
    machine, process = heap(1, slots=2, synchronous=True)
    kswapd(machine.memory, 1)
    join(
        spawn(process.load, page(0), name="cc1"),
        spawn(swapoff, machine.memory, name="swapoff"),
    )
    process.load(page(0))
    process.exit(machine)
