"""What a driver or file system does when its file is mapped, and when VMAs of it come and go: f_op->mmap,
vm_ops->open and vm_ops->close (`vm.objects.mm_types.VmOperations`, `FileOperations`). Kernel: include/linux/fs.h and
mm/util.c, v6.12; where VMAs are opened and closed, v6.1.

    file = AddressSpace("gpu")
    file.f_op = FileOperations(mmap=gpu_mmap)           # gpu_mmap(vma) gives 0 or an error

The hook is called with mmap_lock held for writing, before the VMA is in any tree. It may change `vm_flags`, set
`vm_ops`, map pages (`vm_insert_page`), or fail; it may not move the VMA. What it has set up for the VMA,
`vm_ops.close` gives back; `vm_ops.open` is called for every further VMA of the mapping: the other part of a split,
a copy of mremap or fork.

Simpler here: faults are those of the file, so there is no vm_ops->fault, nor any other of its hooks; a driver keeps
what is its own in the functions, so there is no vm_private_data.
"""

from __future__ import annotations

from sugarbush.vm.frames import mk_pte, pte_alloc, ptep_get, set_pte
from sugarbush.vm.objects import (
    EBUSY,
    EINVAL,
    ENOMEM,
    MM_FILEPAGES,
    VM_MIXEDMAP,
    AddressSpace,
    Folio,
    VmArea,
    VmOperations,
    folio_get,
    folio_test_anon,
)
from sugarbush.vm.reverse import folio_add_file_rmap
from sugarbush.vm.spaces import add_mm_counter

vma_dummy_vm_ops = VmOperations()


def mmap_file(file: AddressSpace, vma: VmArea) -> int:
    """Call the hook of `file` for the new `vma`; 0 or its error. Needs mmap_lock for writing.

    After an error nobody knows what state the driver's things are in, so no other hook may be called for that VMA:
    since v6.12 (3dd6ed34ce1f) it loses its vm_ops here.
    """
    if file.f_op is None:
        return 0
    error = file.f_op.mmap(vma)
    if error:
        # Not None: that would say that the VMA is of anonymous memory, where the kernel asks by this.
        vma.vm_ops = vma_dummy_vm_ops
    return error


def vma_open(vma: VmArea) -> None:
    """Tell the driver that `vma` is a further VMA of its mapping. Needs mmap_lock for writing."""
    if vma.vm_ops is not None and vma.vm_ops.open is not None:
        vma.vm_ops.open(vma)


def vma_close(vma: VmArea) -> None:
    """Tell the driver of the end of `vma`, which is in no tree any more; after this nothing is called for it.
    Needs mmap_lock, be it only for reading.
    """
    if vma.vm_ops is not None and vma.vm_ops.close is not None:
        # Replaced after the call, so that it is not called a second time, whatever the error path.
        close = vma.vm_ops.close
        close(vma)
        vma.vm_ops = vma_dummy_vm_ops


def vm_insert_page(vma: VmArea, address: int, page: Folio) -> int:
    """Map a page of the driver's, which goes on having its reference; 0, -EINVAL for an anonymous page, -EBUSY where
    something is mapped, or -ENOMEM.

    For the hook of a mapping: needs mmap_lock for writing. No walk finds the page, and no reclaim, since it is of no
    file's cache. Kernel: mm/memory.c, v6.1.
    """
    mm = vma.vm_mm
    if not vma.vm_flags & VM_MIXEDMAP:
        mm.mmap_lock.assert_held_write()
        # From now on the VMA may have pages that a fault does not bring back, so fork copies its entries
        # (`copy_page_range`).
        vma.vm_flags |= VM_MIXEDMAP
    if folio_test_anon(page):
        return EINVAL
    table = pte_alloc(mm, address)
    if table is None:
        return ENOMEM
    with table.ptl:
        # Looked at under the lock: another hook, or a fault, may have been here.
        if ptep_get(table, address) is not None:
            return EBUSY
        folio_get(page)
        add_mm_counter(mm, MM_FILEPAGES, 1)
        folio_add_file_rmap(page)
        set_pte(table, address, mk_pte(page, vma.vm_page_prot))
    return 0
