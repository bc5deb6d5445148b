"""Reclaim clears entries and puts the flushes off. Whoever goes by a cleared entry makes up for them: a flag of the
address space says that there are any. It was cleared after the flush. But reclaim sets it under the lock of the
page-table page that it works on, and the flush was made under that of another. So reclaim could clear one more entry,
and set the flag, after the flush and before the flag was cleared: and for that entry nobody made up any more. Memory
that was given up was still read, and stored to, through the old translation.

The fix counts: how many flushes were put off, and how many of them were made up for.
"""

from __future__ import annotations

from concurrency import READ_ONCE, WRITE_ONCE, Kind, join, spawn
from stress.bug import bug
from stress.patch import patch
from stress.workloads.pages import heap, page
from vm import tlb
from vm.folio import Folio, Memory
from vm.lru import isolate_lru_page
from vm.mm import MmStruct
from vm.tlb import flush_tlb_mm
from vm.vmscan import kswapd, shrink_folio_list


@patch(tlb.flush_tlb_batched_pending)
def flush_tlb_batched_pending(mm: MmStruct) -> None:
    """Flush, and then forget what was put off, also since."""
    if READ_ONCE(mm, "tlb_flush_batched"):
        flush_tlb_mm(mm)
        WRITE_ONCE(mm, "tlb_flush_batched", 0)


def shrink_one(memory: Memory, folio: Folio) -> None:
    """Reclaim one page."""
    if isolate_lru_page(memory, folio):
        shrink_folio_list(memory, [folio])


@bug(
    "batched-flush-lost",
    id="Z75",
    title="a flush that reclaim has put off is forgotten by whoever makes up for another one",
    year=2022,
    versions="4.15 to 5.16",
    fix="5ee2fa2f0636: mm/rmap: fix potential batched TLB flush race",
    evidence="as far as we know",
    kind=Kind.CORRUPTION,
    check="private-data",
    patches=(flush_tlb_batched_pending,),
    tasks=3,
)
def batched_flush_lost() -> None:
    """Give pages of two page-table pages up while both are being reclaimed, and read one of them."""
    machine, process = heap(3, frames=4, slots=4)
    memory = machine.memory
    kswapd(memory, 1)
    folio = memory.mem_map[2]
    other = spawn(process.dontneed, page(0), 1, name="other")
    reclaim = spawn(shrink_one, memory, folio, name="kswapd")
    process.dontneed(page(2), 1)
    process.load(page(2))
    join(other, reclaim)
    process.exit(machine)
