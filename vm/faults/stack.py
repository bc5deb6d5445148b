"""Stacks that grow by faults below them. Kernel: expand_downwards() in mm/mmap.c, v5.19 and v6.6."""

from __future__ import annotations

from sugarbush.lockdep.model import GFP_KERNEL
from sugarbush.tree import NoMemory
from sugarbush.vm.objects import (
    ENOMEM,
    EPERM,
    MMAP_MIN_ADDR,
    PAGE_SHIFT,
    PAGE_SIZE,
    STACK_GUARD_GAP,
    STACK_LIMIT,
    VM_ACCESS_FLAGS,
    VM_GROWSDOWN,
    VmArea,
)
from sugarbush.vm.reverse import (
    anon_vma_lock_write,
    anon_vma_prepare,
    anon_vma_unlock_write,
    post_update_vma,
    pre_update_vma,
)
from sugarbush.vm.spaces import vma_prev, vma_start_write, vma_store


def expand_stack(vma: VmArea, address: int) -> int:
    """Grow the stack `vma` down to the page of `address`; 0, -ENOMEM, or -EPERM around NULL.

    A stack keeps its distance from an accessible mapping below it, and is of at most `STACK_LIMIT` bytes. Needs
    mmap_lock for writing; before v6.5 for reading was enough, so the fields and the tree change under the rmap lock
    and page_table_lock, whoever else grows a stack.
    """
    mm = vma.vm_mm
    address &= -PAGE_SIZE
    if address < MMAP_MIN_ADDR:
        return EPERM
    # Below, not at the new place: the gap must hold even if nothing is mapped there yet.
    before = vma_prev(mm, vma.vm_start)
    if before is not None and _is_guarded(before) and address - before.vm_end < STACK_GUARD_GAP:
        return ENOMEM
    mas = mm.mm_mt.cursor(address, vma.vm_end - 1)
    try:
        # Before the rmap lock, for the whole new range; if somebody else was faster, it is given back unused.
        mas.preallocate(vma, GFP_KERNEL)
    except NoMemory:
        return ENOMEM
    if not anon_vma_prepare(vma):
        mas.destroy()
        return ENOMEM
    anon_vma = vma.anon_vma
    assert anon_vma is not None
    anon_vma_lock_write(anon_vma)
    error = 0
    # Looked at again under the rmap lock: up to v6.0 two faults may let one stack grow, with mmap_lock for
    # reading each.
    if address < vma.vm_start:
        grow = (vma.vm_start - address) >> PAGE_SHIFT
        if grow > vma.vm_pgoff or vma.vm_end - address > STACK_LIMIT:
            error = ENOMEM
        else:
            with mm.page_table_lock:
                # Out of the trees, start and offset, back in: what a walk computes from the two is right
                # before and after (Z04).
                pre_update_vma(vma)
                vma.vm_start = address
                vma.vm_pgoff -= grow
                vma_store(mas, vma)
                post_update_vma(vma)
    anon_vma_unlock_write(anon_vma)
    mas.destroy()
    return error


def _is_guarded(vma: VmArea) -> bool:
    """A stack above must keep its distance: another stack, or what nobody may touch, is its own guard. Needs
    mmap_lock.
    """
    flags = vma.vm_flags
    return not flags & VM_GROWSDOWN and bool(flags & VM_ACCESS_FLAGS)


def expand_stack_locked(vma: VmArea, address: int) -> int:
    """As `expand_stack`, of a VMA that is locked for writing first; needs mmap_lock for writing."""
    # A fault that holds only the VMA's lock reads start and offset one after the other, and would file its
    # page under a number at which nobody looks (stack-grows-unlocked, Z60).
    vma_start_write(vma)
    return expand_stack(vma, address)
