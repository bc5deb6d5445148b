"""fork(2), as far as the address space is concerned. Kernel: dup_mmap() in kernel/fork.c, v6.1."""

from __future__ import annotations

from sugarbush.lockdep.model import GFP_KERNEL
from sugarbush.tree import NoMemory
from sugarbush.vm.faults import (
    copy_page_range,
    dup_userfaultfd,
    dup_userfaultfd_complete,
    dup_userfaultfd_fail,
    dup_userfaultfd_vma,
)
from sugarbush.vm.files import (
    get_file,
    i_mmap_lock_write,
    i_mmap_unlock_write,
    unlink_file_vma,
    vma_interval_tree_insert_after,
)
from sugarbush.vm.frames import flush_tlb_mm
from sugarbush.vm.objects import ENOMEM, VM_DONTCOPY, VM_LOCKED, VM_WIPEONFORK, MmStruct, VmArea
from sugarbush.vm.reverse import anon_vma_fork, unlink_anon_vmas
from sugarbush.vm.spaces import (
    check_stable_address_space,
    mmap_write_lock,
    mmap_write_lock_nested,
    mmap_write_unlock,
    vm_area_dup,
    vm_area_free,
    vma_mark_attached,
    vma_start_write,
)
from sugarbush.vm.vmas import Machine, exit_mmap, remove_vma, vma_open


def sys_fork(machine: Machine, parent: MmStruct, name: str) -> MmStruct | None:
    """The address space of a child, named `name`, with copies of the parent's VMAs and all its pages; None without
    memory, or if the parent has ended or is a victim of the OOM reaper.

    Kernel: dup_mm(). A child that was only built in part is torn down as any other.
    """
    child = machine.dup_mm(parent, name)
    if child is None:
        return None
    if dup_mmap(child, parent):
        dup_userfaultfd_fail(parent)
        exit_mmap(child)
        machine.remove_mm(child)
        return None
    dup_userfaultfd_complete(child, parent)
    return child


def dup_mmap(mm: MmStruct, oldmm: MmStruct) -> int:
    """Copy the VMAs and pages of `oldmm` to `mm`, which nobody uses yet. 0, or -ENOMEM and `mm` has some of them.

    Takes mmap_lock of both, the parent's first. Each VMA is linked to all anon_vmas of the parent's, is in the tree of
    its file right behind the parent's, and only then gets its pages: so there is no moment at which a walk could not
    find them. The parent's translations are flushed once, before its mmap_lock is given back.

    Simpler here: the nodes of the child's tree are taken one store at a time, not all at once.
    """
    # For writing, though the parent's VMAs stay as they are: its entries become read-only, and no fault may
    # copy a page until the flush below.
    mmap_write_lock(oldmm)
    mmap_write_lock_nested(mm)
    # What the OOM reaper took would be missing in the child, too, which nobody kills: v6.1 looks at the signal that the
    # victim has (fatal_signal_pending()), later kernels at MMF_UNSTABLE itself.
    result = ENOMEM if oldmm.ended or not check_stable_address_space(oldmm) else 0
    dup_userfaultfd(mm, oldmm)
    walk = oldmm.mm_mt.cursor()
    while result == 0 and (vma := walk.find()) is not None:
        # mmap_lock keeps no fault out that holds only the VMA's lock. It would copy a page that another
        # thread still stores to by its old translation, and those stores would be lost
        # (fork-without-vma-locks, Z19).
        vma_start_write(vma)
        if not vma.vm_flags & VM_DONTCOPY:
            result = dup_vma(mm, vma)
    # Whole, or to be torn down: nobody may come to the child's tree by way of rmap and find what is not its
    # own (fork-half-built, Z46).
    mmap_write_unlock(mm)
    # One flush for all entries that were write-protected, before the first write fault can come.
    flush_tlb_mm(oldmm)
    mmap_write_unlock(oldmm)
    return result


def dup_vma(mm: MmStruct, vma: VmArea) -> int:
    """Copy one VMA of the parent, and its pages, to `mm`; 0 or -ENOMEM. Needs mmap_lock of both for writing."""
    copy = vm_area_dup(vma, mm)
    if copy is None:
        return ENOMEM
    wiped = bool(copy.vm_flags & VM_WIPEONFORK)
    if wiped:
        copy.anon_vma = None
    # Into the rmap trees before the first entry is copied: a migration that has met the parent's entry and
    # made its first walk must find the child's, which is copied from it, in the second.
    elif not anon_vma_fork(copy, vma):
        vm_area_free(copy)
        return ENOMEM
    copy.vm_flags &= ~VM_LOCKED
    dup_userfaultfd_vma(copy)
    mapping = copy.vm_file
    if mapping is not None:
        get_file(mapping)
        i_mmap_lock_write(mapping)
        # Behind the parent's: a walk that has passed the parent's VMA before its entry was copied meets the
        # child's after that.
        vma_interval_tree_insert_after(copy, vma, mapping)
        i_mmap_unlock_write(mapping)
    try:
        mm.mm_mt.cursor(copy.vm_start, copy.vm_end - 1).store_gfp(copy, GFP_KERNEL)
    except NoMemory:
        unlink_anon_vmas(copy)
        unlink_file_vma(copy)
        # Its driver has not been told of it, so it is not told of its end (fail_nomem_mas_store).
        copy.vm_ops = None
        remove_vma(copy)
        return ENOMEM
    # Behind the store, which may fail.
    vma_mark_attached(copy)
    mm.map_count += 1
    result = 0 if wiped else copy_page_range(copy, vma)
    vma_open(copy)
    return result
