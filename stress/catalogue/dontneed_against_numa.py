"""MADV_DONTNEED looks at the upper entry of a huge page without its lock, and passes over what is empty. NUMA balancing
takes the rights from entries under mmap_lock for reading, so that the next access faults and says from which node a
page is used. For that it used to empty the entry of a huge page for a moment: read and clear it, change the bits, write
it back, all under the lock. A MADV_DONTNEED that looked in that moment did nothing, and the memory that the process had
given up was still there afterwards.

The rule since then: an entry that is present never looks empty to those who hold mmap_lock for reading; it is made
invalid in place. The same mistake was found in several places that year (`dontneed-against-soft-dirty`).
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.pages import HEAP, heap, page
from sugarbush.vm.frames import MmuGather, pmdp_get, set_pmd, tlb_remove_tlb_entry
from sugarbush.vm.huge import huge_memory as huge
from sugarbush.vm.huge import is_leaf, pmdp_huge_get_and_clear
from sugarbush.vm.objects import PTE_RIGHTS, PTE_WRITE, Migration, Present, VmArea
from sugarbush.vm.reclaim import task_numa_work


@patch(huge.change_huge_pmd)
def change_huge_pmd(tlb: MmuGather, vma: VmArea, address: int, *, numa: bool = False) -> bool:
    """Take the huge entry out, change its rights, and put it back."""
    mm = vma.vm_mm
    rights = 0 if numa else vma.vm_page_prot
    with mm.page_table_lock:
        pmd = pmdp_get(mm, address)
        if isinstance(pmd, Present) and not (numa and pmd.protnone):
            pmd = pmdp_huge_get_and_clear(mm, address)
            assert isinstance(pmd, Present)
            set_pmd(mm, address, pmd.lacking(PTE_RIGHTS & ~rights).having(rights))
            tlb_remove_tlb_entry(tlb, address, address + mm.pmd_size)
        elif isinstance(pmd, Migration) and pmd.write:
            set_pmd(mm, address, Migration(pmd.pfn, pmd.generation, pmd.bits & ~PTE_WRITE))
        return is_leaf(pmd)


def drop(process: Process) -> None:
    """Give the pages up, and look."""
    process.dontneed(HEAP, 2)
    process.load(page(0))


@bug(
    "dontneed-against-numa",
    id="Z09",
    title="MADV_DONTNEED passes over a huge page whose entry NUMA balancing is changing",
    year=2017,
    versions="before 4.11",
    fix="ced108037c2a: thp: fix MADV_DONTNEED vs. numa balancing race",
    evidence="read",
    kind=Kind.CORRUPTION,
    check="private-data",
    patches=(change_huge_pmd,),
    tasks=2,
    preemptions=1,
)
def dontneed_against_numa() -> None:
    """Give a huge page up while NUMA balancing makes its next access fault."""
    machine, process = heap(2, huge=True)
    join(spawn(drop, process, name="cc1"), spawn(task_numa_work, process.mm, name="cc1-2"))
    process.exit(machine)
