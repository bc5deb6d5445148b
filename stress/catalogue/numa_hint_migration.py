"""NUMA balancing takes the rights from the entry of a huge page, so that the next access says from which node the page
is used. Two threads meet such an entry. The first locks the page, finds that it is where it should be, unlocks it, and
is about to give the entry its rights back. The second runs on another node: it locks the page, moves it there, and
lets the entry name the new frames. Then the first writes the entry that it had read, with the rights set: the process
uses frames that were freed.

The fix kept the page locked until the entry is written. Its message tells this as a suspicion, after one crash in hours
of testing. The code before it compared and wrote the entry under one hold of page_table_lock, which the story leaves
out, and so does the patch. What the fix brought with it is a place that has this very order: `numa-hint-writeback`.
Today an entry gets its rights back only if it is still the same, under its lock.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn, trace
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.access import handle_user_fault
from sugarbush.vm.frames import folio_put, pmdp_get, set_pmd
from sugarbush.vm.objects import PTE_YOUNG, MmStruct, Present, VmArea, folio_get
from sugarbush.vm.reclaim import (
    migrate_misplaced_page,
    mpol_misplaced,
    numa,
    sched_setaffinity,
    task_numa_work,
)


@patch(numa.do_huge_pmd_numa_page)
def do_huge_pmd_numa_page(vma: VmArea, address: int, pmd: Present) -> int:
    """Decide under the page lock, and then let the entry of before be used, whatever stands there by now."""
    mm = vma.vm_mm
    start = address & -mm.pmd_size
    with mm.page_table_lock:
        if pmdp_get(mm, start) != pmd:
            return 0
        folio = mm.memory.mem_map[pmd.pfn]
        folio_get(folio)
    folio.lock.lock()
    target = mpol_misplaced(mm.memory, folio)
    folio.lock.unlock()
    if target is None:
        folio_put(mm.memory, folio)
    elif migrate_misplaced_page(mm.memory, folio, target):
        return 0
    with mm.page_table_lock:
        set_pmd(mm, start, pmd.having(vma.vm_page_prot | PTE_YOUNG))
        trace("numa_restore", mm=mm.name, addr=hex(start), page=folio.name)
    return 0


def fault(mm: MmStruct) -> None:
    """Fault the huge page in from node 0, as futex(2) does for a page; kernel: fixup_user_fault()."""
    sched_setaffinity(mm.memory, 0)
    handle_user_fault(mm, page(0))


def use(process: Process) -> None:
    """Read the huge page from node 1."""
    sched_setaffinity(process.mm.memory, 1)
    process.load(page(1))


@bug(
    "numa-hint-migration",
    id="Z50",
    title="a NUMA hinting fault writes back the entry of a huge page that was moved meanwhile",
    year=2013,
    versions="before 3.12",
    fix="3f926ab945b6: hold the page lock until the entry is written",
    evidence="read",
    kind=Kind.INVARIANT,
    check="tlb",
    patches=(do_huge_pmd_numa_page,),
    tasks=2,
    preemptions=1,
)
def numa_hint_migration() -> None:
    """Two threads use a huge page whose entry is a hint, each from another node."""
    machine, process = heap(2, huge=True, nodes=2)
    task_numa_work(process.mm)
    join(
        spawn(fault, process.mm, name="cc1"),
        spawn(use, process, name="cc1-2"),
    )
    process.load(page(1))
    process.load(page(0))
    process.exit(machine)
