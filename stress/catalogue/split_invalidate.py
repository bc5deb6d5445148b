"""The same mistake for files, seven years earlier. split_vma() cut a VMA in two by changing where it begins, where it
ends and which page of the file comes first, while the VMA hung in the list of those that map the file, and without the
lock of that list. A truncate or an invalidate that walked the list in between computed from half-changed fields which
part of the VMA it had to empty, and left some of it out.

What was left mapped pages that belonged to the file no more. The fix changes the fields under the lock of the mapping,
as vma_adjust() does since: the VMA leaves the tree, changes, and comes back.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, end, map_file, page, touch
from sugarbush.tree import NoMemory
from sugarbush.vm.files import fput, i_mmap_lock_write, i_mmap_unlock_write, vma_interval_tree_insert
from sugarbush.vm.objects import ENOMEM, PAGE_SIZE, AddressSpace, VmArea
from sugarbush.vm.reclaim import do_truncate
from sugarbush.vm.spaces import vma_store
from sugarbush.vm.vmas import adjust, boot, do_munmap, vma_set_range


@patch(adjust.vma_adjust)
def vma_adjust(vma: VmArea, start: int, end: int, pgoff: int, *, insert: VmArea) -> int:
    """As where a VMA of a file is cut in two; only the new one is linked under the lock of the file."""
    mm, mapping = vma.vm_mm, vma.vm_file
    assert mapping is not None
    mas = mm.mm_mt.cursor(insert.vm_start, insert.vm_end - 1)
    try:
        mas.preallocate(insert)
    except NoMemory:
        return ENOMEM
    i_mmap_lock_write(mapping)
    vma_interval_tree_insert(insert, mapping)
    i_mmap_unlock_write(mapping)
    vma_set_range(vma, start, end, pgoff)
    vma_store(mas, insert)
    mm.map_count += 1
    return 0


@bug(
    "split-invalidate",
    id="Z39",
    title="a VMA of a file is cut in two without the lock of the file's mappings",
    year=2003,
    versions="2.6.0-test",
    fix="vma split check fix: the fields change under the lock of the mapping",
    evidence="as far as we know",
    kind=Kind.INVARIANT,
    check="interval-tree",
    without=("data-race",),
    patches=(vma_adjust,),
    tasks=2,
    preemptions=1,
)
def split_invalidate() -> None:
    """Unmap the first page of a mapped file while the file is truncated."""
    machine = boot(6)
    process = Process(machine.add_mm("tail", BASE))
    file = AddressSpace("log")
    map_file(process, file, 0, 3, shared=True)
    touch(process, 0, 3)
    join(spawn(do_munmap, process.mm, page(0), PAGE_SIZE), spawn(do_truncate, machine.memory, file, 1))
    end(machine, process)
    fput(machine.memory, file)
