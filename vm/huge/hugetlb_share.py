"""Page-table pages that address spaces share. Kernel: huge_pmd_share() and huge_pmd_unshare() in mm/hugetlb.c, v6.1.

Shared mappings that cover all that one page-table page maps, and show the same pages of the file there with the same
rights, use one page-table page together. Whoever is about to change entries of it, or to cut such a mapping, leaves it
first; what it had there comes back by faults. So an entry of a shared table counts once in the mapcount of its page.
In the kernel a huge page of 2 MiB is an entry of a PMD page, and that PMD page is shared; here a huge page is an entry
of the lower level, as large as any page of the model, and `pmd_size` bytes is what a shared table maps.

Which tables are shared is settled under i_mmap_rwsem of the file: a task that joins holds it for reading, one
that leaves for writing. A fault keeps the table that it has found by the lock of the VMA; a task that leaves
without mmap_lock for writing must hold that for writing. The number of address spaces that share a table is apart
from its references, as since v6.14. A table is left with an interrupt to all CPUs that walk page tables without
locks, as since v6.16.
"""

from __future__ import annotations

from typing import Any

from sugarbush.concurrency import trace
from sugarbush.concurrency.lowlevel import Access, Operation, perform, step
from sugarbush.vm.files import hstate_file, i_mmap_lock_read, i_mmap_unlock_read, vma_interval_tree_foreach
from sugarbush.vm.frames import (
    addresses,
    flush_tlb_range,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
    pmdp_get,
    pte_alloc,
    pte_index,
    pte_offset_map,
    set_pmd,
    tlb_remove_table_sync_one,
)
from sugarbush.vm.objects import VM_LOCKED, VM_SHARED, PageTable, VmArea
from sugarbush.vm.spaces import linear_page_index, vma_address


def _add(table: PageTable, _task: Any, by: int) -> None:
    table.pt_share_count += by


PTS_ADD = Operation("ptdesc_pmd_pts_add", Access.ACQ_REL, field="share", effect=_add, local=True)
PTS_COUNT = Operation("ptdesc_pmd_pts_count", Access.READ_ONCE, field="share", local=True)


def ptdesc_pmd_pts_count(table: PageTable) -> int:
    """How many use `table` besides the first; only i_mmap_rwsem for writing keeps that."""
    step(PTS_COUNT, table)
    return table.pt_share_count


def want_pmd_share(vma: VmArea, address: int) -> bool:
    """`vma` is shared, and covers all that the page-table page of `address` maps. Needs mmap_lock or i_mmap_rwsem."""
    size = vma.vm_mm.pmd_size
    start = address & -size
    # All of it, or a part would be in a VMA that says something else (hugetlb-split-shared, Z64).
    return bool(vma.vm_flags & VM_SHARED) and vma.vm_start <= start and start + size <= vma.vm_end


def page_table_shareable(other: VmArea, vma: VmArea, address: int, pgoff: int) -> int | None:
    """Where `other` has page `pgoff` of the file, if its page-table page would also serve `vma` at `address`.

    Needs i_mmap_rwsem.
    """
    there = vma_address(other, pgoff)
    # A VMA without its lock is on its way out: its tables are about to be freed.
    if there is None or other.vm_private_data is None or (other.vm_flags ^ vma.vm_flags) & ~VM_LOCKED:
        return None
    alike = pte_index(other.vm_mm, there) == pte_index(vma.vm_mm, address)
    return there if alike and want_pmd_share(other, there) else None


def huge_pmd_share(vma: VmArea, address: int) -> PageTable | None:
    """The page-table page of `address`: that of another mapping if one fits, else a new one; None without memory.

    Takes i_mmap_rwsem for reading, so that nobody leaves meanwhile.
    """
    mm, mapping = vma.vm_mm, hstate_file(vma)
    pgoff = linear_page_index(vma, address)
    i_mmap_lock_read(mapping)
    for other in vma_interval_tree_foreach(mapping, pgoff, pgoff):
        there = None if other is vma else page_table_shareable(other, vma, address, pgoff)
        shared = None if there is None else pte_offset_map(other.vm_mm, there)
        if shared is not None:
            # Another fault of this process may have been faster: then its table is as good.
            with mm.page_table_lock:
                if pmdp_get(mm, address) is None:
                    # Counted before it is in the second address space: nobody finds it in two and takes it
                    # for his own.
                    perform(PTS_ADD, shared, 1)
                    set_pmd(mm, address, shared)
                    trace("huge_pmd_share", mm=mm.name, addr=hex(address), other=other.vm_mm.name)
            break
    # Still under the lock, though a table of one's own needs none: another process that comes next must find
    # it, or the two would not share.
    table = pte_alloc(mm, address)
    i_mmap_unlock_read(mapping)
    return table


def huge_pmd_unshare(vma: VmArea, address: int) -> bool:
    """Leave the page-table page of `address` to the others who use it; False if there are none.

    Needs i_mmap_rwsem for writing, and a flush before that is given back: afterwards the others may free the page.
    """
    hstate_file(vma).i_mmap_rwsem.assert_held_write()
    mm = vma.vm_mm
    with mm.page_table_lock:
        table = pmdp_get(mm, address)
        if not isinstance(table, PageTable) or not ptdesc_pmd_pts_count(table):
            return False
        # In this order: out of this address space; no walk without locks is in it any more; then the others
        # may think that it is theirs alone. Without the wait, a walk of ours goes on in a table whose last
        # owner maps something private there (hugetlb-unshare-gup, Z62).
        set_pmd(mm, address, None)
        tlb_remove_table_sync_one(mm.memory)
        perform(PTS_ADD, table, -1)
    trace("huge_pmd_unshare", mm=mm.name, addr=hex(address))
    return True


def hugetlb_unshare_pmds(vma: VmArea, start: int, end: int) -> None:
    """Leave all shared page-table pages of ``[start, end)``; needs i_mmap_rwsem for writing."""
    mmu_notifier_invalidate_range_start(vma.vm_mm, start, end)
    for low, _ in addresses(vma.vm_mm, start, end):
        huge_pmd_unshare(vma, low)
    flush_tlb_range(vma.vm_mm, start, end)
    mmu_notifier_invalidate_range_end(vma.vm_mm, start, end)


def hugetlb_split(vma: VmArea, address: int) -> None:
    """`vma` is about to be cut at `address`: no page-table page that lies across it may be shared any more.

    Needs mmap_lock and i_mmap_rwsem for writing, so that nobody shares it again before the VMA is cut. Kernel: v6.16.
    """
    size = vma.vm_mm.pmd_size
    start = address & -size
    # With the rmap locks held, in the middle of the cut, and not before it: else a fault of another process
    # shares the table anew before the VMA is cut (hugetlb-unshare-early, Z45).
    if address != start and want_pmd_share(vma, address):
        hugetlb_unshare_pmds(vma, start, start + size)
