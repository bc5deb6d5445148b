"""Mappings that show the pages of a file in an order of their own: remap_file_pages(2), as up to v3.19.

Simpler here: the pages are mapped at once, and an entry that was emptied does not remember which page it was for. Such
a VMA has left the interval tree of its file, so no walk finds its pages; they are not moved, and not reclaimed.
"""

from __future__ import annotations

from sugarbush.concurrency import READ_ONCE, trace
from sugarbush.vm.faults import filemap_fault, finish_fault
from sugarbush.vm.files import (
    i_mmap_lock_read,
    i_mmap_lock_write,
    i_mmap_unlock_read,
    i_mmap_unlock_write,
    is_vm_hugetlb_page,
    vma_interval_tree_insert,
    vma_interval_tree_remove,
)
from sugarbush.vm.objects import (
    EINVAL,
    ESRCH,
    PAGE_SHIFT,
    PAGE_SIZE,
    VM_NONLINEAR,
    VM_SHARED,
    AddressSpace,
    Folio,
    MmStruct,
    VmArea,
)
from sugarbush.vm.reverse import RmapOne
from sugarbush.vm.spaces import mmap_write_lock, mmap_write_unlock, vma_address, vma_lookup
from sugarbush.vm.vmas import zap_page_range


def remap_file_pages(mm: MmStruct, start: int, size: int, pgoff: int) -> int:
    """Let ``[start, start + size)`` of a shared mapping show the file from page `pgoff` on. Takes mmap_lock.

    0; -EINVAL for a range that is not a part of one shared mapping of a file, or of huge pages; -ENOMEM, or -ESRCH for
    an address space that has ended. The first time the VMA moves from the tree of its file to the list of those that a
    walk has to look at in another way.
    """
    if (start | size) & (PAGE_SIZE - 1) or size <= 0:
        return EINVAL
    mmap_write_lock(mm)
    vma = None if mm.ended else vma_lookup(mm, start)
    if mm.ended:
        result = ESRCH
    elif vma is None or vma.vm_file is None or not _may_reorder(vma) or start + size > vma.vm_end:
        result = EINVAL
    else:
        make_nonlinear(vma, vma.vm_file)
        # Only what the call is about. The rest keeps its entries, and among them may be migration entries of
        # a walk that met the VMA in the tree: hence `walk_nonlinear` (remap-file-pages, Z07).
        zap_page_range(vma, start, start + size)
        result = _populate(vma, vma.vm_file, start, size, pgoff)
    mmap_write_unlock(mm)
    return result


def _may_reorder(vma: VmArea) -> bool:
    return bool(vma.vm_flags & VM_SHARED) and not is_vm_hugetlb_page(vma)


def make_nonlinear(vma: VmArea, mapping: AddressSpace) -> None:
    """Take `vma` out of the interval tree; needs mmap_lock for writing."""
    if vma.vm_flags & VM_NONLINEAR:
        return
    i_mmap_lock_write(mapping)
    # In one section of the lock: a walk finds the VMA in the tree or in the list.
    vma_interval_tree_remove(vma, mapping)
    vma.vm_flags |= VM_NONLINEAR
    vma_interval_tree_insert(vma, mapping)
    i_mmap_unlock_write(mapping)
    trace("remap_file_pages", vma=vma.name)


def _populate(vma: VmArea, mapping: AddressSpace, start: int, size: int, pgoff: int) -> int:
    """Map the pages of the file there, read-only at first; 0 or an error. Needs mmap_lock for writing."""
    for number in range(size >> PAGE_SHIFT):
        folio = filemap_fault(vma, mapping, pgoff + number)
        if isinstance(folio, int):
            return folio
        error = finish_fault(vma, start + (number << PAGE_SHIFT), folio, None, write=False)
        folio.lock.unlock()
        if error:
            return error
    return 0


def walk_nonlinear(folio: Folio, mapping: AddressSpace, rmap_one: RmapOne) -> None:
    """Call `rmap_one` where a VMA that is not in the tree any more had `folio` while it was.

    A migration replaced its entries when the VMA still was in the tree, and its second walk must find them. Takes
    i_mmap_rwsem for reading. Kernel: remove_linear_migration_ptes_from_nonlinear(), v3.15.
    """
    index = READ_ONCE(folio, "index")
    i_mmap_lock_read(mapping)
    for vma in mapping.i_mmap_nonlinear:
        address = vma_address(vma, index)
        if address is not None:
            rmap_one(folio, vma, address)
    i_mmap_unlock_read(mapping)
