"""NUMA balancing: pages move to the nodes from which they are used. Kernel: v6.1, files as named below.

Now and then a process makes its own entries present but of no use (`pte_protnone`), so that the next access faults: the
fault says which node the page is used from. If the page is on another one it is moved there, else, and if that fails,
the entry gets its rights back. An entry like that means a hint only where the VMA permits anything.

A task is on any node at any time, as the schedule chooses, unless it is bound to one. Simpler here: the first fault
from another node moves the page, and an ordinary allocation takes a frame of any node. All of an address space is made
to fault at once. A page that was writable becomes so again by the next write fault, as after mprotect.
"""

from __future__ import annotations

from sugarbush.concurrency import current_task, trace
from sugarbush.concurrency.lowlevel import active
from sugarbush.lockdep.model import GFP_HIGHUSER_MOVABLE, GFP_RECLAIM
from sugarbush.vm.files import is_vm_hugetlb_page
from sugarbush.vm.frames import (
    alloc_folio,
    alloc_huge,
    folio_put,
    isolate_lru_page,
    page_to_nid,
    pmdp_get,
    ptep_change,
    ptep_get,
    putback_lru_page,
    tlb_finish_mmu,
    tlb_gather_mmu,
    vm_normal_page,
)
from sugarbush.vm.huge import change_pmd_bits
from sugarbush.vm.objects import (
    PTE_YOUNG,
    VM_IO,
    Folio,
    Memory,
    MmStruct,
    PageTable,
    Present,
    VmArea,
    folio_get,
    total_mapcount,
)
from sugarbush.vm.reclaim.huge_migrate import migrate_locked_huge_folio
from sugarbush.vm.reclaim.migrate import migrate_locked_folio
from sugarbush.vm.spaces import mmap_read_unlock, vma_is_accessible
from sugarbush.vm.vmas import change_protection

# -- giving hints -----------------------------------------------------------------------------------------------


def task_numa_work(mm: MmStruct) -> bool:
    """Let the next access to each page of the calling task's address space fault; False if somebody has mmap_lock.

    Kernel: kernel/sched/fair.c. mmap_lock is only tried, for reading, so faults go on beside it. Huge pages of files
    are passed over.
    """
    # On the way back to user space: nobody waits there for balancing.
    if not mm.mmap_lock.down_read_trylock():
        return False
    if not mm.ended:
        walk = mm.mm_mt.cursor()
        while (vma := walk.find()) is not None:
            if vma_is_accessible(vma) and not vma.vm_flags & VM_IO and not is_vm_hugetlb_page(vma):
                change_prot_numa(vma, vma.vm_start, vma.vm_end)
    mmap_read_unlock(mm)
    return True


def change_prot_numa(vma: VmArea, start: int, end: int) -> None:
    """Let accesses to ``[start, end)`` of `vma` fault; needs mmap_lock for reading. Kernel: mm/mempolicy.c."""
    tlb = tlb_gather_mmu(vma.vm_mm)
    change_protection(tlb, vma, start, end, numa=True)
    tlb_finish_mmu(tlb)
    trace("change_prot_numa", mm=vma.vm_mm.name, start=hex(start), end=hex(end))


# -- taking them ------------------------------------------------------------------------------------------------


def sched_setaffinity(memory: Memory, nid: int) -> None:
    """Keep the calling task on the CPUs of one node from here on. Kernel: kernel/sched/core.c."""
    assert 0 <= nid < memory.nodes, f"there is no node {nid}: boot(..., nodes=N) has said how many there are"
    memory.affinity[current_task()] = nid


def numa_node_id(memory: Memory) -> int:
    """The node of the CPU that the calling task is on at this moment: its own, or else a choice of the schedule."""
    rt = active.runtime
    if rt is None:
        return 0
    bound = memory.affinity.get(rt.current)
    return rt.choose(memory.nodes, "the node of the CPU") if bound is None else bound


def mpol_misplaced(memory: Memory, folio: Folio) -> int | None:
    """The node that the page should be on, or None if it is there. Kernel: mm/mempolicy.c, with MPOL_F_MORON."""
    # v6.1 moves a page at the second fault from one node. At the first is sooner, and so finds no less.
    nid = numa_node_id(memory)
    return None if nid == page_to_nid(memory, folio) else nid


def numa_migrate_prep(memory: Memory, folio: Folio) -> int | None:
    """`mpol_misplaced`, and a reference if the page should move; needs the lock of its entry. Kernel: mm/memory.c."""
    target = mpol_misplaced(memory, folio)
    if target is not None:
        # Under the lock of the entry, which keeps the page until then.
        folio_get(folio)
    return target


def do_numa_page(vma: VmArea, table: PageTable, address: int, pte: Present) -> int:
    """An access met the hint `pte`, which was read without its lock: move the page, or let it be used. 0.

    Kernel: mm/memory.c. A page of a large folio stays. If the page could not be moved, the entry is looked at again:
    whoever made it fail may have moved the page, or taken it away.
    """
    memory = vma.vm_mm.memory
    with table.ptl:
        if ptep_get(table, address) != pte:
            return 0
        folio = vm_normal_page(memory, pte)
        target = None if folio is None or folio.head.order else numa_migrate_prep(memory, folio)
        if folio is None or target is None:
            _restore_pte(vma, table, address, folio)
            return 0
    if not migrate_misplaced_page(memory, folio, target):
        with table.ptl:
            # Not written back from what was read before: the page may have been moved since, by the same
            # fault of another thread (numa-hint-migration, Z50, is that for huge pages).
            if ptep_get(table, address) == pte:
                _restore_pte(vma, table, address, folio)
    return 0


def _restore_pte(vma: VmArea, table: PageTable, address: int, folio: Folio | None) -> None:
    """Give the entry its rights back; needs the lock of its table."""
    ptep_change(table, address, gained=vma.vm_page_prot | PTE_YOUNG)
    name = "the zero page" if folio is None else folio.name
    trace("numa_restore", mm=vma.vm_mm.name, addr=hex(address), page=name)


def do_huge_pmd_numa_page(vma: VmArea, address: int, pmd: Present) -> int:
    """As `do_numa_page`, for the huge page whose entry `pmd` was read without its lock. Kernel: mm/huge_memory.c."""
    mm = vma.vm_mm
    start = address & -mm.pmd_size
    with mm.page_table_lock:
        # Under the lock, before anything is done with the page; and again below, when it could not be moved.
        # To write the old entry back unasked maps a page that has moved (numa-hint-migration, Z50), or was
        # given up (numa-hint-writeback, Z50w).
        if pmdp_get(mm, start) != pmd:
            return 0
        folio = mm.memory.mem_map[pmd.pfn]
        target = numa_migrate_prep(mm.memory, folio)
        if target is None:
            _restore_pmd(vma, start, folio)
            return 0
    if not migrate_misplaced_page(mm.memory, folio, target):
        with mm.page_table_lock:
            if pmdp_get(mm, start) == pmd:
                _restore_pmd(vma, start, folio)
    return 0


def _restore_pmd(vma: VmArea, start: int, folio: Folio) -> None:
    """Give the huge entry its rights back; needs `page_table_lock`."""
    change_pmd_bits(vma.vm_mm, start, gained=vma.vm_page_prot | PTE_YOUNG)
    trace("numa_restore", mm=vma.vm_mm.name, addr=hex(start), page=folio.name)


# -- moving -----------------------------------------------------------------------------------------------------


def migrate_misplaced_page(memory: Memory, folio: Folio, nid: int) -> bool:
    """Move a page, of which the caller gives up a reference, to node `nid`; False if that fails, and nothing changed.

    Nothing is waited for: not for memory, and not for the folio lock. Kernel: mm/migrate.c, MIGRATE_ASYNC.
    """
    isolated = numamigrate_isolate_page(memory, folio)
    # The fault's reference goes before the move, or the count would not be what the move expects; the
    # isolation has one.
    folio_put(memory, folio)
    if not isolated:
        return False
    huge = bool(folio.order)
    target = (alloc_huge if huge else alloc_folio)(memory, GFP_HIGHUSER_MOVABLE & ~GFP_RECLAIM, nid)
    moved = False
    if target is not None:
        if folio.lock.trylock():
            moved = (migrate_locked_huge_folio if huge else migrate_locked_folio)(folio, target) == 0
            folio.lock.unlock()
        folio_put(memory, target)
    if moved:
        trace("numa_migrate", page=folio.name, node=nid)
        folio_put(memory, folio)
    else:
        putback_lru_page(memory, folio)
    return moved


def numamigrate_isolate_page(memory: Memory, folio: Folio) -> bool:
    """Take the page off the LRU; a huge page that several processes map stays where it is."""
    shared = bool(folio.order) and total_mapcount(folio) > 1
    return not shared and isolate_lru_page(memory, folio)
