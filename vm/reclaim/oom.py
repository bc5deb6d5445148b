"""Taking the memory of a process that was killed before it has ended. Kernel: mm/oom_kill.c, v6.1."""

from __future__ import annotations

from sugarbush.concurrency import trace
from sugarbush.vm.objects import VM_HUGETLB, VM_SHARED, MmStruct, VmArea
from sugarbush.vm.spaces import Mas, mmap_read_lock, mmap_read_unlock
from sugarbush.vm.vmas import zap_page_range


def oom_reap_task_mm(mm: MmStruct) -> bool:
    """Empty the private mappings of `mm`, if there is anything to reap; whether there was. Takes mmap_lock.

    The caller keeps the object `mm` (mm_count). Kernel: oom_reap_task_mm() and process_mrelease().
    """
    mmap_read_lock(mm)
    # Under mmap_lock: exit_mmap() sets this and takes mmap_lock for writing after that.
    alive = not mm.oom_skip
    if alive:
        # Before the first entry goes, and seen by whoever finds it gone: both look under its page-table lock.
        mm.unstable = True
        mas: Mas = mm.mm_mt.cursor()
        while (vma := mas.find()) is not None:
            if may_reap(vma):
                # It tells devices that mirror the range, which the reaper once did not: they kept pages that
                # were freed (oom-reaper-mirror, Z65).
                zap_page_range(vma, vma.vm_start, vma.vm_end)
        trace("oom_reaper", mm=mm.name)
    mmap_read_unlock(mm)
    return alive


def may_reap(vma: VmArea) -> bool:
    """What is private goes, locked or not: up to v5.17, as far as we know, locked memory was left to the process.

    Needs mmap_lock.
    """
    return not vma.vm_flags & (VM_HUGETLB | VM_SHARED)
