"""NUMA balancing takes the rights from the entry of a huge page, so that the next access says from which node the page
is used. If the page should move to that node and cannot, the entry gets its rights back. In 3.12 the function that
moves huge pages did that: it wrote the entry that the fault had read, without page_table_lock and without another look.
The page is locked meanwhile, so nobody else moves it; but to give it up takes no page lock. A MADV_DONTNEED on another
CPU empties the entry and frees the page, and then the old entry is back.

The order came with the fix of `numa-hint-migration`. The repair takes the lock and writes only if the entry is still
the same.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn, trace
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.pages import HEAP, heap, page
from sugarbush.vm.access import handle_user_fault
from sugarbush.vm.frames import pmdp_get, set_pmd
from sugarbush.vm.objects import PTE_YOUNG, MmStruct, Present, VmArea
from sugarbush.vm.reclaim import (
    migrate_misplaced_page,
    numa,
    numa_migrate_prep,
    sched_setaffinity,
    task_numa_work,
)


@patch(numa.do_huge_pmd_numa_page)
def do_huge_pmd_numa_page(vma: VmArea, address: int, pmd: Present) -> int:
    """If the page cannot be moved, let the entry of before be used, whatever stands there by now."""
    mm = vma.vm_mm
    start = address & -mm.pmd_size
    restored = pmd.having(vma.vm_page_prot | PTE_YOUNG)
    with mm.page_table_lock:
        if pmdp_get(mm, start) != pmd:
            return 0
        folio = mm.memory.mem_map[pmd.pfn]
        target = numa_migrate_prep(mm.memory, folio)
        if target is None:
            set_pmd(mm, start, restored)
            return 0
    if not migrate_misplaced_page(mm.memory, folio, target):
        with mm.page_table_lock:
            set_pmd(mm, start, restored)
            trace("numa_restore", mm=mm.name, addr=hex(start), page=folio.name)
    return 0


def fault(mm: MmStruct) -> None:
    """Fault the huge page in from node 1, where no frame is free, as futex(2) does; kernel: fixup_user_fault()."""
    sched_setaffinity(mm.memory, 1)
    handle_user_fault(mm, page(0))


@bug(
    "numa-hint-writeback",
    id="Z50w",
    title="a NUMA hinting fault that cannot move a huge page writes back its entry, which was emptied meanwhile",
    year=2013,
    versions="3.12",
    fix="2b4847e73004: mm: numa: serialise parallel get_user_page against THP migration",
    evidence="read",
    kind=Kind.INVARIANT,
    check="tlb",
    patches=(do_huge_pmd_numa_page,),
    tasks=2,
    preemptions=1,
)
def numa_hint_writeback() -> None:
    """Give a huge page up while a fault finds that it cannot be moved to the node of the access."""
    machine, process = heap(4, frames=4, huge=True, nodes=2)
    task_numa_work(process.mm)
    join(spawn(fault, process.mm, name="cc1"), spawn(process.dontneed, HEAP, 2, name="cc1-2"))
    process.load(page(0))
    process.exit(machine)
