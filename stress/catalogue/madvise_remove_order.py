"""MADV_REMOVE takes pages out of a file by way of a mapping of it. It found the mapping with mmap_lock held, and
punched the hole without giving it back, which takes the lock of the inode. A write to the same file takes the lock of
the inode first, and then reads what is to be written from the memory of the process; if that faults, it needs
mmap_lock. The two wait for each other.

The fix keeps the file by a reference, gives mmap_lock back, and then punches the hole. As far as we know madvise held
mmap_lock for writing in those days.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.pages import HEAP, page
from sugarbush.vm.access import generic_file_write, vfs_punch_hole
from sugarbush.vm.files import fput
from sugarbush.vm.objects import EINVAL, PAGE_SHIFT, PAGE_SIZE, AddressSpace, VmArea
from sugarbush.vm.spaces import linear_page_index
from sugarbush.vm.syscalls import (
    MADV_REMOVE,
    MAP_FIXED,
    MAP_SHARED,
    PROT_READ,
    PROT_WRITE,
    madvise,
    sys_madvise,
    sys_mmap,
)
from sugarbush.vm.vmas import boot


@patch(madvise.madvise_need_mmap_write)
def madvise_need_mmap_write(_advice: int) -> bool:
    """All advice is taken with mmap_lock held for writing."""
    return True


@patch(madvise.madvise_remove)
def madvise_remove(vma: VmArea, _prev: VmArea | None, start: int, end: int) -> VmArea | int:
    """Punch the range out of the file that is mapped there, with mmap_lock held all the time."""
    if vma.vm_file is None:
        return EINVAL
    first = linear_page_index(vma, start)
    vfs_punch_hole(vma.vm_mm.memory, vma.vm_file, first, first + ((end - start) >> PAGE_SHIFT) - 1)
    return vma


@bug(
    "madvise-remove-order",
    id="Z40c",
    title="MADV_REMOVE takes the inode's lock under mmap_lock",
    year=2007,
    versions="before 2.6.21",
    fix="holepunch: fix mmap_sem i_mutex deadlock",
    evidence="read",
    kind=Kind.DEADLOCK,
    check=None,
    patches=(madvise_need_mmap_write, madvise_remove),
    tasks=2,
    preemptions=1,
    without=("lockdep", "lock-order"),
)
def madvise_remove_order() -> None:
    """Punch a hole into a file while another thread writes to it from memory that must be faulted in."""
    machine = boot(8)
    file = AddressSpace("journal")
    process = Process(machine.add_mm("cc1", HEAP))
    process.brk(page(1))
    mapped = page(4)
    sys_mmap(process.mm, mapped, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file)
    process.store(mapped, "old")
    join(
        spawn(sys_madvise, process.mm, mapped, PAGE_SIZE, MADV_REMOVE, name="madvise"),
        spawn(generic_file_write, process.mm, file, 0, page(0), name="write"),
    )
    process.exit(machine)
    fput(machine.memory, file)
