"""Changing the set of VMAs: mmap, munmap, split, adjust, expand, and the end of an address space.

Kernel: mm/mmap.c, v6.1. Everything here needs mmap_lock for writing unless it says otherwise. Calls return 0 (or an
address) or a negative error number, and after an error everything is mapped as before, unless it says otherwise.
"""

from __future__ import annotations

from concurrency import bug_on, trace
from lockdep.gfp import GFP_KERNEL
from tree import MAX, Busy, NoMemory, VmaCursor
from vm.anon_vma import (
    AnonVma,
    anon_vma_clone,
    anon_vma_lock_write,
    anon_vma_merge,
    anon_vma_unlock_write,
    post_update_vma,
    pre_update_vma,
    unlink_anon_vmas,
)
from vm.errno import EINVAL, ENOMEM, EPERM, ESRCH
from vm.layout import (
    MAX_MAP_COUNT,
    MMAP_MIN_ADDR,
    PAGE_SHIFT,
    PAGE_SIZE,
    TASK_SIZE,
    USER_PGTABLES_CEILING,
    VM_GROWSDOWN,
    page_align,
)
from vm.memory import MmuGather, free_pgtables, tlb_finish_mmu, unmap_region, unmap_vmas
from vm.mm import (
    MM_ANONPAGES,
    MM_FILEPAGES,
    MmStruct,
    mmap_read_lock,
    mmap_read_unlock,
    mmap_write_downgrade,
    mmap_write_lock,
    mmap_write_unlock,
)
from vm.vma import VmArea, vm_area_alloc, vm_area_free, vma_pages

Mas = VmaCursor[VmArea]
"""A place in an address space; kernel: struct ma_state."""


def vma_find(mm: MmStruct, start: int, end: int = MAX) -> VmArea | None:
    """The first VMA that reaches into ``[start, end)``."""
    return mm.mm_mt.cursor(start).find(end - 1)


def vma_prev(mm: MmStruct, address: int, limit: int = 0) -> VmArea | None:
    """The last VMA that ends at or below `address`, but above `limit`."""
    return mm.mm_mt.cursor(address).prev(limit)


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

    The reserve serves one store. Where `vma` loses its lower part, that is the store of `vma` over what it keeps;
    then the store of `insert` fits one slot exactly, and needs no node.
    """
    mm = vma.vm_mm
    keeps_end = end == vma.vm_end
    first = (start, end) if keeps_end else (insert.vm_start, insert.vm_end)
    mas = mm.mm_mt.cursor(first[0], first[1] - 1)
    try:
        mas.preallocate(vma, GFP_KERNEL)
    except NoMemory:
        return ENOMEM
    anon_vma = vma.anon_vma
    if anon_vma is not None:
        anon_vma_lock_write(anon_vma)
        pre_update_vma(vma)
    if keeps_end:
        vma.vm_start = start
        vma_store(mas, vma)
    else:
        vma.vm_end = end
    vma.vm_pgoff = pgoff
    vma_store(mas, insert)
    mm.map_count += 1
    if anon_vma is not None:
        post_update_vma(vma)
        anon_vma_unlock_write(anon_vma)
    trace("vma_adjust", vma=vma.name)
    return 0


def vma_expand(mas: Mas, vma: VmArea, start: int, end: int, pgoff: int, following: VmArea | None) -> int:
    """Grow `vma` to ``[start, end)``, swallowing `following` if that ends there; 0 or -ENOMEM.

    If only `following` has an anon_vma, `vma` inherits it before the lock is chosen: the lock must be that of the
    anon_vma that the pages are in. What `vma` has inherited it keeps when the memory for the tree is missing.
    """
    mm = vma.vm_mm
    swallowed = (
        following if following is not vma and following is not None and following.vm_end == end else None
    )
    if swallowed is not None and swallowed.anon_vma is not None and vma.anon_vma is None:
        vma.anon_vma = swallowed.anon_vma
        if not anon_vma_clone(vma, swallowed):
            return ENOMEM
    mas.set_range(start, end - 1)
    try:
        mas.preallocate(vma, GFP_KERNEL)
    except NoMemory:
        return ENOMEM
    anon_vma = vma.anon_vma
    if anon_vma is not None:
        anon_vma_lock_write(anon_vma)
        pre_update_vma(vma)
    vma.vm_start = start
    vma.vm_end = end
    vma.vm_pgoff = pgoff
    vma_store(mas, vma)
    if anon_vma is not None:
        post_update_vma(vma)
        anon_vma_unlock_write(anon_vma)
    if swallowed is not None:
        if swallowed.anon_vma is not None:
            anon_vma_merge(vma, swallowed)
        mm.map_count -= 1
        vm_area_free(swallowed)
    trace("vma_expand", vma=vma.name)
    return 0


def can_vma_merge(vma: VmArea, flags: int, anon_vma: AnonVma | None, pgoff: int) -> bool:
    """`vma` may become one with a neighbour of these flags and this anon_vma, whose first page would be `pgoff`.

    `pgoff` is given as if the neighbour came first. Two anon_vmas never become one; and a VMA that is linked to the
    anon_vmas of its parents is not given a new one (is_mergeable_anon_vma()).
    """
    if vma.vm_flags != flags or vma.vm_pgoff != pgoff:
        return False
    mine = vma.anon_vma
    if (mine is None or anon_vma is None) and len(vma.anon_vma_chain) == 1:
        return True
    return mine is anon_vma


def split_vma(vma: VmArea, address: int, *, new_below: bool) -> int:
    """Cut `vma` in two at `address`; the new VMA is the part below or above. 0 or -ENOMEM, and nothing has changed.

    The new VMA is linked into the rmap trees before the old one shrinks, so no page is ever out of their reach.
    Kernel: __split_vma(), which leaves looking at map_count to its callers.
    """
    mm = vma.vm_mm
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
    """Check the range and unmap it; as `do_mas_align_munmap`."""
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
    """Unmap the page-aligned ``[start, end)``, of which `vma` is the first VMA.

    1 if mmap_lock was downgraded, 0 if it is still held for writing, or a negative error. The VMAs are cut at the
    borders, taken out of the tree by one store, and stay in their rmap trees until their entries are zapped. What
    is cut off at a border is the new VMA, so that the one that is left stays itself. After an error everything is
    still mapped, but a VMA may be left cut in two.

    Simpler here: the VMAs are collected in a list, not in a second maple tree. The nodes for the one store are
    reserved after the cuts, not before: the tree reserves as v6.6 does, exactly, where v6.1 took the worst case.
    """
    if start > vma.vm_start:
        if end < vma.vm_end and mm.map_count >= MAX_MAP_COUNT:
            return ENOMEM
        error = split_vma(vma, start, new_below=False)
        if error:
            return error
    before = vma_prev(mm, start)
    doomed = []
    walk = mm.mm_mt.cursor(start)
    while (found := walk.find(end - 1)) is not None:
        if found.vm_end > end:
            error = split_vma(found, end, new_below=True)
            if error:
                return error
            walk.set_range(end - 1, end - 1)
            found = walk.walk()
            assert found is not None
        doomed.append(found)
    after = vma_find(mm, end)
    mas = mm.mm_mt.cursor(start, end - 1)
    try:
        mas.preallocate(None, GFP_KERNEL)
    except NoMemory:
        return ENOMEM
    mas.set_range(start, end - 1)
    mas.store_prealloc(None)
    mm.map_count -= len(doomed)
    trace("vma_mas_szero", start=hex(start), end=hex(end))
    if after is not None and after.vm_flags & VM_GROWSDOWN:
        downgrade = False
    floor = 0 if before is None else before.vm_end
    ceiling = USER_PGTABLES_CEILING if after is None else after.vm_start
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
    free place below `mm.mmap_base`. -EINVAL for no length or an unaligned address, -ENOMEM for too much of anything,
    -EPERM for the addresses around NULL, -ESRCH for an address space that has ended.

    As in the kernel, what was mapped at `address` is gone even if the memory for the new mapping is missing.
    """
    mmap_write_lock(mm)
    result = ESRCH if mm.ended else _mmap_locked(mm, address, length, flags)
    mmap_write_unlock(mm)
    return result


def _mmap_locked(mm: MmStruct, address: int | None, length: int, flags: int) -> int:
    if length == 0:
        return EINVAL
    size = page_align(length)
    if not 0 < size <= TASK_SIZE or mm.map_count > MAX_MAP_COUNT:
        return ENOMEM
    address = get_unmapped_area(mm, address, size)
    if address < 0:
        return address
    if do_mas_munmap(mm, address, size) < 0:
        return ENOMEM
    return mmap_region(mm, address, address + size, flags)


def get_unmapped_area(mm: MmStruct, address: int | None, size: int) -> int:
    """Where a mapping of `size` bytes goes: at `address` if that is possible at all, else wherever there is room."""
    if address is None:
        free = mm.mm_mt.cursor()
        if size > mm.mmap_base - MMAP_MIN_ADDR:
            return ENOMEM
        try:
            free.empty_area_rev(MMAP_MIN_ADDR, mm.mmap_base - 1, size)
        except Busy:
            return ENOMEM
        return free.last + 1 - size
    if not 0 <= address <= TASK_SIZE - size:
        return ENOMEM
    if address & (PAGE_SIZE - 1):
        return EINVAL
    return EPERM if address < MMAP_MIN_ADDR else address


def mmap_region(mm: MmStruct, start: int, end: int, flags: int) -> int:
    """Map the free range ``[start, end)``, growing a neighbour that is alike, or both into one: `start` or -ENOMEM."""
    pgoff = start >> PAGE_SHIFT
    after, before = vma_find(mm, end), vma_prev(mm, start)
    grown: VmArea | None = None
    new_start, new_end, new_pgoff = start, end, pgoff
    if after is not None and after.vm_start == end and can_vma_merge(after, flags, None, end >> PAGE_SHIFT):
        grown = after
        new_end, new_pgoff = after.vm_end, pgoff
    if before is not None and before.vm_end == start:
        anon_vma = None if grown is None else grown.anon_vma
        if can_vma_merge(before, flags, anon_vma, pgoff - vma_pages(before)):
            grown = before
            new_start, new_pgoff = before.vm_start, before.vm_pgoff
    mas = mm.mm_mt.cursor(start, end - 1)
    if grown is not None and vma_expand(mas, grown, new_start, new_end, new_pgoff, after) == 0:
        return start
    vma = vm_area_alloc(mm, start, end, pgoff, flags)
    if vma is None:
        return ENOMEM
    mas.set_range(start, end - 1)
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
    """Tear the address space down; no task of its process runs any more. Takes mmap_lock.

    The pages go under the lock for reading, page tables and VMAs under the lock for writing: rmap walks may still
    come by. Fails with the kernel's words if pages are still counted afterwards (check_mm() in kernel/fork.c).
    """
    bug_on(
        mm.ended,
        f"kernel BUG at kernel/fork.c: __mmput(): VM_BUG_ON(atomic_read(&mm->mm_users)) mm:{mm.name}",
    )
    mm.ended = True
    tlb = MmuGather(mm)
    mmap_read_lock(mm)
    walk = mm.mm_mt.cursor()
    doomed = []
    while (found := walk.find()) is not None:
        doomed.append(found)
    unmap_vmas(tlb, doomed, 0, TASK_SIZE)
    mmap_read_unlock(mm)
    mmap_write_lock(mm)
    free_pgtables(mm, doomed, 0, USER_PGTABLES_CEILING)
    tlb_finish_mmu(tlb)
    for vma in doomed:
        vm_area_free(vma)
    bug_on(
        len(doomed) != mm.map_count,
        f"kernel BUG at mm/mmap.c: exit_mmap(): BUG_ON(count != mm->map_count) mm:{mm.name}",
    )
    mm.mm_mt.destroy()
    mm.map_count = 0
    mmap_write_unlock(mm)
    for member in (MM_ANONPAGES, MM_FILEPAGES):
        left = mm.rss[member]
        bug_on(left, f"BUG: Bad rss-counter state mm:{mm.name} type:{member} val:{left}", "rss")
