"""To move a range of a process into the memory of a device, the kernel turns its entries into migration entries under
the page-table lock, and flushed when that lock was dropped. A MADV_DONTNEED in between found migration entries, which
no CPU can use, so it emptied them without a flush and returned. A thread with the old translation still read what had
been given up, or wrote to it.

The fix flushes before the lock is dropped.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.frames import flush_tlb_range
from sugarbush.vm.objects import PAGE_SIZE, Folio, MmStruct, PageTable, VmArea
from sugarbush.vm.reclaim import collect_entries, migrate_device, migrate_vma_finalize, migrate_vma_setup
from sugarbush.vm.spaces import mmap_read_lock, mmap_read_unlock, vma_lookup


@patch(migrate_device.migrate_vma_collect_pmd)
def migrate_vma_collect_pmd(vma: VmArea, table: PageTable, start: int, end: int, pages: list[Folio]) -> None:
    """Collect the pages of one page-table page, and flush after the lock."""
    with table.ptl:
        unmapped = collect_entries(vma, table, start, end, pages)
    if unmapped:
        flush_tlb_range(vma.vm_mm, start, end)


def migrate_range(mm: MmStruct) -> None:
    """A driver that collects a page, and gives it back."""
    mmap_read_lock(mm)
    vma = vma_lookup(mm, page(0))
    if vma is not None:
        migrate_vma_finalize(vma, migrate_vma_setup(vma, page(0), page(0) + PAGE_SIZE))
    mmap_read_unlock(mm)


@bug(
    "migrate-vma-flush",
    id="Z34",
    title="migrate_vma flushes after its lock: memory that was given up is still read",
    year=2022,
    versions="before 6.1",
    fix="60bae7370896: mm/migrate_device.c: flush TLB while holding PTL",
    evidence="read",
    kind=Kind.CORRUPTION,
    check="private-data",
    patches=(migrate_vma_collect_pmd,),
    tasks=3,
    preemptions=1,
)
def migrate_vma_flush() -> None:
    """Give a page up while a driver collects it."""
    machine, process = heap(1)
    driver = spawn(migrate_range, process.mm, name="driver")
    join(spawn(process.dontneed, page(0), 1, name="cc1"))
    process.load(page(0))
    join(driver)
    process.exit(machine)
