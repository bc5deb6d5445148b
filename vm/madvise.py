"""madvise(2): what a process says about its memory. Kernel: mm/madvise.c, v6.1."""

from __future__ import annotations

from collections.abc import Callable

from concurrency import trace
from vm.errno import EAGAIN, EINVAL, ENOMEM, ESRCH
from vm.find import find_vma_prev, vma_find
from vm.layout import (
    PAGE_SIZE,
    VM_DONTCOPY,
    VM_HUGEPAGE,
    VM_IO,
    VM_LOCKED,
    VM_MERGEABLE,
    VM_NOHUGEPAGE,
    VM_RAND_READ,
    VM_SEQ_READ,
    VM_SHARED,
    VM_SPECIAL,
    VM_WIPEONFORK,
    page_align,
)
from vm.mm import MmStruct, mmap_read_lock, mmap_read_unlock, mmap_write_lock, mmap_write_unlock
from vm.mman import (
    MADV_DOFORK,
    MADV_DONTFORK,
    MADV_DONTNEED,
    MADV_HUGEPAGE,
    MADV_KEEPONFORK,
    MADV_MERGEABLE,
    MADV_NOHUGEPAGE,
    MADV_NORMAL,
    MADV_RANDOM,
    MADV_SEQUENTIAL,
    MADV_UNMERGEABLE,
    MADV_WIPEONFORK,
)
from vm.modify import vma_modify_flags
from vm.vma import VmArea
from vm.vma_lock import vma_start_write
from vm.zap import zap_page_range

_FLAGS = {
    MADV_NORMAL: (0, VM_RAND_READ | VM_SEQ_READ),
    MADV_SEQUENTIAL: (VM_SEQ_READ, VM_RAND_READ),
    MADV_RANDOM: (VM_RAND_READ, VM_SEQ_READ),
    MADV_DONTFORK: (VM_DONTCOPY, 0),
    MADV_DOFORK: (0, VM_DONTCOPY),
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
    take; -EAGAIN for too little memory; -ESRCH for an address space that has ended. Holes in the range are passed over
    and give -ENOMEM in the end.
    """
    size = page_align(length)
    if advice != MADV_DONTNEED and advice not in _FLAGS:
        return EINVAL
    if start & (PAGE_SIZE - 1) or start + size >= 1 << 64:
        return EINVAL
    if size == 0:
        return 0
    if advice == MADV_DONTNEED:
        mmap_read_lock(mm)
        result = ESRCH if mm.ended else _walk_vmas(mm, start, start + size, _dontneed)
        mmap_read_unlock(mm)
        return result

    def change(vma: VmArea, prev: VmArea | None, low: int, high: int) -> VmArea | int:
        return _update_vma(vma, prev, low, high, advice)

    mmap_write_lock(mm)
    result = ESRCH if mm.ended else _walk_vmas(mm, start, start + size, change)
    mmap_write_unlock(mm)
    return result


def _walk_vmas(
    mm: MmStruct,
    start: int,
    end: int,
    visit: Callable[[VmArea, VmArea | None, int, int], VmArea | int],
) -> int:
    """Call `visit` for the part of each VMA that lies in ``[start, end)``; kernel: madvise_walk_vmas()."""
    result = 0
    vma, prev = find_vma_prev(mm, start)
    if vma is not None and start > vma.vm_start:
        prev = vma
    while True:
        if vma is None:
            return ENOMEM
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
        start = max(stop, visited.vm_end)
        if start >= end:
            return result
        vma = vma_find(mm, start)


def _dontneed(vma: VmArea, _prev: VmArea | None, start: int, end: int) -> VmArea | int:
    """Drop the pages; needs mmap_lock for reading. When it returns the range reads as fresh."""
    if vma.vm_flags & VM_LOCKED:
        return EINVAL
    zap_page_range(vma, start, end)
    trace("madvise_dontneed", mm=vma.vm_mm.name, start=hex(start), end=hex(end))
    return vma


def _update_vma(vma: VmArea, prev: VmArea | None, start: int, end: int, advice: int) -> VmArea | int:
    """Keep the advice in the flags; kernel: madvise_update_vma()."""
    gained, lost = _FLAGS[advice]
    old = vma.vm_flags
    if advice == MADV_DOFORK and old & VM_IO:
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
        return EAGAIN
    vma_start_write(changed)
    changed.vm_flags = flags
    return changed
