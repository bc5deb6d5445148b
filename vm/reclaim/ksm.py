"""The daemon that looks for equal pages, as far as it walks address spaces. Kernel: mm/ksm.c, v6.1.

Simpler here: it looks at pages and makes none of two; what matters is that it comes to an address space from outside.
"""

from __future__ import annotations

from sugarbush.concurrency import READ_ONCE
from sugarbush.vm.frames import pte_offset_map, ptep_get, vm_normal_page
from sugarbush.vm.objects import PAGE_SIZE, VM_MERGEABLE, MmStruct, Present
from sugarbush.vm.spaces import mmap_read_lock, mmap_read_unlock, vma_find


def ksm_test_exit(mm: MmStruct) -> bool:
    """The process has ended: its VMAs may be gone. Must be asked after mmap_lock was taken."""
    return mm.ended


def ksm_scan_mm(mm: MmStruct) -> list[object]:
    """What is in the pages of the VMAs that are VM_MERGEABLE. Takes mmap_lock for reading, one VMA at a time.

    The caller keeps the object `mm` (mm_count). A place in the tree does not outlive the lock, so each VMA is looked up
    by its address.
    """
    seen: list[object] = []
    address = 0
    while True:
        mmap_read_lock(mm)
        # After the lock and before the tree: between the look and the lock exit_mmap() may have taken all of
        # it down (ksm-after-exit, Z44).
        vma = None if ksm_test_exit(mm) else vma_find(mm, address)
        if vma is None:
            mmap_read_unlock(mm)
            return seen
        if vma.vm_flags & VM_MERGEABLE:
            for page in range(vma.vm_start, vma.vm_end, PAGE_SIZE):
                table = pte_offset_map(mm, page)
                pte = None if table is None else ptep_get(table, page)
                found = vm_normal_page(mm.memory, pte) if isinstance(pte, Present) else None
                if found is not None:
                    seen.append(READ_ONCE(found, "token"))
        # By number: a cursor would stand in a node that may be freed when the lock is given back.
        address = vma.vm_end
        mmap_read_unlock(mm)
