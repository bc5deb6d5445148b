"""munmap(2): taking VMAs out of an address space. Kernel: mm/mmap.c, v6.1.

After an error everything is still mapped, but a VMA may be left cut in two.
"""

from __future__ import annotations

from sugarbush.concurrency import trace
from sugarbush.lockdep.model import GFP_KERNEL
from sugarbush.tree import NoMemory
from sugarbush.vm.files import fput, is_vm_hugetlb_page
from sugarbush.vm.huge import hugetlb_vm_op_close
from sugarbush.vm.objects import (
    EINVAL,
    ENOMEM,
    ESRCH,
    MAX_MAP_COUNT,
    PAGE_SIZE,
    TASK_SIZE,
    USER_PGTABLES_CEILING,
    VM_GROWSDOWN,
    MmStruct,
    VmArea,
    page_align,
)
from sugarbush.vm.spaces import (
    mmap_read_unlock,
    mmap_write_downgrade,
    mmap_write_lock,
    mmap_write_unlock,
    vm_area_free,
    vma_find,
    vma_mark_detached,
    vma_prev,
    vma_start_write,
)
from sugarbush.vm.vmas.adjust import split_vma
from sugarbush.vm.vmas.vm_ops import vma_close
from sugarbush.vm.vmas.zap import unmap_region


def do_munmap(mm: MmStruct, start: int, length: int) -> int:
    """munmap(2): remove all mappings of ``[start, start + length)``. Takes mmap_lock. 0 or a negative error.

    The zap runs under the downgraded lock whenever no neighbour can grow into the hole. -EINVAL for a range that is
    empty, not aligned or beyond user space, -ENOMEM, or -ESRCH for an address space that has ended.
    """
    mmap_write_lock(mm)
    result = ESRCH if mm.ended else do_mas_munmap(mm, start, length, downgrade=True)
    if result == 1:
        mmap_read_unlock(mm)
        return 0
    mmap_write_unlock(mm)
    return result


def do_mas_munmap(mm: MmStruct, start: int, length: int, *, downgrade: bool = False) -> int:
    """Check the range and unmap it; as `do_mas_align_munmap`. Needs mmap_lock for writing."""
    if start & (PAGE_SIZE - 1) or not 0 <= start <= TASK_SIZE or not 0 <= length <= TASK_SIZE - start:
        return EINVAL
    end = start + page_align(length)
    if end == start:
        return EINVAL
    vma = vma_find(mm, start, end)
    if vma is None:
        return 0
    return do_mas_align_munmap(mm, vma, start, end, downgrade=downgrade)


def do_mas_align_munmap(mm: MmStruct, vma: VmArea, start: int, end: int, *, downgrade: bool) -> int:
    """Unmap the page-aligned ``[start, end)``, of which `vma` is the first VMA; needs mmap_lock for writing.

    1 if mmap_lock was downgraded, 0 if it is still held for writing, or a negative error. The VMAs are cut at the
    borders, taken out of the tree by one store, and stay in their rmap trees until their entries are zapped. What
    is cut off at a border is the new VMA, so that the one that is left stays itself.

    Simpler here: the VMAs are collected in a list, not in a second maple tree. The nodes for the one store are
    reserved after the cuts, not before: the tree reserves as v6.6 does, exactly, where v6.1 took the worst case.
    """
    assert start < end, "an empty range is refused by do_mas_munmap()"
    if start > vma.vm_start:
        if end < vma.vm_end and mm.map_count >= MAX_MAP_COUNT:
            return ENOMEM
        error = split_vma(vma, start, new_below=False)
        if error:
            return error
    # After the cut: what is left below is a neighbour now.
    before = vma_prev(mm, start)
    doomed = []
    walk = mm.mm_mt.cursor(start)
    while (found := walk.find(end - 1)) is not None:
        if found.vm_end > end:
            error = split_vma(found, end, new_below=True)
            if error:
                return error
            # The cut has replaced nodes: what the cursor stood in may have left the tree.
            walk.set_range(end - 1, end - 1)
            found = walk.walk()
            assert found is not None
        # Faults that hold only the VMA's lock are done, and none begins: with the VMA out of the tree nobody
        # else stops them.
        vma_start_write(found)
        doomed.append(found)
    after = vma_find(mm, end)
    mas = mm.mm_mt.cursor(start, end - 1)
    try:
        mas.preallocate(None, GFP_KERNEL)
    except NoMemory:
        return ENOMEM
    for gone in doomed:
        # Before the store, which has all its memory: there is no way back from here on.
        vma_mark_detached(gone)
    mas.set_range(start, end - 1)
    mas.store_prealloc(None)
    mm.map_count -= len(doomed)
    trace("vma_mas_szero", start=hex(start), end=hex(end))
    # What lies next to the hole decides, as of now: with mmap_lock for reading nobody maps anything into it,
    # but a stack may grow there.
    downgrade = downgrade and may_downgrade(after)
    floor = 0 if before is None else before.vm_end
    ceiling = USER_PGTABLES_CEILING if after is None else after.vm_start
    if downgrade:
        mmap_write_downgrade(mm)
    # The VMAs are out of the tree but still in the rmap trees, with the ranges that they had: a walk finds
    # each page until its entry is gone. The false VMA of brk was in no rmap tree (brk-false-vma, Z01).
    unmap_region(mm, doomed, floor, ceiling, start, end)
    for gone in doomed:
        remove_vma(gone)
    return int(downgrade)


def may_downgrade(after: VmArea | None) -> bool:
    """Nothing can grow into the hole below `after` under mmap_lock for reading."""
    # Above only, for there is no stack that grows up here. Without this a stack grows into the hole, and what
    # is faulted in there is zapped with the rest, tables and all (munmap-downgrade-stack, Z11).
    return after is None or not after.vm_flags & VM_GROWSDOWN


def remove_vma(vma: VmArea) -> None:
    """End a VMA that is in no tree any more: tell its driver, drop its reference to its file, free it.

    Needs mmap_lock, be it only for reading.
    """
    vma_close(vma)
    file = vma.vm_file
    if file is not None:
        if is_vm_hugetlb_page(vma):
            hugetlb_vm_op_close(vma)
        fput(vma.vm_mm.memory, file)
    vm_area_free(vma)
