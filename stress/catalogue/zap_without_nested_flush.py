"""Two threads give up the same page at once, both with mmap_lock for reading. One empties the entry and has yet to
flush. The other finds the entry empty, so it has nothing to flush, and returns. Its caller believes that the memory is
gone; but until the first one flushes, every CPU can go on using it.

The fix lets each unmap announce itself before its first change. Whoever ends an unmap and sees that another one is
under way flushes everything, whatever it has found itself.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.frames import MmuGather, dec_tlb_flush_pending, tlb, tlb_flush_mmu


@patch(tlb.tlb_finish_mmu)
def tlb_finish_mmu(gather: MmuGather) -> None:
    """Flush what this unmap has changed, and free what it has gathered."""
    tlb_flush_mmu(gather)
    dec_tlb_flush_pending(gather.mm)


@bug(
    "zap-without-nested-flush",
    id="Z32",
    title="MADV_DONTNEED returns while another one has yet to flush",
    year=2017,
    versions="before 4.13",
    fix="99baac21e458: mm: fix MADV_[FREE|DONTNEED] TLB flush miss problem",
    evidence="as far as we know",
    kind=Kind.CORRUPTION,
    check="private-data",
    patches=(tlb_finish_mmu,),
    tasks=2,
    preemptions=1,
)
def zap_without_nested_flush() -> None:
    """Two threads give up one page."""
    machine, process = heap(1)
    one = spawn(process.dontneed, page(0), 1, name="one")
    join(spawn(process.dontneed, page(0), 1, name="two"))
    process.load(page(0))
    join(one)
    process.exit(machine)
