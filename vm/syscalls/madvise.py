"""madvise(2): what a process says about its memory. Kernel: mm/madvise.c, v6.1."""

from __future__ import annotations

from collections.abc import Callable

from sugarbush.concurrency import trace
from sugarbush.vm.access import handle_user_fault, vfs_punch_hole
from sugarbush.vm.files import fput, get_file
from sugarbush.vm.huge import madvise_collapse
from sugarbush.vm.objects import (
    EACCES,
    EAGAIN,
    EINVAL,
    ENOMEM,
    EPERM,
    ESRCH,
    PAGE_SHIFT,
    PAGE_SIZE,
    VM_DONTCOPY,
    VM_DONTDUMP,
    VM_HUGEPAGE,
    VM_HUGETLB,
    VM_IO,
    VM_LOCKED,
    VM_MERGEABLE,
    VM_NOHUGEPAGE,
    VM_RAND_READ,
    VM_READ,
    VM_SEQ_READ,
    VM_SHARED,
    VM_SPECIAL,
    VM_WIPEONFORK,
    VM_WRITE,
    MmStruct,
    VmArea,
    page_align,
)
from sugarbush.vm.spaces import (
    find_vma_prev,
    linear_page_index,
    mmap_read_lock,
    mmap_read_unlock,
    mmap_write_lock,
    mmap_write_unlock,
    vma_find,
    vma_is_anonymous,
    vma_lookup,
    vma_start_write,
)
from sugarbush.vm.syscalls.mman import (
    MADV_COLD,
    MADV_COLLAPSE,
    MADV_DODUMP,
    MADV_DOFORK,
    MADV_DONTDUMP,
    MADV_DONTFORK,
    MADV_DONTNEED,
    MADV_DONTNEED_LOCKED,
    MADV_FREE,
    MADV_HUGEPAGE,
    MADV_HWPOISON,
    MADV_KEEPONFORK,
    MADV_MERGEABLE,
    MADV_NOHUGEPAGE,
    MADV_NORMAL,
    MADV_PAGEOUT,
    MADV_POPULATE_READ,
    MADV_POPULATE_WRITE,
    MADV_RANDOM,
    MADV_REMOVE,
    MADV_SEQUENTIAL,
    MADV_SOFT_OFFLINE,
    MADV_UNMERGEABLE,
    MADV_WILLNEED,
    MADV_WIPEONFORK,
)
from sugarbush.vm.vmas import vma_modify_flags, zap_page_range

Visit = Callable[[VmArea, VmArea | None, int, int], VmArea | int | None]
"""What is done to the part of one VMA: the VMA that has it now, an error, or None if mmap_lock was given back and taken
again.
"""

_FLAGS = {
    MADV_NORMAL: (0, VM_RAND_READ | VM_SEQ_READ),
    MADV_SEQUENTIAL: (VM_SEQ_READ, VM_RAND_READ),
    MADV_RANDOM: (VM_RAND_READ, VM_SEQ_READ),
    MADV_DONTFORK: (VM_DONTCOPY, 0),
    MADV_DOFORK: (0, VM_DONTCOPY),
    MADV_DONTDUMP: (VM_DONTDUMP, 0),
    MADV_DODUMP: (0, VM_DONTDUMP),
    MADV_WIPEONFORK: (VM_WIPEONFORK, 0),
    MADV_KEEPONFORK: (0, VM_WIPEONFORK),
    MADV_MERGEABLE: (VM_MERGEABLE, 0),
    MADV_UNMERGEABLE: (0, VM_MERGEABLE),
    MADV_HUGEPAGE: (VM_HUGEPAGE, VM_NOHUGEPAGE),
    MADV_NOHUGEPAGE: (VM_NOHUGEPAGE, VM_HUGEPAGE),
}
"""The advice that is kept: the flags that it sets, and those that it clears."""


def sys_madvise(mm: MmStruct, start: int, length: int, advice: int) -> int:
    """madvise(2): 0 or a negative error. Takes mmap_lock, for writing if flags change.

    -EINVAL for an unaligned start, a range that wraps round, or advice that there is not or that the mapping cannot
    take; -EAGAIN for too little memory; -EACCES to punch a hole through a mapping that is not shared and writable;
    -EPERM to break pages; -ESRCH for an address space that has ended. Holes in the range are passed over and give
    -ENOMEM in the end.

    Simpler here: MADV_WILLNEED, MADV_COLD and MADV_PAGEOUT change nothing, for no page ages
    and none is read ahead; MADV_FREE drops the pages at once.
    """
    size = page_align(length)
    if not madvise_behavior_valid(advice):
        return EINVAL
    if start & (PAGE_SIZE - 1) or start + size >= 1 << 64:
        return EINVAL
    if size == 0:
        return 0
    if advice in _INJECT:
        return EPERM
    # No walk over VMAs: each page is a fault, which takes the locks for itself.
    if advice in _POPULATE:
        return madvise_populate(mm, start, start + size, write=advice == MADV_POPULATE_WRITE)
    # For reading where only pages go: a thread that gives memory back need not stop the faults of all others.
    write = madvise_need_mmap_write(advice)
    (mmap_write_lock if write else mmap_read_lock)(mm)
    result = ESRCH if mm.ended else _walk_vmas(mm, start, start + size, _visit(advice))
    (mmap_write_unlock if write else mmap_read_unlock)(mm)
    return result


def madvise_behavior_valid(advice: int) -> bool:
    """There is such advice."""
    return advice == MADV_REMOVE or any(advice in known for known in (_FLAGS, _VISITS, _POPULATE, _INJECT))


def madvise_need_mmap_write(advice: int) -> bool:
    """Only advice that is kept in the flags needs mmap_lock for writing."""
    return advice in _FLAGS


def _visit(advice: int) -> Visit:
    def change(vma: VmArea, prev: VmArea | None, low: int, high: int) -> VmArea | int:
        return _update_vma(vma, prev, low, high, advice)

    return madvise_remove if advice == MADV_REMOVE else _VISITS.get(advice, change)


def _walk_vmas(mm: MmStruct, start: int, end: int, visit: Visit) -> int:
    """Call `visit` for the part of each VMA that lies in ``[start, end)``; needs mmap_lock as `visit` does.
    Kernel: madvise_walk_vmas().
    """
    result = 0
    vma, prev = find_vma_prev(mm, start)
    if vma is not None and start > vma.vm_start:
        prev = vma
    while True:
        if vma is None:
            return ENOMEM
        # A hole is passed over, and told of in the end: that is what madvise(2) says.
        if start < vma.vm_start:
            result = ENOMEM
            start = vma.vm_start
            if start >= end:
                return result
        stop = min(vma.vm_end, end)
        visited = visit(vma, prev, start, stop)
        if isinstance(visited, int):
            return visited
        prev = visited
        # By number where mmap_lock was away: the VMA may be gone. Else behind what the VMA has become.
        start = stop if visited is None else max(stop, visited.vm_end)
        if start >= end:
            return result
        vma = vma_find(mm, start)


def madvise_populate(mm: MmStruct, start: int, end: int, *, write: bool) -> int:
    """Fault the pages of the range in; 0, -EINVAL for a mapping that does not permit it, -EFAULT, -ENOMEM or -ESRCH.

    Simpler here: each page by a fault that takes the locks for itself.
    """
    for address in range(start, end, PAGE_SIZE):
        mmap_read_lock(mm)
        vma = None if mm.ended else vma_lookup(mm, address)
        permitted = vma is not None and bool(vma.vm_flags & (VM_WRITE if write else VM_READ))
        mmap_read_unlock(mm)
        if vma is None:
            return ESRCH if mm.ended else ENOMEM
        error = handle_user_fault(mm, address, write=write) if permitted else EINVAL
        if error:
            return error
    return 0


def may_punch(vma: VmArea) -> bool:
    """Whether a hole may be punched through the mapping: it is shared, and may be written to."""
    return vma.vm_flags & (VM_SHARED | VM_WRITE) == VM_SHARED | VM_WRITE


def madvise_remove(vma: VmArea, _prev: VmArea | None, start: int, end: int) -> VmArea | int | None:
    """Punch the range out of the file, without mmap_lock: i_rwsem stands outside of it. A reference keeps the file.

    Needs mmap_lock for reading, gives it back and takes it again.
    """
    mm, flags, mapping = vma.vm_mm, vma.vm_flags, vma.vm_file
    if flags & VM_LOCKED or mapping is None:
        return EINVAL
    if not may_punch(vma):
        return EACCES
    first = linear_page_index(vma, start)
    # The VMA keeps the file only as long as mmap_lock keeps the VMA.
    get_file(mapping)
    # The hole takes i_rwsem, and a write(2) that holds that may be waiting for mmap_lock
    # (madvise-remove-order, Z40c).
    mmap_read_unlock(mm)
    vfs_punch_hole(mm.memory, mapping, first, first + ((end - start) >> PAGE_SHIFT) - 1)
    fput(mm.memory, mapping)
    trace("madvise_remove", mm=mm.name, start=hex(start), end=hex(end))
    # The walk goes on by addresses: None says that the VMA of before may be gone.
    mmap_read_lock(mm)
    return None


def _dontneed_locked(vma: VmArea, _prev: VmArea | None, start: int, end: int) -> VmArea:
    """Drop the pages; needs mmap_lock for reading. When it returns the range reads as fresh."""
    # It returns when nobody can reach the pages any more, be it that another thread has emptied the entries
    # and is still to flush (zap-without-nested-flush, Z32).
    zap_page_range(vma, start, end)
    trace("madvise_dontneed", mm=vma.vm_mm.name, start=hex(start), end=hex(end))
    return vma


def _dontneed(vma: VmArea, prev: VmArea | None, start: int, end: int) -> VmArea | int:
    """As `_dontneed_locked`, but locked memory stays; needs mmap_lock for reading."""
    return EINVAL if vma.vm_flags & VM_LOCKED else _dontneed_locked(vma, prev, start, end)


def _free(vma: VmArea, prev: VmArea | None, start: int, end: int) -> VmArea | int:
    """As `_dontneed`, for private anonymous memory; needs mmap_lock for reading."""
    return _dontneed(vma, prev, start, end) if vma_is_anonymous(vma) else EINVAL


def _willneed(vma: VmArea, _prev: VmArea | None, _start: int, _end: int) -> VmArea:
    """Nothing is read ahead."""
    return vma


def _cold(vma: VmArea, _prev: VmArea | None, _start: int, _end: int) -> VmArea | int:
    """Locked memory and that of hugetlb files do not age; nor does any other here."""
    return EINVAL if vma.vm_flags & (VM_LOCKED | VM_HUGETLB) else vma


def _update_vma(vma: VmArea, prev: VmArea | None, start: int, end: int, advice: int) -> VmArea | int:
    """Keep the advice in the flags; needs mmap_lock for writing. Kernel: madvise_update_vma()."""
    gained, lost = _FLAGS[advice]
    old = vma.vm_flags
    if advice == MADV_DOFORK and old & VM_IO:
        return EINVAL
    if advice == MADV_DODUMP and old & VM_SPECIAL:
        return EINVAL
    if advice == MADV_WIPEONFORK and (vma.vm_file is not None or old & VM_SHARED):
        return EINVAL
    if advice in (MADV_MERGEABLE, MADV_UNMERGEABLE) and (
        old & (VM_SHARED | VM_SPECIAL) or vma.vm_file is not None
    ):
        return vma
    flags = (old | gained) & ~lost
    if flags == old:
        return vma
    changed = vma_modify_flags(prev, vma, start, end, flags)
    if isinstance(changed, int):
        # madvise_vma_behavior() turns -ENOMEM into that: memory may be there the next time.
        return EAGAIN
    # The flags are read by faults that hold the VMA's lock.
    vma_start_write(changed)
    changed.vm_flags = flags
    return changed


_VISITS: dict[int, Visit] = {
    MADV_WILLNEED: _willneed,
    MADV_DONTNEED: _dontneed,
    MADV_FREE: _free,
    MADV_COLD: _cold,
    MADV_PAGEOUT: _cold,
    MADV_DONTNEED_LOCKED: _dontneed_locked,
    MADV_COLLAPSE: madvise_collapse,
}
_POPULATE = (MADV_POPULATE_READ, MADV_POPULATE_WRITE)
_INJECT = (MADV_HWPOISON, MADV_SOFT_OFFLINE)
"""Only an administrator may break pages (CAP_SYS_ADMIN)."""
