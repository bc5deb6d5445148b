"""A VMA that is stored in the tree can be found at once by a fault under the VMA's own lock, also while mmap() is still
at work on it. So in v6.5 mmap() was made to lock the new VMA first. The first version of that fix put the call where
the lock of the file's mappings was held already; but a task that changes a VMA holds the VMA's lock when it takes that
of the file.

The lock validator said so within days, and the second version takes the two in the right order. As far as we know the
first fix was for what would have gone wrong once faults in files are made under the VMA's lock.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind
from sugarbush.lockdep.model import GFP_KERNEL
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, end, map_file
from sugarbush.tree import NoMemory
from sugarbush.vm.files import fput, i_mmap_lock_write, i_mmap_unlock_write, vma_interval_tree_insert
from sugarbush.vm.objects import ENOMEM, AddressSpace, MmStruct, VmArea
from sugarbush.vm.spaces import vma_start_write, vma_store
from sugarbush.vm.syscalls import mmap
from sugarbush.vm.vmas import boot


@patch(mmap.vma_link)
def vma_link(mm: MmStruct, vma: VmArea) -> int:
    """The VMA is locked inside the lock of its file."""
    mas = mm.mm_mt.cursor(vma.vm_start, vma.vm_end - 1)
    try:
        mas.preallocate(vma, GFP_KERNEL)
    except NoMemory:
        return ENOMEM
    mapping = vma.vm_file
    if mapping is not None:
        i_mmap_lock_write(mapping)
    vma_start_write(vma)
    vma_store(mas, vma)
    mm.map_count += 1
    if mapping is not None:
        vma_interval_tree_insert(vma, mapping)
        i_mmap_unlock_write(mapping)
    return 0


@bug(
    "vma-lock-order",
    id="Z21",
    title="a new VMA is locked inside the lock of its file's mappings",
    year=2023,
    versions="v6.5-rc1",
    fix="mm: lock newly mapped VMA with corrected ordering",
    evidence="as far as we know",
    kind=Kind.LOCKDEP,
    check="lock-order",
    patches=(vma_link,),
    tasks=2,
    preemptions=1,
    era="6.6",
)
def vma_lock_order() -> None:
    """Map a file."""
    machine = boot(4, "6.6")
    process = Process(machine.add_mm("ld", BASE))
    file = AddressSpace("libc.so")
    map_file(process, file, 0, 1)
    end(machine, process)
    fput(machine.memory, file)
