"""A fault on a page that was swapped out looks the page up in the swap cache, and locks it. Then it looks whether the
page is still in the swap cache, and whether the entry is still the same. Both could be true of another page: while the
fault waited, the process had got a copy of its own to write to, the page had left its slot and been given another one,
and the copy had gone out to the slot that was free now. So the entry was the same, the page was in the swap cache, and
the fault mapped it: what had been written to the copy was lost.

Hugh Dickins closed this in 2010: the slot of the page is compared with that of the entry. Entries did not say then
whether the page is exclusive to them, which would make the two differ today; the patch takes that away too.
"""

from __future__ import annotations

from sugarbush.concurrency import READ_ONCE, Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.access import user_load
from sugarbush.vm.faults import swap_fault
from sugarbush.vm.frames import set_pte, swap_duplicate
from sugarbush.vm.objects import (
    MM_ANONPAGES,
    MM_SWAPENTS,
    Folio,
    MmStruct,
    PageTable,
    Present,
    Swap,
    SwapSlot,
)
from sugarbush.vm.reclaim import kswapd, unmap
from sugarbush.vm.spaces import add_mm_counter


@patch(swap_fault.is_page_of)
def is_page_of(folio: Folio, _slot: SwapSlot) -> bool:
    """The page is in the swap cache, of whatever slot."""
    return READ_ONCE(folio, "swap") is not None


@patch(unmap.leave_swap_entry)
def leave_swap_entry(folio: Folio, mm: MmStruct, table: PageTable, address: int, _pte: Present) -> None:
    """The entry names the slot and nothing else."""
    slot = folio.swap
    assert slot is not None
    swap_duplicate(slot)
    folio.anon_exclusive = False
    add_mm_counter(mm, MM_ANONPAGES, -1)
    add_mm_counter(mm, MM_SWAPENTS, 1)
    set_pte(table, address, Swap(slot.number))


def use(parent: Process, child: Process) -> None:
    """The parent stores to the page, the child looks at it, and memory is short again."""
    parent.store(page(0), "new")
    child.load(page(0))
    kswapd(parent.mm.memory, 2)


@bug(
    "swap-in-other-slot",
    id="Z30",
    title="a page is swapped in that has another slot by now",
    year=2010,
    versions="up to 2.6.35",
    fix="31c4a3d3a0f8: mm: further fix swapin race condition",
    evidence="read",
    kind=Kind.CORRUPTION,
    check="private-data",
    patches=(is_page_of, leave_swap_entry),
    tasks=4,
    preemptions=1,
)
def swap_in_other_slot() -> None:
    """A thread reads a page from swap while another one stores to it, and a child of fork reads it."""
    machine, parent = heap(2, slots=3)
    kswapd(machine.memory, 2)
    child = parent.fork(machine, "as")
    assert child is not None
    join(spawn(user_load, parent.mm, page(0)), spawn(use, parent, child))
    parent.load(page(0))
    child.exit(machine)
    parent.exit(machine)
