"""execve(2), as far as the new stack is concerned. Kernel: fs/exec.c, v6.1."""

from __future__ import annotations

from sugarbush.vm.frames import tlb_finish_mmu, tlb_gather_mmu
from sugarbush.vm.objects import (
    EFAULT,
    ENOMEM,
    ESRCH,
    PAGE_SHIFT,
    PAGE_SIZE,
    TASK_SIZE,
    USER_PGTABLES_CEILING,
    VM_ACCOUNT,
    VM_DATA_FLAGS,
    VM_GROWSDOWN,
    VM_STACK_INCOMPLETE_SETUP,
    MmStruct,
    VmArea,
)
from sugarbush.vm.spaces import (
    mmap_write_lock,
    mmap_write_unlock,
    vm_area_alloc,
    vma_find,
    vma_lookup,
    vma_start_write,
)
from sugarbush.vm.syscalls.mmap import vma_link
from sugarbush.vm.vmas import free_pgd_range, move_page_tables, remove_vma, vma_adjust, vma_shrink

VM_STACK_FLAGS = VM_DATA_FLAGS | VM_GROWSDOWN | VM_ACCOUNT
STACK_TOP_MAX = TASK_SIZE


def bprm_mm_init(mm: MmStruct) -> int:
    """Make the stack that arguments are copied to, one page at the top of user space, as long as nobody knows where
    the stack of the new program will be. 0, -ENOMEM or -ESRCH. Takes mmap_lock.
    """
    mmap_write_lock(mm)
    result = ESRCH if mm.ended else _make_stack(mm)
    mmap_write_unlock(mm)
    return result


def _make_stack(mm: MmStruct) -> int:
    """As `bprm_mm_init`; needs mmap_lock for writing."""
    start = STACK_TOP_MAX - PAGE_SIZE
    if vma_find(mm, start) is not None:
        return ENOMEM
    # Marked from the first page on: migration may come as soon as there is one.
    flags = VM_STACK_FLAGS | VM_STACK_INCOMPLETE_SETUP
    vma = vm_area_alloc(mm, start, STACK_TOP_MAX, start >> PAGE_SHIFT, flags)
    if vma is None:
        return ENOMEM
    error = vma_link(mm, vma)
    if error:
        remove_vma(vma)
    return error


def setup_arg_pages(mm: MmStruct, stack_top: int) -> int:
    """Move the stack so that it ends at `stack_top`, in bytes, and let it be an ordinary one from then on.

    0, -EFAULT if something is mapped there or the stack is gone, -ENOMEM or -ESRCH. Takes mmap_lock.
    """
    mmap_write_lock(mm)
    vma = None if mm.ended else vma_lookup(mm, STACK_TOP_MAX - PAGE_SIZE)
    if vma is None:
        result = ESRCH if mm.ended else EFAULT
    else:
        shift = vma.vm_end - stack_top
        result = shift_arg_pages(vma, shift) if shift else 0
        if result == 0:
            vma_start_write(vma)
            # Only when VMA and entries agree again.
            vma.vm_flags &= ~VM_STACK_INCOMPLETE_SETUP
    mmap_write_unlock(mm)
    return result


def shift_arg_pages(vma: VmArea, shift: int) -> int:
    """Move the stack `vma` and its pages down by `shift` bytes. 0, -EFAULT, or -ENOMEM and the exec must fail.

    The VMA covers the old and the new place meanwhile, with the page offset of the new one. So a walk looks for a page
    at the new place while its entry is still at the old one, which is why migration leaves a VMA with both flags of
    VM_STACK_INCOMPLETE_SETUP alone. Needs mmap_lock for writing.
    """
    mm = vma.vm_mm
    old_start, old_end, pgoff = vma.vm_start, vma.vm_end, vma.vm_pgoff
    new_start, new_end = old_start - shift, old_end - shift
    if vma_find(mm, new_start) is not vma:
        return EFAULT
    # From here on a walk computes the new address of each page, while its entry is still at the old one.
    if vma_adjust(vma, new_start, old_end, pgoff):
        return ENOMEM
    length = old_end - old_start
    # Without rmap locks: there is one VMA, so no order of two in the tree, and walks for migration stay away
    # by the mark. Other walks miss a page at worst, and give up.
    if move_page_tables(vma, old_start, new_start, length, need_rmap_locks=False) < length:
        return ENOMEM
    following = vma_find(mm, old_end)
    ceiling = USER_PGTABLES_CEILING if following is None else following.vm_start
    tlb = tlb_gather_mmu(mm)
    free_pgd_range(tlb, max(new_end, old_start), old_end, new_end, ceiling)
    tlb_finish_mmu(tlb)
    # Last, when nothing is left in what is cut off.
    return vma_shrink(vma, new_start, new_end, pgoff)
