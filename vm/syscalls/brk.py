"""brk(2): growing and trimming the heap. Kernel: mm/mmap.c, v6.1."""

from __future__ import annotations

from sugarbush.concurrency import trace
from sugarbush.lockdep.model import GFP_KERNEL
from sugarbush.tree import NoMemory
from sugarbush.vm.objects import (
    EINVAL,
    ENOMEM,
    MAX_MAP_COUNT,
    PAGE_SHIFT,
    PAGE_SIZE,
    STACK_GUARD_GAP,
    TASK_SIZE,
    VM_ACCOUNT,
    VM_DATA_FLAGS,
    MmStruct,
    VmArea,
    page_align,
)
from sugarbush.vm.spaces import (
    mmap_read_unlock,
    mmap_write_lock,
    mmap_write_unlock,
    vm_area_alloc,
    vm_area_free,
    vm_start_gap,
    vma_find,
    vma_mark_attached,
    vma_prev,
    vma_start_write,
)
from sugarbush.vm.vmas import can_vma_merge_after, munmap, vma_expand


def sys_brk(mm: MmStruct, brk: int) -> int:
    """Move the end of the heap to `brk`, in bytes; gives where it is afterwards (unmoved if it could not be).

    Takes mmap_lock for writing. `mm.brk` is written before any downgrade, and put back if the unmapping fails. The
    heap keeps a page's distance from the next VMA, and more from a stack. An address space that has ended has no
    heap to move.
    """
    mmap_write_lock(mm)
    downgraded = False
    origin = mm.brk
    old, new = page_align(origin), page_align(brk)
    trace("brk", mm=mm.name, old=hex(origin), new=hex(brk))
    if mm.ended or not mm.start_brk <= brk <= TASK_SIZE:
        brk = origin
    # The same page: nothing is mapped or unmapped, only the number moves.
    elif new == old:
        mm.brk = brk
    elif new < old:
        result = shrink_brk(mm, brk, new, old)
        downgraded = result == 1
        if result < 0:
            brk = origin
    else:
        following = vma_find(mm, old, new + PAGE_SIZE + STACK_GUARD_GAP)
        # A page to the next mapping, so that a store behind the end of the heap faults.
        blocked = following is not None and new + PAGE_SIZE > vm_start_gap(following)
        if blocked or do_brk_flags(mm, vma_prev(mm, old, mm.start_brk), old, new - old) < 0:
            brk = origin
        else:
            mm.brk = brk
    if downgraded:
        mmap_read_unlock(mm)
    else:
        mmap_write_unlock(mm)
    return brk


def shrink_brk(mm: MmStruct, brk: int, newbrk: int, oldbrk: int) -> int:
    """Move the end of the heap down to `brk`, and unmap ``[newbrk, oldbrk)``; needs mmap_lock for writing.

    1 if mmap_lock was downgraded, 0 if it was not, or a negative error. Everything there may have been unmapped by the
    user: that is an error. `mm.brk` is stored first: it needs the lock for writing.
    """
    vma = vma_find(mm, newbrk, oldbrk)
    # What the user has unmapped by himself, all of it or a part. To assert that it is there let any process
    # stop the kernel (brk-missing-heap, Z51).
    if vma is None:
        return EINVAL
    origin = mm.brk
    # Before the downgrade, which is inside of the call: a task that takes mmap_lock for reading afterwards
    # must find the end of the heap where the heap ends, and may move it itself (brk-after-downgrade, Z12).
    mm.brk = brk
    result = do_brk_munmap(mm, vma, newbrk, oldbrk)
    if result < 0:
        mm.brk = origin
    return result


def do_brk_munmap(mm: MmStruct, vma: VmArea, newbrk: int, oldbrk: int) -> int:
    """Unmap ``[newbrk, oldbrk)``, of which `vma` is the first VMA; as `munmap.do_mas_align_munmap`. Needs
    mmap_lock for writing.

    This is the form of v6.1. The one of the maple tree series v9 to v11 is the patch ``brk-false-vma``.
    """
    # The long way, with two real VMAs: shrinking the VMA in place, and zapping through one that is in no rmap
    # tree, saved a store to the tree of VMAs, and left pages that no walk could find (brk-false-vma, Z01).
    return munmap.do_mas_align_munmap(mm, vma, newbrk, oldbrk, downgrade=True)


def do_brk_flags(mm: MmStruct, heap: VmArea | None, address: int, length: int) -> int:
    """Map anonymous memory at `address`, which is free, growing `heap` if that ends there. 0 or -ENOMEM.

    Needs mmap_lock for writing.
    """
    flags = VM_DATA_FLAGS | VM_ACCOUNT
    if mm.map_count > MAX_MAP_COUNT:
        return ENOMEM
    end, pgoff = address + length, address >> PAGE_SHIFT
    if heap is not None and heap.vm_end == address and can_vma_merge_after(heap, flags, None, None, pgoff):
        # Which reserves before it takes the rmap lock: an earlier form stored under it, with GFP_KERNEL
        # (28c5609fb236, the same mistake as clone-alloc-under-rmap-lock, Z40a). To reserve each time cost a
        # benchmark that does nothing else some ten per cent.
        return vma_expand(heap, heap.vm_start, end, heap.vm_pgoff, None)
    vma = vm_area_alloc(mm, address, end, pgoff, flags)
    if vma is None:
        return ENOMEM
    # Before it can be found: a fault that finds it waits until mmap_lock goes.
    vma_start_write(vma)
    mas = mm.mm_mt.cursor(address, end - 1)
    try:
        # May allocate: no rmap lock is held, and a new VMA is in no rmap tree.
        mas.store_gfp(vma, GFP_KERNEL)
    except NoMemory:
        vm_area_free(vma)
        return ENOMEM
    vma_mark_attached(vma)
    mm.map_count += 1
    return 0
