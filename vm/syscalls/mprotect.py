"""mprotect(2): what a process may do with its memory. Kernel: mm/mprotect.c, v6.1."""

from __future__ import annotations

from sugarbush.concurrency import trace
from sugarbush.vm.files import is_vm_hugetlb_page
from sugarbush.vm.frames import MmuGather, tlb_finish_mmu, tlb_gather_mmu
from sugarbush.vm.huge import hugetlb_change_protection
from sugarbush.vm.objects import (
    EACCES,
    EINVAL,
    ENOMEM,
    ESRCH,
    PAGE_SIZE,
    VM_ACCESS_FLAGS,
    VM_ACCOUNT,
    VM_GROWSDOWN,
    VM_NORESERVE,
    VM_SHARED,
    VM_WRITE,
    MmStruct,
    VmArea,
    page_align,
)
from sugarbush.vm.spaces import (
    mmap_write_lock,
    mmap_write_unlock,
    vma_find,
    vma_prev,
    vma_set_page_prot,
    vma_start_write,
)
from sugarbush.vm.syscalls.mman import (
    PROT_EXEC,
    PROT_GROWSDOWN,
    PROT_GROWSUP,
    PROT_READ,
    PROT_WRITE,
    calc_vm_prot_bits,
)
from sugarbush.vm.vmas import change_protection, vma_modify_flags

_UNSIGNED_LONG = 1 << 64


def sys_mprotect(mm: MmStruct, start: int, length: int, prot: int) -> int:
    """mprotect(2): let the process use ``[start, start + length)`` as `prot` says. Takes mmap_lock. 0 or an error.

    -EINVAL for an unaligned start or an unknown `prot`, -ENOMEM for a range with a hole in it or without memory,
    -EACCES for what the mapping may never permit, -ESRCH for an address space that has ended. As in the kernel, what
    lies before the place that went wrong has been changed.
    """
    grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP)
    prot &= ~grows
    if grows & PROT_GROWSUP or start & (PAGE_SIZE - 1):
        return EINVAL
    if length == 0:
        return 0
    end = (start + page_align(length)) % _UNSIGNED_LONG
    if end <= start:
        return ENOMEM
    if prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC):
        return EINVAL
    mmap_write_lock(mm)
    result = ESRCH if mm.ended else _mprotect_locked(mm, start, end, prot, down=bool(grows))
    mmap_write_unlock(mm)
    return result


def _mprotect_locked(mm: MmStruct, start: int, end: int, prot: int, *, down: bool) -> int:
    """As `sys_mprotect`, of a range that is checked; needs mmap_lock for writing."""
    vma = vma_find(mm, start)
    if vma is None or vma.vm_start >= end:
        return ENOMEM
    if down:
        start = vma.vm_start
        if not vma.vm_flags & VM_GROWSDOWN:
            return EINVAL
    elif vma.vm_start > start:
        return ENOMEM
    prev = vma if start > vma.vm_start else vma_prev(mm, start)
    # Says that a flush is to come (tlb_flush_pending), from before the first entry changes.
    tlb = tlb_gather_mmu(mm)
    error = 0
    while start < end:
        flags = calc_vm_prot_bits(prot) | (vma.vm_flags & ~VM_ACCESS_FLAGS)
        # What is wanted and may never be: VM_MAYREAD and the others, moved on to VM_READ and the others.
        if flags & ~(flags >> 4) & VM_ACCESS_FLAGS:
            error = EACCES
            break
        stop = min(vma.vm_end, end)
        changed = mprotect_fixup(tlb, vma, prev, start, stop, flags)
        if isinstance(changed, int):
            error = changed
            break
        prev = changed
        start = max(stop, changed.vm_end)
        if start >= end:
            break
        following = vma_find(mm, start)
        if following is None or following.vm_start != start:
            error = ENOMEM
            break
        vma = following
    # Under mmap_lock still: when the call returns no thread has more rights than it says.
    tlb_finish_mmu(tlb)
    return error


def mprotect_fixup(
    tlb: MmuGather, vma: VmArea, prev: VmArea | None, start: int, end: int, flags: int
) -> VmArea | int:
    """Give ``[start, end)``, a part of `vma`, the flags `flags`; the VMA that has it now, or -ENOMEM.

    The first write permission of a private mapping makes it count against what may be promised; that stays. Needs
    mmap_lock for writing.
    """
    old = vma.vm_flags
    if flags == old:
        return vma
    if flags & VM_WRITE and not old & (VM_ACCOUNT | VM_WRITE | VM_SHARED | VM_NORESERVE):
        flags |= VM_ACCOUNT
    changed = vma_modify_flags(prev, vma, start, end, flags)
    if isinstance(changed, int):
        return changed
    # A VMA that was cut or merged is locked already; one that only changes its flags is not.
    vma_start_write(changed)
    if is_vm_hugetlb_page(changed):
        hugetlb_change_protection(changed, start, end, flags)
        return changed
    # Before the entries. An rmap walk makes entries out of vm_page_prot at any time: those made from here on
    # have the new rights, those made before are met by the pass below.
    changed.vm_flags = flags
    vma_set_page_prot(changed)
    trace("mprotect", vma=changed.name, flags=hex(flags))
    change_protection(tlb, changed, start, end)
    return changed
