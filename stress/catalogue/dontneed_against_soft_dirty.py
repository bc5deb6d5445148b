"""MADV_DONTNEED looks at the upper entry of a huge page without its lock, and passes over what is empty. Calls that
change a huge page's entry under mmap_lock for reading used to empty it for a moment: read and clear it, change the
bits, write it back, all under the lock. A MADV_DONTNEED that looked in that moment did nothing, and the memory that
the process had given up was still there afterwards.

The same mistake was found in several places in 2017: in the protection change of NUMA balancing
(`dontneed-against-numa`), in MADV_FREE, in page_mkclean() and, as here, where soft-dirty bits are cleared. The rule
since then: an entry that is present never looks empty to those who hold mmap_lock for reading; it is made invalid in
place.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn, trace
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.pages import HEAP, heap, page
from sugarbush.vm.frames import flush_tlb_range, pmdp_get, set_pmd
from sugarbush.vm.huge import huge_memory as huge
from sugarbush.vm.huge import pmdp_huge_get_and_clear
from sugarbush.vm.objects import PTE_SOFT_DIRTY, PTE_WRITE, MmStruct, Present, VmArea
from sugarbush.vm.spaces import mmap_read_lock, mmap_read_unlock, vma_lookup


@patch(huge.clear_soft_dirty_pmd)
def clear_soft_dirty_pmd(vma: VmArea, address: int) -> None:
    """Take the huge entry out, clear the bits, and put it back."""
    mm = vma.vm_mm
    with mm.page_table_lock:
        if isinstance(pmdp_get(mm, address), Present):
            pmd = pmdp_huge_get_and_clear(mm, address)
            assert isinstance(pmd, Present)
            set_pmd(mm, address, pmd.lacking(PTE_WRITE | PTE_SOFT_DIRTY))
            flush_tlb_range(mm, address, address + mm.pmd_size)
            trace("clear_soft_dirty", mm=mm.name, addr=hex(address))


def clear_refs(mm: MmStruct) -> None:
    """Write to /proc/PID/clear_refs; kernel: clear_refs_write() in fs/proc/task_mmu.c."""
    mmap_read_lock(mm)
    vma = vma_lookup(mm, HEAP)
    if vma is not None:
        huge.clear_soft_dirty_pmd(vma, HEAP)
    mmap_read_unlock(mm)


def drop(process: Process) -> None:
    """Give the pages up, and look."""
    process.dontneed(HEAP, 2)
    process.load(page(0))


@bug(
    "dontneed-against-soft-dirty",
    id="Z09s",
    title="MADV_DONTNEED passes over a huge page whose entry is being changed",
    year=2017,
    versions="before 4.11",
    fix="5b7abeae3af8: thp: fix MADV_DONTNEED vs clear soft dirty race",
    evidence="read",
    kind=Kind.CORRUPTION,
    check="private-data",
    patches=(clear_soft_dirty_pmd,),
    tasks=2,
    preemptions=1,
)
def dontneed_against_soft_dirty() -> None:
    """Give a huge page up while its soft-dirty bit is being cleared."""
    machine, process = heap(2, huge=True)
    join(spawn(drop, process, name="cc1"), spawn(clear_refs, process.mm, name="clear_refs"))
    process.exit(machine)
