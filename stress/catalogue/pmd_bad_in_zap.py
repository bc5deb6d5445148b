"""Walks that hold mmap_lock only for reading looked at an upper entry twice: once to see whether it maps a huge page,
and once, after that, to see whether it is empty or names a page-table page. With mmap_lock for reading a fault may put
a huge page there in between. The second look then found something that was not empty, and took it for a page-table
page: "bad pmd", and on some configurations a use of whatever lay there.

The fix reads the entry once and decides by what it read. As far as we know any unprivileged process could trigger it,
by MADV_DONTNEED beside a fault.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.pages import HEAP, heap
from sugarbush.vm.frames import MmuGather, addresses, pmd_page_table, pmdp_get
from sugarbush.vm.huge import is_leaf, split_huge_pmd, zap_huge_pmd
from sugarbush.vm.objects import PAGE_SIZE, VmArea
from sugarbush.vm.syscalls import MADV_HUGEPAGE, sys_madvise
from sugarbush.vm.vmas import ZapDetails, zap, zap_pte_range


@patch(zap.unmap_page_range)
def unmap_page_range(
    tlb: MmuGather, vma: VmArea, start: int, end: int, details: ZapDetails | None = None
) -> None:
    """Clear all entries of ``[start, end)``, looking at each upper entry twice."""
    for low, high in addresses(tlb.mm, start, end):
        if is_leaf(pmdp_get(tlb.mm, low)):
            if high - low != tlb.mm.pmd_size:
                split_huge_pmd(vma, low)
            elif zap_huge_pmd(tlb, low):
                continue
        pmd = pmdp_get(tlb.mm, low)
        if pmd is not None:
            zap_pte_range(tlb, vma, pmd_page_table(pmd), low, high, details)


def store(process: Process) -> None:
    """The first store to the huge page."""
    process.store(HEAP, "first")


@bug(
    "pmd-bad-in-zap",
    id="Z49",
    title="a huge page that is faulted in between two looks is taken for a page-table page",
    year=2012,
    versions="2.6.38 to 3.3",
    cve="CVE-2012-1179",
    fix="1a5a9906d4e8: mm: thp: fix pmd_bad() triggering in code paths holding mmap_sem read mode",
    evidence="as far as we know",
    kind=Kind.BUG_ON,
    check="bad-pmd",
    patches=(unmap_page_range,),
    tasks=2,
    preemptions=1,
)
def pmd_bad_in_zap() -> None:
    """Give up a range while its first page is faulted in."""
    machine, process = heap(0)
    process.brk(HEAP + 2 * PAGE_SIZE)
    sys_madvise(process.mm, HEAP, 2 * PAGE_SIZE, MADV_HUGEPAGE)
    join(
        spawn(process.dontneed, HEAP, 2, name="madvise"),
        spawn(store, process, name="cc1"),
    )
    process.exit(machine)
