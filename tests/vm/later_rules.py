"""Rules about VMAs that have changed since v6.1, as patches that make the model follow a later kernel."""

from __future__ import annotations

import platform
import re

from sugarbush.stress.kit.patches import Patch, patch
from sugarbush.vm.frames.tlb import MmuGather
from sugarbush.vm.objects.layout import PAGE_SHIFT, VM_ACCOUNT, VM_MAYWRITE, VM_SHARED, VM_WRITE
from sugarbush.vm.objects.mm_types import AddressSpace, AnonVma, MmStruct, VmArea
from sugarbush.vm.spaces.find import vma_find, vma_prev
from sugarbush.vm.spaces.vma import vma_is_anonymous, vma_set_page_prot
from sugarbush.vm.syscalls import madvise, mmap, mprotect
from sugarbush.vm.vmas import merge, modify
from sugarbush.vm.vmas.adjust import vma_expand
from sugarbush.vm.vmas.merge import can_vma_merge_after, can_vma_merge_before
from sugarbush.vm.vmas.protect import change_protection


def release() -> tuple[int, ...]:
    """The version of the running kernel."""
    return tuple(int(part) for part in re.findall(r"\d+", platform.release())[:2])


_middle: list[VmArea] = []
"""The VMA whose flags change, while they do."""
_modify = modify.vma_modify_flags


@patch(modify.vma_modify_flags)
def remember_middle(prev: VmArea | None, vma: VmArea, start: int, end: int, flags: int) -> VmArea | int:
    """As before, but the next rule learns which VMA it is about."""
    _middle.append(vma)
    changed = _modify(prev, vma, start, end, flags)
    _middle.clear()
    return changed


@patch(merge.is_mergeable_anon_vma)
def is_mergeable_anon_vma(one: AnonVma | None, other: AnonVma | None, vma: VmArea | None) -> bool:
    """v6.16: a VMA without pages becomes one with any that has some, unless those may be shared with a parent.

    Up to v6.15 a VMA without pages took nobody in who had some.
    """
    if one is not None and other is not None:
        return one is other
    owner = vma if vma is not None and vma.anon_vma is not None else next(iter(_middle), None)
    return vma is None or owner is None or owner.anon_vma is None or len(owner.anon_vma_chain) == 1


@patch(mmap._expand_neighbour)
def expand_neighbour(
    mm: MmStruct, start: int, end: int, flags: int, file: AddressSpace | None, pgoff: int
) -> bool:
    """v6.12: of two neighbours that cannot become one, the lower grows. In v6.1 it was the upper."""
    after, before = vma_find(mm, end), vma_prev(mm, start)
    above = pgoff + ((end - start) >> PAGE_SHIFT)
    left = (
        before
        if before is not None
        and before.vm_end == start
        and can_vma_merge_after(before, flags, None, file, pgoff)
        else None
    )
    right = (
        after
        if after is not None
        and after.vm_start == end
        and can_vma_merge_before(after, flags, None, file, above)
        else None
    )
    if left is not None and right is not None:
        both = merge.is_mergeable_anon_vma(left.anon_vma, right.anon_vma, None)
        right = right if both else None
    if left is not None:
        new_end = end if right is None else right.vm_end
        return vma_expand(left, left.vm_start, new_end, left.vm_pgoff, right) == 0
    return right is not None and vma_expand(right, start, right.vm_end, pgoff, right) == 0


@patch(madvise.may_punch)
def may_punch(vma: VmArea) -> bool:
    """v6.7, as far as we know: it is enough that the shared mapping could be made writable."""
    return vma.vm_flags & (VM_SHARED | VM_MAYWRITE) == VM_SHARED | VM_MAYWRITE


@patch(mprotect.mprotect_fixup)
def mprotect_fixup(
    tlb: MmuGather, vma: VmArea, prev: VmArea | None, start: int, end: int, flags: int
) -> VmArea | int:
    """v6.6: without pages of its own, memory that becomes read-only no longer counts against what may be promised."""
    old = vma.vm_flags
    if flags == old:
        return vma
    if flags & VM_WRITE:
        if not old & (VM_ACCOUNT | VM_WRITE | VM_SHARED | 0x200000):
            flags |= VM_ACCOUNT
    elif old & VM_ACCOUNT and vma_is_anonymous(vma) and vma.anon_vma is None:
        flags &= ~VM_ACCOUNT
    changed = modify.vma_modify_flags(prev, vma, start, end, flags)
    if isinstance(changed, int):
        return changed
    changed.vm_flags = flags
    vma_set_page_prot(changed)
    change_protection(tlb, changed, start, end)
    return changed


LATER = {
    (6, 16): (remember_middle, is_mergeable_anon_vma),
    (6, 12): (expand_neighbour,),
    (6, 7): (may_punch,),
    (6, 6): (mprotect_fixup,),
}


def rules() -> list[Patch]:
    """The patches that make the model follow the running kernel."""
    return [rule for since, rules in LATER.items() if release() >= since for rule in rules]
