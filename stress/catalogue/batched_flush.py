"""Reclaim takes pages from many processes at a time, so it puts the flushes off: entries are cleared under the
page-table lock, and one flush at the end serves all of them. An mprotect that came in between found the entry empty.
There was nothing to protect and nothing to flush, so it returned; and a thread that still had the old, writable
translation went on storing to memory that was read-only by then. Found by Nadav Amit in 2017.

The fix leaves a mark in the address space when a flush is put off. mprotect, munmap, mremap and their like look at it
under the page-table lock, and make up for the flush before they go by what the entry says.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.frames import tlb
from sugarbush.vm.objects import PAGE_SIZE, MmStruct
from sugarbush.vm.reclaim import kswapd
from sugarbush.vm.syscalls import PROT_READ, sys_mprotect


@patch(tlb.flush_tlb_batched_pending)
def flush_tlb_batched_pending(_mm: MmStruct) -> None:
    """Nobody makes up for the flushes of reclaim."""


@bug(
    "batched-flush",
    id="Z33",
    title="mprotect goes by an entry whose flush reclaim has put off",
    year=2017,
    versions="4.3 to 4.12",
    fix="3ea277194daa: mm, mprotect: flush TLB if potentially racing with a parallel reclaim",
    evidence="read",
    kind=Kind.INVARIANT,
    check="rights",
    patches=(flush_tlb_batched_pending,),
    tasks=3,
    preemptions=1,
)
def batched_flush() -> None:
    """Make a page read-only while it is being swapped out."""
    machine, process = heap(1, slots=1)
    join(
        spawn(kswapd, machine.memory, 1, name="kswapd"),
        spawn(sys_mprotect, process.mm, page(0), PAGE_SIZE, PROT_READ, name="cc1"),
    )
    process.load(page(0))
    process.exit(machine)
