"""khugepaged takes a page-table page away, copies its pages into a huge one, and maps that instead. Nobody may fault
there meanwhile: the upper entry is empty, and a fault would fill it. Up to v6.3 it was enough to hold mmap_lock for
writing. Since v6.4 a fault on anonymous memory holds only the lock of the VMA, so khugepaged must take that, too.

The series that made such faults adds it, so no release was without. Here it is missing: the fault finds the upper entry
empty, and maps a fresh page there, or a fresh huge one. khugepaged then finds it in its way.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.pages import HEAP, heap, page
from sugarbush.vm.frames import alloc_huge, folio_put, pmdp_get
from sugarbush.vm.huge import hugepage_vma_revalidate, khugepaged
from sugarbush.vm.objects import EAGAIN, ENOMEM, PAGE_SIZE, MmStruct, PageTable
from sugarbush.vm.spaces import mmap_read_lock, mmap_read_unlock, mmap_write_lock, mmap_write_unlock
from sugarbush.vm.syscalls import MADV_HUGEPAGE, sys_madvise


@patch(khugepaged.collapse_huge_page)
def collapse_huge_page(mm: MmStruct, start: int) -> int:
    """Replace the small pages at `start` by a huge one, under mmap_lock and no other lock of the VMA."""
    mmap_read_lock(mm)
    fits = hugepage_vma_revalidate(mm, start) is not None and isinstance(pmdp_get(mm, start), PageTable)
    mmap_read_unlock(mm)
    if not fits:
        return EAGAIN
    folio = alloc_huge(mm.memory)
    if folio is None:
        return ENOMEM
    mmap_write_lock(mm)
    vma = hugepage_vma_revalidate(mm, start)
    table = pmdp_get(mm, start)
    if vma is None or not isinstance(table, PageTable):
        result = EAGAIN
    else:
        result = khugepaged._collapse(vma, start, table, folio)
    mmap_write_unlock(mm)
    if result:
        folio_put(mm.memory, folio)
    return result


@bug(
    "khugepaged-vma-lock",
    id="Z71",
    title="a fault under the lock of its VMA fills the upper entry that khugepaged has emptied",
    year=2023,
    versions="none; the series that became v6.4",
    fix="55fd6fccad31: mm/khugepaged: write-lock VMA while collapsing a huge page",
    evidence="as far as we know",
    kind=Kind.BUG_ON,
    check="pmd-none",
    patches=(collapse_huge_page,),
    preemptions=1,
    tasks=2,
    era="6.6",
)
def khugepaged_vma_lock() -> None:
    """Collapse a heap while a thread stores to it."""
    machine, process = heap(2, frames=10, era="6.6")
    sys_madvise(process.mm, HEAP, 2 * PAGE_SIZE, MADV_HUGEPAGE)
    join(
        spawn(lambda: khugepaged.collapse_huge_page(process.mm, HEAP), name="khugepaged"),
        spawn(process.store, page(1), "late", name="cc1"),
    )
    for number in range(2):
        process.load(page(number))
    process.exit(machine)
