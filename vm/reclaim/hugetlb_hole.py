"""Holes in files in hugetlbfs, and their ends. Kernel: fs/hugetlbfs/inode.c, v6.1.

Pages are taken away under their fault mutex, so that no fault brings one back while it goes: it is unmapped
once more there, if a fault was faster (188a39725ad7, v6.1). Unlike with other files, private copies of what
goes are taken away as well. What was promised to the file for a page that is gone is promised no more.
"""

from __future__ import annotations

from sugarbush.concurrency import trace
from sugarbush.vm.files import (
    HugetlbFile,
    hugetlb_vma_lock,
    i_mmap_lock_write,
    i_mmap_unlock_write,
    invalidate_mapping_page,
    vma_interval_tree_foreach,
)
from sugarbush.vm.frames import (
    folio_put,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
    tlb_finish_mmu,
    tlb_gather_mmu,
)
from sugarbush.vm.huge import find_lock_page, hugetlb_unreserve_pages, unmap_hugepage_range
from sugarbush.vm.objects import EINVAL, PAGE_SHIFT, Memory, VmArea, folio_mapped


def hugetlb_vmtruncate(memory: Memory, mapping: HugetlbFile, size: int) -> int:
    """truncate(2): let the file be `size` pages long. 0 or -EINVAL. Takes i_rwsem.

    The size goes first, so that no fault makes a page behind it from here on.
    """
    if size < 0:
        return EINVAL
    mapping.i_rwsem.down_write()
    mapping.i_size = size
    # Mappings, pages, promises, in this order: a page that is still mapped is not taken out, and one that is
    # still there keeps its promise.
    hugetlb_vmdelete_list(mapping, size, None)
    freed = remove_inode_hugepages(memory, mapping, size, None)
    hugetlb_unreserve_pages(mapping, size, None, freed)
    mapping.i_rwsem.up_write()
    trace("truncate", file=mapping.name, size=size)
    return 0


def hugetlbfs_punch_hole(memory: Memory, mapping: HugetlbFile, first: int, last: int) -> None:
    """fallocate(2) with FALLOC_FL_PUNCH_HOLE: take the pages `first` to `last` out of the file. Takes i_rwsem."""
    mapping.i_rwsem.down_write()
    hugetlb_vmdelete_list(mapping, first, last + 1)
    remove_inode_hugepages(memory, mapping, first, last + 1)
    mapping.i_rwsem.up_write()
    trace("punch_hole", file=mapping.name, first=first, last=last)


def hugetlb_vmdelete_list(mapping: HugetlbFile, first: int, end: int | None) -> None:
    """Unmap the pages wherever they are mapped; takes i_mmap_rwsem for writing.

    The lock of a VMA stands outside of that, so it is only tried; what is left that way goes with its page.
    """
    i_mmap_lock_write(mapping)
    for vma in vma_interval_tree_foreach(mapping, first, end - 1 if end is not None else _LAST):
        lock = hugetlb_vma_lock(vma)
        # Not to be waited for here: a fault that has it wants i_mmap_rwsem, to share a table.
        if lock is None or lock.down_write_trylock():
            _unmap(vma, first, end)
            if lock is not None:
                lock.up_write()
    i_mmap_unlock_write(mapping)


def remove_inode_hugepages(memory: Memory, mapping: HugetlbFile, first: int, end: int | None) -> int:
    """Take the pages out of the file, each under its fault mutex; gives how many there were. Needs i_rwsem."""
    freed = 0
    for index in sorted(index for index in mapping.pages if first <= index and (end is None or index < end)):
        mutex = mapping.fault_mutexes[index % len(mapping.fault_mutexes)]
        # One at a time, so that faults on other pages go on meanwhile.
        mutex.lock()
        freed += remove_inode_single_folio(memory, mapping, index, truncate=end is None)
        mutex.unlock()
    return freed


def remove_inode_single_folio(memory: Memory, mapping: HugetlbFile, index: int, *, truncate: bool) -> bool:
    """Take page `index` out of the file; needs its fault mutex. A hole ends its promise at once, which is used
    up.
    """
    folio = find_lock_page(memory, mapping, index)
    if folio is None:
        return False
    if folio_mapped(folio):
        # v6.1 unmaps before it locks the page. The fault mutex, which is held, keeps a fault from mapping it
        # once more.
        folio.lock.unlock()
        hugetlb_unmap_file_folio(mapping, index)
        folio.lock.lock()
    invalidate_mapping_page(memory, mapping, index)
    if not truncate:
        hugetlb_unreserve_pages(mapping, index, index + 1, 1)
    folio.lock.unlock()
    folio_put(memory, folio)
    return True


def hugetlb_unmap_file_folio(mapping: HugetlbFile, index: int) -> None:
    """Unmap page `index` once more: a fault has mapped it after it was unmapped. Needs its fault mutex, so no other
    does.
    """
    i_mmap_lock_write(mapping)
    for vma in vma_interval_tree_foreach(mapping, index, index):
        _unmap(vma, index, index + 1)
    i_mmap_unlock_write(mapping)


_LAST = (1 << 64) - 1


def _unmap(vma: VmArea, first: int, end: int | None) -> None:
    """Empty what `vma` maps of the pages from `first` to `end`; needs i_mmap_rwsem for writing."""
    start, pgoff, stop = vma.vm_start, vma.vm_pgoff, vma.vm_end
    low = start + (max(first - pgoff, 0) << PAGE_SHIFT)
    high = stop if end is None else min(start + ((end - pgoff) << PAGE_SHIFT), stop)
    if low >= high:
        return
    tlb = tlb_gather_mmu(vma.vm_mm)
    mmu_notifier_invalidate_range_start(tlb.mm, low, high)
    unmap_hugepage_range(tlb, vma, low, high)
    mmu_notifier_invalidate_range_end(tlb.mm, low, high)
    tlb_finish_mmu(tlb)
