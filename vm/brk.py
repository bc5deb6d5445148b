"""brk(2): growing and trimming the heap. Kernel: mm/mmap.c, v6.1."""

from __future__ import annotations

from concurrency import trace
from lockdep.gfp import GFP_KERNEL
from tree import NoMemory
from vm import mmap
from vm.errno import ENOMEM
from vm.layout import MAX_MAP_COUNT, PAGE_SHIFT, TASK_SIZE, VM_ACCOUNT, VM_DATA_FLAGS, page_align
from vm.mm import MmStruct, mmap_read_unlock, mmap_write_lock, mmap_write_unlock
from vm.vma import VmArea, vm_area_alloc, vm_area_free


def sys_brk(mm: MmStruct, brk: int) -> int:
    """Move the end of the heap to `brk`, in bytes; gives where it is afterwards (unmoved if it could not be).

    Takes mmap_lock for writing. `mm.brk` is written before any downgrade, and put back if the unmapping fails.
    """
    mmap_write_lock(mm)
    downgraded = False
    origin = mm.brk
    old, new = page_align(origin), page_align(brk)
    trace("brk", mm=mm.name, old=hex(origin), new=hex(brk))
    if not mm.start_brk <= brk <= TASK_SIZE:
        brk = origin
    elif new == old:
        mm.brk = brk
    elif new < old:
        vma = mmap.vma_find(mm, new, old)
        if vma is None or vma.vm_start >= old:
            brk = origin
        else:
            mm.brk = brk
            result = do_brk_munmap(mm, vma, new, old)
            downgraded = result == 1
            if result < 0:
                mm.brk = brk = origin
    else:
        following = mmap.vma_find(mm, old, new)
        if following is not None or do_brk_flags(mm, old, new - old) < 0:
            brk = origin
        else:
            mm.brk = brk
    if downgraded:
        mmap_read_unlock(mm)
    else:
        mmap_write_unlock(mm)
    return brk


def do_brk_munmap(mm: MmStruct, vma: VmArea, newbrk: int, oldbrk: int) -> int:
    """Unmap ``[newbrk, oldbrk)``, of which `vma` is the first VMA; as `mmap.do_mas_align_munmap`.

    This is the form of v6.1. The one of the maple tree series v9 to v11 is the patch ``brk-false-vma``.
    """
    return mmap.do_mas_align_munmap(mm, vma, newbrk, oldbrk, downgrade=True)


def do_brk_flags(mm: MmStruct, address: int, length: int) -> int:
    """Map anonymous memory at `address`, which is free, growing the heap's VMA if it ends there. 0 or -ENOMEM."""
    flags = VM_DATA_FLAGS | VM_ACCOUNT
    if mm.map_count >= MAX_MAP_COUNT:
        return ENOMEM
    mas = mmap.Mas(mm.mm_mt, address, address + length - 1)
    before = mmap.vma_prev(mm, address)
    if before is not None and before.vm_end == address and before.vm_flags == flags:
        return mmap.vma_expand(mas, before, address + length)
    vma = vm_area_alloc(mm, address, address + length, address >> PAGE_SHIFT, flags)
    if vma is None:
        return ENOMEM
    try:
        mas.preallocate(vma, GFP_KERNEL)
    except NoMemory:
        vm_area_free(vma)
        return ENOMEM
    mmap.vma_store(mas, vma)
    mm.map_count += 1
    return 0
