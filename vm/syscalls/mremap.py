"""mremap(2): growing, shrinking and moving a mapping. Kernel: mm/mremap.c, v6.1."""

from __future__ import annotations

from sugarbush.concurrency import bug_on, trace
from sugarbush.vm.faults import userfaultfd_clear
from sugarbush.vm.files import get_file, is_vm_hugetlb_page
from sugarbush.vm.frames import userfaultfd_wp
from sugarbush.vm.objects import (
    EFAULT,
    EINVAL,
    ENOMEM,
    ESRCH,
    MAX_MAP_COUNT,
    PAGE_SHIFT,
    PAGE_SIZE,
    TASK_SIZE,
    VM_DONTEXPAND,
    VM_LOCKED,
    VM_MAYSHARE,
    VM_SHARED,
    MmStruct,
    VmArea,
    page_align,
)
from sugarbush.vm.reverse import anon_vma_clone, unlink_anon_vmas
from sugarbush.vm.spaces import (
    linear_page_index,
    mmap_read_unlock,
    mmap_write_lock,
    mmap_write_unlock,
    vm_area_dup,
    vm_area_free,
    vma_find,
    vma_is_anonymous,
    vma_lookup,
    vma_prev,
    vma_start_write,
)
from sugarbush.vm.syscalls.mman import MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE
from sugarbush.vm.syscalls.mmap import get_unmapped_area, vma_link
from sugarbush.vm.vmas import do_mas_munmap, move_page_tables, remove_vma, vma_merge, vma_open


def sys_mremap(
    mm: MmStruct, address: int, old_length: int, new_length: int, flags: int, new_address: int = 0
) -> int:
    """mremap(2): where the mapping is now, or a negative error. Takes mmap_lock. Lengths are in bytes.

    -EINVAL for flags that do not fit together, an unaligned address, no new length, places that overlap, or huge pages
    of a file that would grow or (simpler here) move; -EFAULT for what is not one mapping; -ENOMEM for too little of
    anything; -ESRCH for an address space that has ended. As in the kernel, what was mapped at a fixed new address is
    gone whatever happens later.
    """
    moves_only = flags & MREMAP_DONTUNMAP
    if (
        flags & ~(MREMAP_FIXED | MREMAP_MAYMOVE | MREMAP_DONTUNMAP)
        or (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) and not flags & MREMAP_MAYMOVE)
        or (moves_only and old_length != new_length)
        or address & (PAGE_SIZE - 1)
    ):
        return EINVAL
    old_length, new_length = page_align(old_length), page_align(new_length)
    if new_length == 0:
        return EINVAL
    mmap_write_lock(mm)
    downgraded = False
    vma = None if mm.ended else vma_lookup(mm, address)
    if vma is None:
        result = ESRCH if mm.ended else EFAULT
    elif is_vm_hugetlb_page(vma) and (new_length > old_length or flags & MREMAP_FIXED):
        result = EINVAL
    elif flags & (MREMAP_FIXED | MREMAP_DONTUNMAP):
        result = mremap_to(mm, address, old_length, new_address, new_length, flags)
    elif old_length >= new_length:
        result = address
        if old_length > new_length:
            error = do_mas_munmap(mm, address + new_length, old_length - new_length, downgrade=True)
            downgraded = error == 1
            result = min(error, 0) or address
    else:
        result = _grow(vma, address, old_length, new_length, flags)
    if downgraded:
        mmap_read_unlock(mm)
    else:
        mmap_write_unlock(mm)
    return result


def vma_to_resize(mm: MmStruct, address: int, old_length: int, new_length: int, flags: int) -> VmArea | int:
    """The VMA of ``[address, address + old_length)``, which may become of another length, or a negative error.

    Needs mmap_lock.
    """
    vma = vma_lookup(mm, address)
    if vma is None:
        return EFAULT
    if not old_length and not vma.vm_flags & (VM_SHARED | VM_MAYSHARE):
        return EINVAL
    if flags & MREMAP_DONTUNMAP and vma.vm_flags & VM_DONTEXPAND:
        return EINVAL
    if old_length > vma.vm_end - address:
        return EFAULT
    if new_length > old_length:
        if vma.vm_flags & VM_DONTEXPAND:
            return EFAULT
        if new_length > TASK_SIZE:
            return ENOMEM
    return vma


def _grow(vma: VmArea, address: int, old_length: int, new_length: int, flags: int) -> int:
    """In place if the mapping ends there and there is room behind it; else, if it may move, somewhere else.

    Needs mmap_lock for writing.
    """
    mm = vma.vm_mm
    sized = vma_to_resize(mm, address, old_length, new_length, flags)
    if isinstance(sized, int):
        return sized
    if old_length == vma.vm_end - address and vma_expandable(vma, new_length - old_length):
        old_end, new_end = address + old_length, address + new_length
        pgoff = linear_page_index(vma, old_end)
        grown = vma_merge(mm, vma, old_end, new_end, vma.vm_flags, vma.anon_vma, vma.vm_file, pgoff)
        return ENOMEM if grown is None else address
    if not flags & MREMAP_MAYMOVE:
        return ENOMEM
    new_address = get_unmapped_area(mm, None, new_length)
    if new_address < 0:
        return new_address
    return move_vma(vma, address, old_length, new_length, new_address, flags)


def vma_expandable(vma: VmArea, delta: int) -> bool:
    """There is room for `delta` bytes behind `vma`; needs mmap_lock."""
    end = vma.vm_end + delta
    return end <= TASK_SIZE and vma_find(vma.vm_mm, vma.vm_end, end) is None


def mremap_to(
    mm: MmStruct, address: int, old_length: int, new_address: int, new_length: int, flags: int
) -> int:
    """Move to `new_address`, or wherever there is room if that is not fixed. Needs mmap_lock for writing."""
    if (
        new_address & (PAGE_SIZE - 1)
        or new_length > TASK_SIZE
        or not 0 <= new_address <= TASK_SIZE - new_length
        or (address + old_length > new_address and new_address + new_length > address)
    ):
        return EINVAL
    if mm.map_count + 2 >= MAX_MAP_COUNT - 3:
        return ENOMEM
    if flags & MREMAP_FIXED:
        error = do_mas_munmap(mm, new_address, new_length)
        if error:
            return error
    if old_length > new_length:
        error = do_mas_munmap(mm, address + new_length, old_length - new_length)
        if error:
            return error
        old_length = new_length
    vma = vma_to_resize(mm, address, old_length, new_length, flags)
    if isinstance(vma, int):
        return vma
    new_address = get_unmapped_area(mm, new_address if flags & MREMAP_FIXED else None, new_length)
    if new_address < 0:
        return new_address
    return move_vma(vma, address, old_length, new_length, new_address, flags)


def move_vma(
    vma: VmArea, old_address: int, old_length: int, new_length: int, new_address: int, flags: int
) -> int:
    """Map at `new_address` what `vma` has at `old_address`, move the entries there, and unmap the old place.

    The new address, or -ENOMEM: then the entries are moved back, and the new place is unmapped instead. Needs
    mmap_lock for writing.
    """
    mm = vma.vm_mm
    # Two cuts at the old place, and the new VMA: looked at before anything is done.
    if mm.map_count >= MAX_MAP_COUNT - 3:
        return ENOMEM
    # Its entries go away under it: faults that hold only its lock must be done.
    vma_start_write(vma)
    copied = copy_vma(vma, new_address, new_length, linear_page_index(vma, old_address))
    if copied is None:
        return ENOMEM
    vma, new_vma, need_rmap_locks = copied
    trace("move_vma", mm=mm.name, old=hex(old_address), new=hex(new_address))
    moved = move_page_tables(vma, old_address, new_address, old_length, need_rmap_locks=need_rmap_locks)
    if moved < old_length:
        # Back, and always with the rmap locks: now the new place is the source, and stands behind in the
        # tree.
        move_page_tables(new_vma, new_address, old_address, moved, need_rmap_locks=True)
        do_mas_munmap(mm, new_address, new_length)
        return ENOMEM
    if userfaultfd_wp(new_vma):
        # mremap_userfaultfd_prep() of a monitor that did not ask to hear of it.
        vma_start_write(new_vma)
        userfaultfd_clear(new_vma)
    if flags & MREMAP_DONTUNMAP:
        vma.vm_flags &= ~VM_LOCKED
        if vma is not new_vma and vma.vm_start == old_address and vma.vm_end == old_address + old_length:
            # Nothing is left there, so it is as one that was never written to. This is why a fault must look
            # for the anon_vma once it has the VMA's lock, and not before (vma-lock-anon-vma, Z20).
            unlink_anon_vmas(vma)
        return new_address
    do_mas_munmap(mm, old_address, old_length)
    return new_address


def copy_vma(vma: VmArea, address: int, length: int, pgoff: int) -> tuple[VmArea, VmArea, bool] | None:
    """Map at `address` what `vma` maps at `pgoff`: (`vma`, the VMA that does so, whether walks must be kept away).

    The new VMA may be an old one that has grown; then it need not stand behind `vma` in the rmap trees. It may even be
    `vma` itself, or have swallowed it: then what is given first is that. None without memory. Needs mmap_lock for
    writing.
    """
    mm, start = vma.vm_mm, vma.vm_start
    faulted_in = vma.anon_vma is not None
    # Nobody has a page there yet that is filed by the old offset, so it takes that of its new place, and fits
    # to neighbours.
    if vma_is_anonymous(vma) and not faulted_in:
        pgoff = address >> PAGE_SHIFT
    prev = vma_prev(mm, address)
    merged = vma_merge(mm, prev, address, address + length, vma.vm_flags, vma.anon_vma, vma.vm_file, pgoff)
    if merged is not None:
        if merged.vm_start <= start < merged.vm_end:
            bug_on(faulted_in, "VM_BUG_ON_VMA(faulted_in_anon_vma, new_vma): copy_vma()")
            vma = merged
        # A VMA that has grown may stand before `vma` in the tree: a walk comes to the new place first, and to
        # an old one that is empty by then. So the locks must be had (mremap-rmap-order, Z06).
        return vma, merged, merged.vm_pgoff <= vma.vm_pgoff
    new = vm_area_dup(vma)
    if new is None:
        return None
    new.vm_start, new.vm_end, new.vm_pgoff = address, address + length, pgoff
    # Into the same trees, behind `vma`, before the first entry moves.
    if not anon_vma_clone(new, vma):
        vm_area_free(new)
        return None
    if new.vm_file is not None:
        get_file(new.vm_file)
    vma_open(new)
    if vma_link(mm, new):
        unlink_anon_vmas(new)
        remove_vma(new)
        return None
    return vma, new, False
