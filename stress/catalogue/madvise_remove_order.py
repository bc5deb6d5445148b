"""MADV_REMOVE takes pages out of a file by way of a mapping of it. It found the mapping with mmap_lock held, and
punched the hole without giving it back, which takes the lock of the inode. A write to the same file takes the lock of
the inode first, and then reads what is to be written from the memory of the process; if that faults, it needs
mmap_lock. The two wait for each other.

The fix keeps the file by a reference, gives mmap_lock back, and then punches the hole. As far as we know madvise held
mmap_lock for writing in those days.
"""

from __future__ import annotations

from concurrency import Kind, join, spawn
from stress.bug import bug
from stress.patch import patch
from stress.process import Process
from stress.workloads.pages import HEAP, page
from vm import file_io
from vm.errno import EINVAL
from vm.file_io import generic_file_write, vfs_punch_hole
from vm.filemap import AddressSpace, fput
from vm.find import vma_lookup
from vm.layout import PAGE_SIZE
from vm.machine import boot
from vm.mm import MmStruct, mmap_write_lock, mmap_write_unlock
from vm.mman import MAP_FIXED, MAP_SHARED, PROT_READ, PROT_WRITE
from vm.mmap import sys_mmap
from vm.vma import linear_page_index


@patch(file_io.madvise_remove)
def madvise_remove(mm: MmStruct, start: int, pages: int) -> int:
    """Punch the pages out of the file that is mapped there, with mmap_lock held all the time."""
    mmap_write_lock(mm)
    vma = vma_lookup(mm, start)
    result = EINVAL
    if vma is not None and vma.vm_file is not None:
        first = linear_page_index(vma, start)
        vfs_punch_hole(mm.memory, vma.vm_file, first, first + pages - 1)
        result = 0
    mmap_write_unlock(mm)
    return result


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
    patches=(madvise_remove,),
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
        spawn(lambda: file_io.madvise_remove(process.mm, mapped, 1), name="madvise"),
        spawn(generic_file_write, process.mm, file, 0, page(0), name="write"),
    )
    process.exit(machine)
    fput(machine.memory, file)
