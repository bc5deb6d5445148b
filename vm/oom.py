"""Taking the memory of a process that was killed before it has ended. Kernel: mm/oom_kill.c, v6.1."""

from __future__ import annotations

from concurrency import trace
from vm.find import Mas
from vm.layout import VM_LOCKED, VM_SHARED
from vm.mm import MmStruct, mmap_read_lock, mmap_read_unlock
from vm.zap import zap_page_range


def oom_reap_task_mm(mm: MmStruct) -> bool:
    """Empty the private mappings of `mm`, if there is anything to reap; whether there was. Takes mmap_lock.

    The caller keeps the object `mm` (mm_count). Kernel: oom_reap_task_mm() and process_mrelease(). Memory that is
    locked is left to the process.
    """
    mmap_read_lock(mm)
    alive = not mm.oom_skip
    if alive:
        mas: Mas = mm.mm_mt.cursor()
        while (vma := mas.find()) is not None:
            if not vma.vm_flags & (VM_LOCKED | VM_SHARED):
                zap_page_range(vma, vma.vm_start, vma.vm_end)
        trace("oom_reaper", mm=mm.name)
    mmap_read_unlock(mm)
    return alive
