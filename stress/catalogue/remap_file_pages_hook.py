"""remap_file_pages() is emulated by a new mapping since 4.0, but it did not ask the security modules, as mmap() does.
When that was repaired in 2024, the hook was called where the VMA is known: with mmap_lock held for writing.

IMA measures the file in that hook, and takes the lock of the inode. A write to the same file holds the lock of the
inode, and faults in its buffer under mmap_lock of the same process. The two wait for each other. In 6.13 the critical
section was split: the VMA is looked up, the hook is called with no lock held, and the VMA is looked up again.

The standing check of the lock order and the lock validator are left out here, so that the deadlock is seen.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, end, map_file, map_pages, page
from sugarbush.vm.access import generic_file_write
from sugarbush.vm.files import fput
from sugarbush.vm.objects import EINVAL, ESRCH, PAGE_SIZE, AddressSpace, MmStruct
from sugarbush.vm.spaces import mmap_write_lock, mmap_write_unlock
from sugarbush.vm.syscalls import remappable, security_mmap_file
from sugarbush.vm.syscalls import remapping as remap
from sugarbush.vm.vmas import boot


@patch(remap.sys_remap_file_pages)
def sys_remap_file_pages(mm: MmStruct, start: int, size: int, pgoff: int) -> int:
    """One critical section, with the hook in it."""
    if (start | size) & (PAGE_SIZE - 1) or size <= 0:
        return EINVAL
    mmap_write_lock(mm)
    vma = None if mm.ended else remappable(mm, start, size)
    if vma is None or vma.vm_file is None:
        result = ESRCH if mm.ended else EINVAL
    else:
        result = security_mmap_file(vma.vm_file) or remap.remap(vma, start, size, pgoff)
    mmap_write_unlock(mm)
    return result


@bug(
    "remap-file-pages-hook",
    id="Z40e",
    title="remap_file_pages asks the security module with mmap_lock held",
    year=2024,
    versions="6.12",
    fix="mm: split critical region in remap_file_pages() and avoid LSM hook under lock",
    evidence="as far as we know",
    kind=Kind.DEADLOCK,
    patches=(sys_remap_file_pages,),
    tasks=2,
    preemptions=1,
    without=("lock-order", "lockdep"),
)
def remap_file_pages_hook() -> None:
    """Remap a page of a file while another thread writes to the file from fresh memory."""
    machine = boot(6)
    process = Process(machine.add_mm("ora", BASE))
    file = AddressSpace("sga")
    map_file(process, file, 0, 2, shared=True)
    map_pages(process, 4, 1)
    join(
        spawn(lambda: remap.sys_remap_file_pages(process.mm, page(0), PAGE_SIZE, 1), name="remap"),
        spawn(generic_file_write, process.mm, file, 1, page(4), name="write"),
    )
    end(machine, process)
    fput(machine.memory, file)
