"""ksmd looks for equal pages in the address spaces of others. It holds mm_count, which keeps the object but not
what is in it: when the last user goes, exit_mmap() frees the VMAs and destroys their tree. So ksmd asks, under
mmap_lock, whether that has happened. One of its loops over VMAs asked only after the iterator had gone to the
tree.

As far as we know that was left over when the loop was moved from the list of VMAs to the maple tree. In the model the
iterator stands in the tree when the lock is dropped, as it does after any look at one VMA.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, READ, map_pages, page
from sugarbush.vm.objects import PAGE_SIZE, MmStruct
from sugarbush.vm.reclaim import ksm
from sugarbush.vm.spaces import Mas, mmap_read_lock, mmap_read_unlock
from sugarbush.vm.syscalls import MADV_MERGEABLE, sys_madvise
from sugarbush.vm.vmas import boot, exit_mmap


@patch(ksm.ksm_scan_mm)
def ksm_scan_mm(mm: MmStruct) -> list[object]:
    """The iterator goes to the tree, and then it is asked whether the process has ended."""
    mas: Mas = mm.mm_mt.cursor()
    seen: list[object] = []
    while True:
        mmap_read_lock(mm)
        vma = mas.find()
        if vma is None or ksm.ksm_test_exit(mm):
            mmap_read_unlock(mm)
            return seen
        seen.append(vma.vm_flags)
        mmap_read_unlock(mm)


@bug(
    "ksm-after-exit",
    id="Z44",
    title="ksmd walks a tree of VMAs that was destroyed",
    year=2023,
    versions="v6.1 to v6.2",
    fix="mm/ksm: fix race with VMA iteration and mm_struct teardown",
    evidence="as far as we know",
    kind=Kind.USE_AFTER_FREE,
    check="use-after-free",
    patches=(ksm_scan_mm,),
    tasks=2,
    preemptions=1,
    era="6.6",
)
def ksm_after_exit() -> None:
    """A process ends while ksmd looks at its memory."""
    machine = boot(4, "6.6")
    process = Process(machine.add_mm("guest", BASE))
    map_pages(process, 0, 1)
    map_pages(process, 2, 1, prot=READ)
    assert sys_madvise(process.mm, page(0), PAGE_SIZE, MADV_MERGEABLE) == 0
    process.store(page(0), "equal")
    join(spawn(exit_mmap, process.mm), spawn(ksm.ksm_scan_mm, process.mm))
    machine.remove_mm(process.mm)
