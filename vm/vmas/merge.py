"""Which VMAs become one. Kernel: vma_merge() and its helpers in mm/mmap.c, v6.1.

Everything here needs mmap_lock for writing. To take a right from the middle of a mapping cuts it in three; to give it
back makes one of the three, by case 6 of `vma_merge`:

    >>> from sugarbush.vm.syscalls import MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_READ, PROT_WRITE
    >>> from sugarbush.vm.syscalls import sys_mmap, sys_mprotect
    >>> from sugarbush.vm.vmas import boot
    >>> mm = boot(frames=4).add_mm("cc1", start_brk=0)
    >>> at = sys_mmap(mm, 0x20000, 0x3000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)
    >>> sys_mprotect(mm, at + 0x1000, 0x1000, PROT_READ), mm.map_count
    (0, 3)
    >>> sys_mprotect(mm, at + 0x1000, 0x1000, PROT_READ | PROT_WRITE), mm.map_count
    (0, 1)
"""

from __future__ import annotations

from sugarbush.vm.objects import PAGE_SHIFT, VM_SOFTDIRTY, VM_SPECIAL, AddressSpace, AnonVma, MmStruct, VmArea
from sugarbush.vm.reverse import list_is_singular
from sugarbush.vm.spaces import vma_find, vma_pages
from sugarbush.vm.vmas.adjust import give_back_anon_vma, inherit_anon_vma, vma_adjust


def is_mergeable_vma(vma: VmArea, flags: int, file: AddressSpace | None) -> bool:
    """`vma` is like something with these flags and this file.

    One whose driver wants to be told of its end becomes one with nothing, as up to v6.4.
    """
    # Its driver would be told of the end of a mapping that goes on.
    if vma.vm_ops is not None and vma.vm_ops.close is not None:
        return False
    return not (vma.vm_flags ^ flags) & ~VM_SOFTDIRTY and vma.vm_file is file


def is_mergeable_anon_vma(one: AnonVma | None, other: AnonVma | None, vma: VmArea | None) -> bool:
    """What lies in anon_vma `one` may become one with what lies in `other`, of which one belongs to `vma`.

    Two anon_vmas never become one; and a VMA that is linked to the anon_vmas of its parents is not given a new one.
    """
    # With several links the VMA has those of its parents; what is new next to it would get them too.
    if (one is None or other is None) and (vma is None or list_is_singular(vma)):
        return True
    return one is other


def can_vma_merge_before(
    vma: VmArea, flags: int, anon_vma: AnonVma | None, file: AddressSpace | None, pgoff: int
) -> bool:
    """Something that ends where `vma` begins may become one with it; `pgoff` is that of its end."""
    return (
        is_mergeable_vma(vma, flags, file)
        and is_mergeable_anon_vma(anon_vma, vma.anon_vma, vma)
        and vma.vm_pgoff == pgoff
    )


def can_vma_merge_after(
    vma: VmArea, flags: int, anon_vma: AnonVma | None, file: AddressSpace | None, pgoff: int
) -> bool:
    """Something that begins where `vma` ends may become one with it; `pgoff` is that of its beginning."""
    return (
        is_mergeable_vma(vma, flags, file)
        and is_mergeable_anon_vma(anon_vma, vma.anon_vma, vma)
        and vma.vm_pgoff + vma_pages(vma) == pgoff
    )


def vma_merge(
    mm: MmStruct,
    prev: VmArea | None,
    start: int,
    end: int,
    flags: int,
    anon_vma: AnonVma | None,
    file: AddressSpace | None,
    pgoff: int,
) -> VmArea | None:
    """The VMA that ``[start, end)`` has become a part of, or None: nothing like it is near, or memory is missing.

    `prev` is the VMA before `start`, or the one that `start` lies in. The range is what a system call is about: not
    mapped yet (cases 1, 2, 3), a part of `prev` (4), the first part of the next VMA (5), or all of it (6, 7, 8).
    The cases are those drawn above vma_merge() in the kernel. Whoever grows already has the wanted properties: so a
    walk that meets a page of the swallowed range reads the right vm_page_prot.
    """
    # What a driver has mapped stays as it has mapped it.
    if flags & VM_SPECIAL:
        return None
    pages = (end - start) >> PAGE_SHIFT
    after_prev = vma_find(mm, 0 if prev is None else prev.vm_end)
    following = after_prev
    if following is not None and following.vm_end == end:
        following = vma_find(mm, end)
    # What is mapped of the range now, if anything: cases 4 to 8.
    current = after_prev if after_prev is not None and after_prev.vm_start < end else None
    merge_prev = (
        prev is not None and prev.vm_end == start and can_vma_merge_after(prev, flags, anon_vma, file, pgoff)
    )
    merge_next = (
        following is not None
        and end == following.vm_start
        and can_vma_merge_before(following, flags, anon_vma, file, pgoff + pages)
    )
    if merge_prev and prev is not None:
        both = following if merge_next else None
        if both is not None and not is_mergeable_anon_vma(prev.anon_vma, both.anon_vma, None):
            # Each may become one with the range, but not with each other: their pages are in two anon_vmas.
            # Then `prev` takes it.
            both = None
        # Where both would do, `prev` grows. In case 8, below, it is `following`, for it has the wanted rights
        # already: one that first grows and gets the right vm_page_prot later is read by a walk in between
        # (merge-page-prot, Z08).
        return _grow_up(prev, current, both, end)
    if merge_next and following is not None:
        if prev is not None and start < prev.vm_end:
            return _take_tail(prev, following, start)
        # Its offset goes down with its start, in case 8 by nothing (merge-pgoff, Z63).
        return _grow_down(following, current, start, following.vm_pgoff - pages)
    return None


def _grow_up(prev: VmArea, current: VmArea | None, following: VmArea | None, end: int) -> VmArea | None:
    """`prev` grows up to `end`, or over `following`: cases 1, 2, 5, 6, 7."""
    removed: tuple[VmArea, ...] = ()
    adjust, shift, start, pgoff = None, 0, prev.vm_start, prev.vm_pgoff
    if following is not None:
        end = following.vm_end
        removed = (following,) if current is None else (current, following)
    elif current is not None and end == current.vm_end:
        removed = (current,)
    elif current is not None:
        adjust, shift = current, end - current.vm_start
    inherited: list[VmArea] = []
    # Whichever of the two has one; if both do it is the same.
    for exporter in (current, following):
        if exporter is not None and not inherit_anon_vma(prev, exporter, inherited):
            return None
    if vma_adjust(prev, start, end, pgoff, adjust=adjust, shift=shift, removed=removed):
        give_back_anon_vma(inherited)
        return None
    return prev


def _take_tail(prev: VmArea, following: VmArea, start: int) -> VmArea | None:
    """`following` takes what of `prev` lies above `start`: case 4."""
    inherited: list[VmArea] = []
    if not inherit_anon_vma(following, prev, inherited):
        return None
    shift = start - prev.vm_end
    if vma_adjust(prev, prev.vm_start, start, prev.vm_pgoff, adjust=following, shift=shift):
        give_back_anon_vma(inherited)
        return None
    return following


def _grow_down(following: VmArea, current: VmArea | None, start: int, pgoff: int) -> VmArea | None:
    """`following` grows down to `start`, over `current` if there is one: cases 3, 8."""
    inherited: list[VmArea] = []
    if current is not None and not inherit_anon_vma(following, current, inherited):
        return None
    removed = () if current is None else (current,)
    if vma_adjust(following, start, following.vm_end, pgoff, removed=removed):
        give_back_anon_vma(inherited)
        return None
    return following
