"""Taking pages of a file away from all who map it. Kernel: mm/truncate.c and mm/memory.c, v6.1."""

from __future__ import annotations

from sugarbush.concurrency import trace
from sugarbush.tree import MAX
from sugarbush.vm.files import (
    HugetlbFile,
    filemap_get_folio,
    i_mmap_lock_read,
    i_mmap_unlock_read,
    invalidate_mapping_page,
    vma_interval_tree_foreach,
)
from sugarbush.vm.frames import folio_put
from sugarbush.vm.objects import PAGE_SHIFT, AddressSpace, Memory
from sugarbush.vm.reclaim.hugetlb_hole import hugetlb_vmtruncate
from sugarbush.vm.vmas import ZapDetails, zap_page_range


def unmap_mapping_pages(mapping: AddressSpace, first: int, last: int, *, even_cows: bool) -> None:
    """Clear every entry that maps one of the pages `first`..`last`, wherever a VMA of the file's tree maps it.

    With `even_cows` the private copies of such pages go, too: whoever has one then gets a signal, as behind the end of
    the file. Without, a process keeps what it wrote. A VMA that maps pages in an order of its own is emptied.

    Takes i_mmap_rwsem for reading; needs no mmap_lock: a VMA leaves the tree under that lock before its page tables go.
    """
    details = ZapDetails(even_cows=even_cows)
    i_mmap_lock_read(mapping)
    for vma in vma_interval_tree_foreach(mapping, first, last):
        start, pgoff, end = vma.vm_start, vma.vm_pgoff, vma.vm_end
        low = start + (max(first - pgoff, 0) << PAGE_SHIFT)
        high = min(start + ((last + 1 - pgoff) << PAGE_SHIFT), end)
        if low < high:
            zap_page_range(vma, low, high, details)
    for vma in mapping.i_mmap_nonlinear:
        zap_page_range(vma, vma.vm_start, vma.vm_end, details)
    i_mmap_unlock_read(mapping)


def do_truncate(memory: Memory, mapping: AddressSpace, size: int) -> None:
    """truncate(2): let the file be `size` pages long. Takes i_rwsem and invalidate_lock.

    The size goes first, so that no fault brings a page back. Mappings are emptied before the pages leave the cache, and
    once more afterwards, for what was mapped in between.
    """
    if isinstance(mapping, HugetlbFile):
        hugetlb_vmtruncate(memory, mapping, size)
        return
    mapping.i_rwsem.down_write()
    # Before all else, for faults look at it without a lock: one that has looked before is met by the second
    # emptying.
    mapping.i_size = size
    mapping.invalidate_lock.down_write()
    unmap_mapping_pages(mapping, size, MAX >> PAGE_SHIFT, even_cows=True)
    for index in sorted(mapping.pages):
        folio = filemap_get_folio(mapping, index) if index >= size else None
        if folio is not None:
            # A fault holds this from when it has found the page until it has mapped it: it is either done,
            # and its entry goes below, or finds that the page is the file's no more.
            folio.lock.lock()
            invalidate_mapping_page(memory, mapping, index)
            folio.lock.unlock()
            folio_put(memory, folio)
    # A file that grows again reads as zeroes where it was cut off.
    for index in [index for index in mapping.disk if index >= size]:
        del mapping.disk[index]
    unmap_mapping_pages(mapping, size, MAX >> PAGE_SHIFT, even_cows=True)
    mapping.invalidate_lock.up_write()
    mapping.i_rwsem.up_write()
    trace("truncate", file=mapping.name, size=size)
