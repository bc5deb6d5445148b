"""remap_file_pages(2) as it is since v4.0: another mapping in place of the old one. Kernel: mm/mmap.c, v6.13.

The VMA is looked up twice, for the security module is asked in between, without mmap_lock.
"""

from __future__ import annotations

from sugarbush.concurrency import trace
from sugarbush.vm.files import fput, get_file
from sugarbush.vm.objects import EINVAL, ESRCH, PAGE_SHIFT, PAGE_SIZE, VM_SHARED, MmStruct, VmArea
from sugarbush.vm.spaces import (
    mmap_read_lock,
    mmap_read_unlock,
    mmap_write_lock,
    mmap_write_unlock,
    vma_lookup,
)
from sugarbush.vm.syscalls.mmap import mmap_region
from sugarbush.vm.syscalls.security import security_mmap_file
from sugarbush.vm.vmas import do_mas_munmap


def sys_remap_file_pages(mm: MmStruct, start: int, size: int, pgoff: int) -> int:
    """Let ``[start, start + size)`` of a shared mapping show its file from page `pgoff` on.

    Takes mmap_lock, and i_rwsem of the file while mmap_lock is not held. 0; -EINVAL for a range that is not a part of
    one shared mapping of a file, or that has become another one meanwhile; -ENOMEM; -ESRCH for an address space that
    has ended.
    """
    if (start | size) & (PAGE_SIZE - 1) or size <= 0:
        return EINVAL
    mmap_read_lock(mm)
    ended = mm.ended
    vma = None if ended else remappable(mm, start, size)
    if vma is None or vma.vm_file is None:
        mmap_read_unlock(mm)
        return ESRCH if ended else EINVAL
    # What is needed once the lock is gone: the file, by a reference, and what the VMA was like.
    mapping, flags = get_file(vma.vm_file), vma.vm_flags
    mmap_read_unlock(mm)
    # With no lock held: it takes i_rwsem, under which a write(2) faults (remap-file-pages-hook, Z40e).
    result = security_mmap_file(mapping)
    if result == 0:
        mmap_write_lock(mm)
        vma = remappable(mm, start, size)
        # What was asked about must be what is mapped: another file, or other rights, the security module has
        # not seen.
        if vma is None or vma.vm_file is not mapping or vma.vm_flags != flags:
            result = EINVAL
        else:
            result = remap(vma, start, size, pgoff)
        mmap_write_unlock(mm)
    fput(mm.memory, mapping)
    return result


def remappable(mm: MmStruct, start: int, size: int) -> VmArea | None:
    """The shared mapping of a file that has all of the range; needs mmap_lock."""
    vma = vma_lookup(mm, start)
    if vma is None or vma.vm_file is None or not vma.vm_flags & VM_SHARED or start + size > vma.vm_end:
        return None
    return vma


def remap(vma: VmArea, start: int, size: int, pgoff: int) -> int:
    """Map the file of `vma` anew in its place; 0 or -ENOMEM.

    Needs mmap_lock for writing, and a reference to the file.
    """
    mm, flags, mapping = vma.vm_mm, vma.vm_flags, vma.vm_file
    error = do_mas_munmap(mm, start, size)
    if error:
        return error
    trace("remap_file_pages", mm=mm.name, start=hex(start), pages=size >> PAGE_SHIFT)
    return min(mmap_region(mm, start, start + size, flags, mapping, pgoff), 0)
