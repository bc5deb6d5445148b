"""Changing the set of VMAs: mmap, munmap, split, adjust, expand, and the end of an address space.

Kernel: mm/mmap.c, v6.1. Everything here needs mmap_lock for writing unless it says otherwise. Calls return 0 (or an
address) or a negative error number, and change nothing when they fail.
"""

from __future__ import annotations

from concurrency import bug_on, trace
from lockdep.gfp import GFP_KERNEL
from tree import MAX, Busy, MaState, NoMemory
from vm.anon_vma import (
    anon_vma_clone,
    anon_vma_lock_write,
    anon_vma_unlock_write,
    post_update_vma,
    pre_update_vma,
    unlink_anon_vmas,
)
from vm.errno import EINVAL, ENOMEM
from vm.layout import (
    MAX_MAP_COUNT,
    MMAP_MIN_ADDR,
    PAGE_SHIFT,
    PAGE_SIZE,
    TASK_SIZE,
    VM_GROWSDOWN,
    page_align,
)
from vm.memory import unmap_region
from vm.mm import (
    MM_ANONPAGES,
    MM_FILEPAGES,
    MmStruct,
    mmap_read_unlock,
    mmap_write_downgrade,
    mmap_write_lock,
    mmap_write_unlock,
)
from vm.vma import VmArea, vm_area_alloc, vm_area_free

Mas = MaState[VmArea]


def vma_find(mm: MmStruct, start: int, end: int = MAX) -> VmArea | None:
    """The first VMA that reaches into ``[start, end)``."""
    return Mas(mm.mm_mt, start).find(end - 1)


def vma_prev(mm: MmStruct, address: int) -> VmArea | None:
    """The last VMA that ends at or below `address`."""
    return Mas(mm.mm_mt, address).prev()


def vma_store(mas: Mas, vma: VmArea) -> None:
    """Put `vma` into the tree under the range that it has now, from what `mas` has reserved."""
    mas.set_range(vma.vm_start, vma.vm_end - 1)
    mas.store_prealloc(vma)
    trace("vma_store", vma=vma.name)


# -- adjusting --------------------------------------------------------------------------------------------------


def vma_adjust(vma: VmArea, start: int, end: int, pgoff: int, insert: VmArea) -> int:
    """Shrink `vma` to ``[start, end)`` and let `insert` have the rest, all in one rmap critical section.

    0 or -ENOMEM. Memory is reserved before the rmap lock is taken: under it no allocation may reclaim. `insert` is
    in its rmap trees already (by `anon_vma_clone`), so together the two cover the old range at every moment.
    """
    mm = vma.vm_mm
    mas, mas_insert = (
        Mas(mm.mm_mt, vma.vm_start, vma.vm_end - 1),
        Mas(mm.mm_mt, insert.vm_start, insert.vm_end - 1),
    )
    try:
        mas.preallocate(vma, GFP_KERNEL)
        mas_insert.preallocate(insert, GFP_KERNEL)
    except NoMemory:
        mas.destroy()
        mas_insert.destroy()
        return ENOMEM
    anon_vma = vma.anon_vma
    if anon_vma is not None:
        anon_vma_lock_write(anon_vma)
        pre_update_vma(vma)
    vma.vm_start = start
    vma.vm_end = end
    vma.vm_pgoff = pgoff
    vma_store(mas_insert, insert)
    mm.map_count += 1
    mas.destroy()
    if anon_vma is not None:
        post_update_vma(vma)
        anon_vma_unlock_write(anon_vma)
    trace("vma_adjust", vma=vma.name)
    return 0


def vma_expand(mas: Mas, vma: VmArea, end: int, following: VmArea | None = None) -> int:
    """Grow `vma` up to `end`, swallowing `following` if that begins there; 0 or -ENOMEM.

    If only `following` has an anon_vma, `vma` inherits it before the lock is chosen: the lock must be that of the
    anon_vma that the pages are in.
    """
    mm = vma.vm_mm
    if following is not None and following.anon_vma is not None and vma.anon_vma is None:
        vma.anon_vma = following.anon_vma
        if not anon_vma_clone(vma, following):
            return ENOMEM
    mas.set_range(vma.vm_start, end - 1)
    try:
        mas.preallocate(vma, GFP_KERNEL)
    except NoMemory:
        return ENOMEM
    anon_vma = vma.anon_vma
    if anon_vma is not None:
        anon_vma_lock_write(anon_vma)
        pre_update_vma(vma)
    vma.vm_end = end
    vma_store(mas, vma)
    if anon_vma is not None:
        post_update_vma(vma)
        anon_vma_unlock_write(anon_vma)
    if following is not None:
        unlink_anon_vmas(following)
        mm.map_count -= 1
        vm_area_free(following)
    trace("vma_expand", vma=vma.name)
    return 0


def split_vma(vma: VmArea, address: int, *, new_below: bool) -> int:
    """Cut `vma` in two at `address`; the new VMA is the part below or above. 0 or -ENOMEM.

    The new VMA is linked into the rmap trees before the old one shrinks, so no page is ever out of their reach.
    """
    mm = vma.vm_mm
    if mm.map_count >= MAX_MAP_COUNT:
        return ENOMEM
    start, end, pgoff = vma.vm_start, vma.vm_end, vma.vm_pgoff
    middle = pgoff + ((address - start) >> PAGE_SHIFT)
    if new_below:
        new = vm_area_alloc(mm, start, address, pgoff, vma.vm_flags)
    else:
        new = vm_area_alloc(mm, address, end, middle, vma.vm_flags)
    if new is None:
        return ENOMEM
    new.anon_vma = vma.anon_vma
    if not anon_vma_clone(new, vma):
        vm_area_free(new)
        return ENOMEM
    if new_below:
        error = vma_adjust(vma, address, end, middle, new)
    else:
        error = vma_adjust(vma, start, address, pgoff, new)
    if error:
        unlink_anon_vmas(new)
        vm_area_free(new)
    return error


# -- unmapping --------------------------------------------------------------------------------------------------


def do_munmap(mm: MmStruct, start: int, length: int) -> int:
    """munmap(2): remove all mappings of ``[start, start + length)``. Takes mmap_lock. 0 or a negative error.

    The zap runs under the downgraded lock whenever no neighbour can grow into the hole.
    """
    mmap_write_lock(mm)
    result = do_mas_munmap(mm, start, length, downgrade=True)
    if result == 1:
        mmap_read_unlock(mm)
        return 0
    mmap_write_unlock(mm)
    return result


def do_mas_munmap(mm: MmStruct, start: int, length: int, *, downgrade: bool = False) -> int:
    """Check the range and unmap it; as `do_mas_align_munmap`."""
    if start & (PAGE_SIZE - 1) or start > TASK_SIZE or length > TASK_SIZE - start:
        return EINVAL
    end = start + page_align(length)
    if end == start:
        return EINVAL
    vma = vma_find(mm, start, end)
    if vma is None:
        return 0
    return do_mas_align_munmap(mm, vma, start, end, downgrade=downgrade)


def do_mas_align_munmap(mm: MmStruct, vma: VmArea, start: int, end: int, *, downgrade: bool) -> int:
    """Unmap the page-aligned ``[start, end)``, of which `vma` is the first VMA.

    1 if mmap_lock was downgraded, 0 if it is still held for writing, or a negative error. The VMAs are cut at the
    borders, taken out of the tree by one store, and stay in their rmap trees until their entries are zapped.
    """
    mas = Mas(mm.mm_mt, start, end - 1)
    try:
        mas.preallocate(None, GFP_KERNEL)
    except NoMemory:
        return ENOMEM
    if start > vma.vm_start:
        error = split_vma(vma, start, new_below=True)
        if error:
            mas.destroy()
            return error
    last = vma_find(mm, end - 1, end)
    if last is not None and last.vm_end > end:
        error = split_vma(last, end, new_below=False)
        if error:
            mas.destroy()
            return error
    doomed = []
    walk = Mas(mm.mm_mt, start)
    while (found := walk.find(end - 1)) is not None:
        doomed.append(found)
    before, after = vma_prev(mm, start), vma_find(mm, end)
    mas.set_range(start, end - 1)
    mas.store_prealloc(None)
    mm.map_count -= len(doomed)
    trace("vma_mas_szero", start=hex(start), end=hex(end))
    if after is not None and after.vm_flags & VM_GROWSDOWN:
        downgrade = False
    floor = 0 if before is None else before.vm_end
    ceiling = TASK_SIZE if after is None else after.vm_start
    if downgrade:
        mmap_write_downgrade(mm)
    unmap_region(mm, doomed, floor, ceiling, start, end)
    for gone in doomed:
        vm_area_free(gone)
    return int(downgrade)


# -- mapping ----------------------------------------------------------------------------------------------------


def do_mmap(mm: MmStruct, address: int | None, length: int, flags: int) -> int:
    """mmap(2) of anonymous private memory: the address, or a negative error. Takes mmap_lock.

    With `address` the range is mapped there, whatever was there before (MAP_FIXED); with None it goes to the highest
    free place below `mm.mmap_base`.
    """
    size = page_align(length)
    if length <= 0:
        return EINVAL
    if size > TASK_SIZE - MMAP_MIN_ADDR:
        return ENOMEM
    mmap_write_lock(mm)
    result = _mmap_locked(mm, address, size, flags)
    mmap_write_unlock(mm)
    return result


def _mmap_locked(mm: MmStruct, address: int | None, size: int, flags: int) -> int:
    if address is None:
        free = Mas(mm.mm_mt)
        try:
            free.empty_area_rev(MMAP_MIN_ADDR, mm.mmap_base - 1, size)
        except Busy:
            return ENOMEM
        address = free.last + 1 - size
    elif address & (PAGE_SIZE - 1) or address < MMAP_MIN_ADDR or address + size > TASK_SIZE:
        return EINVAL
    elif (error := do_mas_munmap(mm, address, size)) < 0:
        return error
    return mmap_region(mm, address, address + size, flags)


def mmap_region(mm: MmStruct, start: int, end: int, flags: int) -> int:
    """Map the free range ``[start, end)``, growing the VMA before it if that is alike: `start` or -ENOMEM."""
    if mm.map_count >= MAX_MAP_COUNT:
        return ENOMEM
    mas = Mas(mm.mm_mt, start, end - 1)
    before = vma_prev(mm, start)
    if before is not None and before.vm_end == start and before.vm_flags == flags:
        return vma_expand(mas, before, end) or start
    vma = vm_area_alloc(mm, start, end, start >> PAGE_SHIFT, flags)
    if vma is None:
        return ENOMEM
    try:
        mas.preallocate(vma, GFP_KERNEL)
    except NoMemory:
        vm_area_free(vma)
        return ENOMEM
    vma_store(mas, vma)
    mm.map_count += 1
    return start


# -- the end ----------------------------------------------------------------------------------------------------


def exit_mmap(mm: MmStruct) -> None:
    """Tear the address space down; nobody else uses it any more. Takes mmap_lock.

    Fails with the kernel's words if pages are still counted afterwards (check_mm() in kernel/fork.c).
    """
    mmap_write_lock(mm)
    doomed = [vma for _, _, vma in mm.mm_mt]
    unmap_region(mm, doomed, 0, TASK_SIZE, 0, TASK_SIZE)
    mm.mm_mt.destroy()
    mm.map_count -= len(doomed)
    for vma in doomed:
        vm_area_free(vma)
    mmap_write_unlock(mm)
    for member in (MM_ANONPAGES, MM_FILEPAGES):
        left = mm.rss[member]
        bug_on(left, f"BUG: Bad rss-counter state mm:{mm.name} type:{member} val:{left}", "rss")
