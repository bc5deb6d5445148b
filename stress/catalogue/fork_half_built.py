"""fork copies the tree of VMAs node by node since v6.7, with the parent's VMAs in it, and then puts the copies of the
VMAs in their places one by one. If memory runs out in the middle, the child's tree holds VMAs of the parent. The locks
were dropped like that, and the address space torn down a moment later; in between, whoever comes to the child through a
VMA that is linked already (rmap, uprobes, swapoff) finds a tree that says what is not so.

First a marker in the tree told exit_mmap() where to stop; as far as we know the recovery was then changed, so that
nobody sees the tree in that state. The model copies the tree VMA by VMA, so the patch puts the parent's VMAs in first.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind
from sugarbush.lockdep.model import GFP_KERNEL
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, READ_WRITE, end
from sugarbush.tree import NoMemory
from sugarbush.vm.frames import flush_tlb_mm
from sugarbush.vm.objects import ENOMEM, PAGE_SIZE, VM_DONTCOPY, MmStruct
from sugarbush.vm.spaces import mmap_write_lock, mmap_write_lock_nested, mmap_write_unlock
from sugarbush.vm.syscalls import MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, fork, sys_fork, sys_mmap
from sugarbush.vm.vmas import boot


@patch(fork.dup_mmap)
def dup_mmap(mm: MmStruct, oldmm: MmStruct) -> int:
    """Copy the tree first, then replace what is in it."""
    mmap_write_lock(oldmm)
    mmap_write_lock_nested(mm)
    vmas = [vma for _, _, vma in oldmm.mm_mt.ranges()]
    result = 0
    try:
        for vma in vmas:
            if not vma.vm_flags & VM_DONTCOPY:
                mm.mm_mt.cursor(vma.vm_start, vma.vm_end - 1).store_gfp(vma, GFP_KERNEL)
    except NoMemory:
        mm.mm_mt.destroy()
        vmas, result = [], ENOMEM
    for vma in vmas:
        if result == 0 and not vma.vm_flags & VM_DONTCOPY:
            result = fork.dup_vma(mm, vma)
    mmap_write_unlock(mm)
    flush_tlb_mm(oldmm)
    mmap_write_unlock(oldmm)
    return result


@bug(
    "fork-half-built",
    id="Z46",
    title="a fork that fails shows an address space with VMAs of another",
    year=2024,
    versions="v6.7 and later",
    fix="mm: change dup_mmap() recovery",
    evidence="as far as we know",
    kind=Kind.INVARIANT,
    check="vma-index",
    patches=(dup_mmap,),
    tasks=2,
    preemptions=1,
    faults=1,
)
def fork_half_built() -> None:
    """Fork a process with one mapping, with little memory."""
    machine = boot(2)
    process = Process(machine.add_mm("make", BASE))
    sys_mmap(process.mm, BASE, PAGE_SIZE, READ_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)
    mm = sys_fork(machine, process.mm, "cc1")
    if mm is not None:
        end(machine, Process(mm))
    end(machine, process)
