"""mmap(2): making mappings. Kernel: mm/mmap.c, v6.1.

Calls return an address or a negative error number.
"""

from __future__ import annotations

from sugarbush.concurrency import bug_on
from sugarbush.lockdep.model import GFP_KERNEL
from sugarbush.tree import Busy, NoMemory
from sugarbush.vm.files import (
    HugetlbFile,
    fput,
    get_file,
    i_mmap_lock_write,
    i_mmap_unlock_write,
    is_vm_hugetlb_page,
    shmem_zero_setup,
    vma_interval_tree_insert,
)
from sugarbush.vm.huge import hugetlb_file_mmap
from sugarbush.vm.objects import (
    EEXIST,
    EINVAL,
    ENOMEM,
    EPERM,
    ESRCH,
    MAX_MAP_COUNT,
    MMAP_MIN_ADDR,
    PAGE_SHIFT,
    PAGE_SIZE,
    TASK_SIZE,
    USER_PGTABLES_CEILING,
    VM_ACCOUNT,
    VM_DONTEXPAND,
    VM_GROWSDOWN,
    VM_HUGETLB,
    VM_LOCKED,
    VM_MAYEXEC,
    VM_MAYREAD,
    VM_MAYSHARE,
    VM_MAYWRITE,
    VM_NORESERVE,
    VM_SHARED,
    VM_SPECIAL,
    VM_WRITE,
    AddressSpace,
    MmStruct,
    VmArea,
    page_align,
)
from sugarbush.vm.spaces import (
    Mas,
    mmap_write_lock,
    mmap_write_unlock,
    vm_area_alloc,
    vm_area_free,
    vm_start_gap,
    vma_find,
    vma_mark_attached,
    vma_prev,
    vma_set_page_prot,
    vma_start_write,
    vma_store,
)
from sugarbush.vm.syscalls.mman import (
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_FIXED_NOREPLACE,
    MAP_GROWSDOWN,
    MAP_LOCKED,
    MAP_NORESERVE,
    MAP_PRIVATE,
    MAP_SHARED,
    calc_vm_prot_bits,
)
from sugarbush.vm.vmas import (
    can_vma_merge_after,
    can_vma_merge_before,
    do_mas_munmap,
    mmap_file,
    remove_vma,
    unmap_region,
    vma_expand,
    vma_merge,
)

MAP_TYPE = MAP_SHARED | MAP_PRIVATE


def sys_mmap(
    mm: MmStruct,
    address: int,
    length: int,
    prot: int,
    flags: int,
    file: AddressSpace | None = None,
    offset: int = 0,
) -> int:
    """mmap(2): the address, or a negative error. Takes mmap_lock for writing.

    `length` and `offset` are in bytes. Without MAP_FIXED, `address` is a wish that counts if the range is free.
    -EINVAL for no length, an unaligned address or offset, or neither MAP_SHARED nor MAP_PRIVATE; -EEXIST under
    MAP_FIXED_NOREPLACE; -ENOMEM for too much of anything; -EPERM for the addresses around NULL; -ESRCH for an
    address space that has ended. As in the kernel, what was mapped at a fixed `address` is gone even if the
    memory for the new mapping is missing.

    Kernel: ksys_mmap_pgoff() and do_mmap().
    """
    if offset & (PAGE_SIZE - 1) or (file is None) != bool(flags & MAP_ANONYMOUS):
        return EINVAL
    mmap_write_lock(mm)
    result = ESRCH if mm.ended else _do_mmap(mm, address, length, prot, flags, file, offset >> PAGE_SHIFT)
    mmap_write_unlock(mm)
    return result


def _do_mmap(
    mm: MmStruct, address: int, length: int, prot: int, flags: int, file: AddressSpace | None, pgoff: int
) -> int:
    """As `sys_mmap`, which has checked `offset`; needs mmap_lock for writing."""
    if length == 0:
        return EINVAL
    size = page_align(length)
    if not 0 < size <= TASK_SIZE or mm.map_count > MAX_MAP_COUNT:
        return ENOMEM
    fixed = bool(flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))
    wish = address if fixed else _usable_hint(mm, address, size)
    address = get_unmapped_area(mm, wish, size)
    if address < 0:
        return address
    # Under the lock under which it is mapped, so nobody comes in between: that is what the flag is for.
    if flags & MAP_FIXED_NOREPLACE and vma_find(mm, address, address + size) is not None:
        return EEXIST
    vm_flags = calc_vm_prot_bits(prot) | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC
    if flags & MAP_GROWSDOWN:
        vm_flags |= VM_GROWSDOWN
    if flags & MAP_LOCKED:
        vm_flags |= VM_LOCKED
    if flags & MAP_NORESERVE:
        vm_flags |= VM_NORESERVE
    # Shared anonymous memory is a file of its own, from its first page; private memory has for offset the
    # page of its address, so that neighbours fit together by themselves.
    kind = flags & MAP_TYPE
    if isinstance(file, HugetlbFile):
        vm_flags |= VM_HUGETLB | VM_DONTEXPAND
    if kind == MAP_SHARED:
        if file is None and vm_flags & VM_GROWSDOWN:
            return EINVAL
        vm_flags |= VM_SHARED | VM_MAYSHARE
        pgoff = 0 if file is None else pgoff
    elif kind != MAP_PRIVATE:
        return EINVAL
    elif file is None:
        pgoff = address >> PAGE_SHIFT
    if accountable_mapping(vm_flags):
        vm_flags |= VM_ACCOUNT
    return _unmap_and_map(mm, address, size, vm_flags, file, pgoff)


def _usable_hint(mm: MmStruct, address: int, size: int) -> int | None:
    """The page that the caller would like best, if its range is free."""
    address = max(page_align(address), MMAP_MIN_ADDR) if address else 0
    if not address or address > TASK_SIZE - size:
        return None
    following = vma_find(mm, address)
    return address if following is None or address + size <= vm_start_gap(following) else None


def do_mmap(mm: MmStruct, address: int | None, length: int, flags: int) -> int:
    """Map anonymous private memory with the VMA flags `flags`; as `sys_mmap`, which makes them out of the user's.

    Takes mmap_lock for writing. With `address` the range is mapped there, whatever was there before; with None it
    goes to the highest free place below `mm.mmap_base`.
    """
    mmap_write_lock(mm)
    result = ESRCH if mm.ended else _mmap_locked(mm, address, length, flags)
    mmap_write_unlock(mm)
    return result


def _mmap_locked(mm: MmStruct, address: int | None, length: int, flags: int) -> int:
    """As `do_mmap`; needs mmap_lock for writing."""
    if length == 0:
        return EINVAL
    size = page_align(length)
    if not 0 < size <= TASK_SIZE or mm.map_count > MAX_MAP_COUNT:
        return ENOMEM
    address = get_unmapped_area(mm, address, size)
    if address < 0:
        return address
    return _unmap_and_map(mm, address, size, flags, None, address >> PAGE_SHIFT)


def _unmap_and_map(
    mm: MmStruct, address: int, size: int, flags: int, file: AddressSpace | None, pgoff: int
) -> int:
    """Map in place of what is there; needs mmap_lock for writing."""
    # First, and not undone if the rest fails: so does v6.1. Without a downgrade, for the lock is still
    # needed.
    if do_mas_munmap(mm, address, size) < 0:
        return ENOMEM
    return mmap_region(mm, address, address + size, flags, file, pgoff)


def get_unmapped_area(mm: MmStruct, address: int | None, size: int) -> int:
    """Where a mapping of `size` bytes goes: at `address` if that is possible at all, else wherever there is
    room. Needs mmap_lock.
    """
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


def accountable_mapping(flags: int) -> bool:
    """The mapping may come to need memory of its own, so it counts against what may be promised."""
    return flags & (VM_NORESERVE | VM_SHARED | VM_WRITE) == VM_WRITE


def mmap_region(mm: MmStruct, start: int, end: int, flags: int, file: AddressSpace | None, pgoff: int) -> int:
    """Map the free range ``[start, end)``, growing a neighbour that is alike, or both into one: `start`, -ENOMEM, or
    what the driver of `file` says.

    Needs mmap_lock for writing. A driver is asked for a new VMA only (`vm.vmas.vm_ops`).
    """
    # What a driver maps stands by itself.
    if not flags & VM_SPECIAL and _expand_neighbour(mm, start, end, flags, file, pgoff):
        return start
    vma = vm_area_alloc(mm, start, end, pgoff, flags, file)
    if vma is None:
        return ENOMEM
    error = 0
    if file is not None:
        get_file(file)
        if is_vm_hugetlb_page(vma):
            error = hugetlb_file_mmap(vma)
    elif flags & VM_SHARED:
        shmem_zero_setup(vma)
    if not error and file is not None and file.f_op is not None:
        return mmap_new_file_vma(mm, vma, flags) or start
    error = error or vma_link(mm, vma)
    if error:
        remove_vma(vma)
        return error
    return start


def mmap_new_file_vma(mm: MmStruct, vma: VmArea, flags: int) -> int:
    """Let the driver of its file map the new `vma`, and link it; 0, or an error, and nothing is left of it. Needs
    mmap_lock for writing.

    All memory is reserved before the driver is asked: after it nothing can fail, so nothing that it did has to be
    undone but by itself (since v6.12, 5de195060b2e, CVE-2024-53096). If it fails, what it has mapped already is
    unmapped, with no file: its driver is told nothing more. If it has changed `vm_flags`, the VMA may be like a
    neighbour now.

    Kernel: __mmap_new_vma(), __mmap_new_file_vma(), v6.12; a part of mmap_region() before.
    """
    file = vma.vm_file
    assert file is not None
    start, end = vma.vm_start, vma.vm_end
    mas = mm.mm_mt.cursor(start, end - 1)
    try:
        # Here, and not behind the hook: memory that is missing then would find the driver's work done and
        # nobody to undo it (mmap-not-undone, Z82m).
        mas.preallocate(vma, GFP_KERNEL)
    except NoMemory:
        fput(mm.memory, file)
        vm_area_free(vma)
        return ENOMEM
    error = mmap_file(file, vma)
    if error:
        mas.destroy()
        undo_mmap(mm, vma)
        return error
    bug_on(
        (vma.vm_start, vma.vm_end) != (start, end),
        f"WARNING: mmap_region(): WARN_ON_ONCE(addr != vma->vm_start): the driver of {file.name} has moved its VMA",
    )
    vma_link_reserved(mas, vma)
    if vma.vm_flags != flags:
        vma_set_page_prot(vma)
        # After the link, so that there is nothing to undo if there is no memory for it: then there are two
        # VMAs.
        vma_merge(mm, vma_prev(mm, start), start, end, vma.vm_flags, None, vma.vm_file, vma.vm_pgoff)
    return 0


def undo_mmap(mm: MmStruct, vma: VmArea) -> None:
    """Unmap what the driver of `vma`, which is in no tree, has mapped; give its file back, and free it.

    Needs mmap_lock for writing. Kernel: the end of mmap_region().
    """
    file = vma.vm_file
    assert file is not None
    fput(mm.memory, file)
    # Taken away before the unmap: no hook of the driver's may be called for a VMA whose mapping failed.
    vma.vm_file = None
    # As for an munmap: the tables that the driver's pages are in may be used by neighbours, too.
    before, after = vma_prev(mm, vma.vm_start), vma_find(mm, vma.vm_end)
    floor = 0 if before is None else before.vm_end
    ceiling = USER_PGTABLES_CEILING if after is None else after.vm_start
    unmap_region(mm, [vma], floor, ceiling, vma.vm_start, vma.vm_end)
    vm_area_free(vma)


def _expand_neighbour(
    mm: MmStruct, start: int, end: int, flags: int, file: AddressSpace | None, pgoff: int
) -> bool:
    """Let a neighbour grow over the range, or both into one; True if so. Needs mmap_lock for writing."""
    after, before = vma_find(mm, end), vma_prev(mm, start)
    grown: VmArea | None = None
    new_start, new_end, new_pgoff = start, end, pgoff
    above = pgoff + ((end - start) >> PAGE_SHIFT)
    if after is not None and after.vm_start == end and can_vma_merge_before(after, flags, None, file, above):
        grown, new_end = after, after.vm_end
    if before is not None and before.vm_end == start:
        # If the upper one grows with it both are one VMA afterwards, so the lower must go with the anon_vma
        # of that.
        anon_vma = None if grown is None else grown.anon_vma
        if can_vma_merge_after(before, flags, anon_vma, file, pgoff):
            grown, new_start, new_pgoff = before, before.vm_start, before.vm_pgoff
    return grown is not None and vma_expand(grown, new_start, new_end, new_pgoff, after) == 0


def vma_link(mm: MmStruct, vma: VmArea) -> int:
    """Put a new VMA, whose range is free, into the tree and into its file's; 0 or -ENOMEM.

    Needs mmap_lock for writing.
    """
    mas = mm.mm_mt.cursor(vma.vm_start, vma.vm_end - 1)
    try:
        # Before the locks of VMA and file: under those of rmap nothing may reclaim.
        mas.preallocate(vma, GFP_KERNEL)
    except NoMemory:
        return ENOMEM
    vma_link_reserved(mas, vma)
    return 0


def vma_link_reserved(mas: Mas, vma: VmArea) -> None:
    """As `vma_link`, with the memory that `mas` has reserved, so it cannot fail. Needs mmap_lock for writing."""
    mm = vma.vm_mm
    # Before the store, by which faults can find it while flags and rights may still be changed; and before
    # the lock of the file's tree, in which order everybody takes the two (vma-lock-order, Z21).
    vma_start_write(vma)
    mapping = vma.vm_file
    if mapping is not None:
        i_mmap_lock_write(mapping)
    vma_mark_attached(vma)
    # Tree and file's tree in one section: a truncate that walks the file's mappings finds it if a fault does.
    vma_store(mas, vma)
    mm.map_count += 1
    if mapping is not None:
        vma_interval_tree_insert(vma, mapping)
        i_mmap_unlock_write(mapping)
