"""How a page fault finds its VMA and keeps it from changing. Kernel: arch/x86/mm/fault.c and mm/memory.c.

Up to v6.3 a fault takes mmap_lock for reading. Since v6.4 it tries the lock of the VMA first. Up to v6.0 a stack
grows under mmap_lock for reading; since v6.5 (and v6.1.37, v6.3.11, v6.4.1) for writing.
"""

from __future__ import annotations

from functools import partial

from sugarbush.vm.faults.stack import expand_stack, expand_stack_locked
from sugarbush.vm.objects import VM_GROWSDOWN, Hold, MmStruct, VmArea
from sugarbush.vm.spaces import (
    lock_vma_under_rcu,
    mmap_read_lock,
    mmap_read_unlock,
    mmap_write_downgrade,
    mmap_write_lock,
    mmap_write_unlock,
    vma_end_read,
    vma_find,
    vma_lock_refcnt,
)


def grow_under_read_lock(mm: MmStruct, address: int) -> Hold | None:
    """Up to v6.0: mmap_lock for reading, under which a stack grows too. None, and nothing is held, for no VMA."""
    mmap_read_lock(mm)
    # Right for the rbtree, whose borders and links change under page_table_lock on top. For a maple tree it
    # was not: a reader of mmap_lock could be in a node that is rewritten in place (stack-grows-in-place,
    # Z14), or freed (stackrot, Z13).
    vma = None if mm.ended else vma_find(mm, address)
    if vma is not None and (vma.vm_start <= address or (_is_stack(vma) and expand_stack(vma, address) == 0)):
        return vma, partial(mmap_read_unlock, mm)
    mmap_read_unlock(mm)
    return None


def hold_mmap_lock(mm: MmStruct, address: int) -> Hold | None:
    """Up to v6.3: mmap_lock."""
    return lock_mm_and_find_vma(mm, address)


def lock_mm_and_find_vma(mm: MmStruct, address: int) -> Hold | None:
    """As v6.1.37 and v6.5: mmap_lock for reading; to grow a stack, for writing, and then downgraded."""
    mmap_read_lock(mm)
    vma = None if mm.ended else vma_find(mm, address)
    if vma is not None and vma.vm_start <= address:
        return vma, partial(mmap_read_unlock, mm)
    mmap_read_unlock(mm)
    if vma is None or not _is_stack(vma):
        return None
    # Given back and taken anew: two readers who wait for each other to leave would wait for ever. So all is
    # looked up again; it may have become anything.
    mmap_write_lock(mm)
    vma = None if mm.ended else vma_find(mm, address)
    if vma is not None and (
        vma.vm_start <= address or (_is_stack(vma) and expand_stack_locked(vma, address) == 0)
    ):
        # The fault itself needs no more, and must not keep others out.
        mmap_write_downgrade(mm)
        return vma, partial(mmap_read_unlock, mm)
    mmap_write_unlock(mm)
    return None


def _is_stack(vma: VmArea) -> bool:
    return bool(vma.vm_flags & VM_GROWSDOWN)


def lock_vma_or_mm(mm: MmStruct, address: int) -> Hold | None:
    """Since v6.4: the lock of the VMA, and on any doubt mmap_lock."""
    # Never grows a stack: below its VMA there is no VMA to be found, and what needs mmap_lock goes the other
    # way.
    vma = lock_vma_under_rcu(mm, address)
    if vma is not None:
        return vma, partial(vma_end_read, vma)
    return lock_mm_and_find_vma(mm, address)


def lock_counted_vma_or_mm(mm: MmStruct, address: int) -> Hold | None:
    """Since v6.15: the same, by a reference to the VMA."""
    vma = vma_lock_refcnt.lock_vma_under_rcu(mm, address)
    if vma is not None:
        return vma, partial(vma_lock_refcnt.vma_end_read, vma)
    return lock_mm_and_find_vma(mm, address)
