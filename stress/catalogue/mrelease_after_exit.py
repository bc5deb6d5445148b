"""process_mrelease() lets a manager take the memory of a process that was killed, as the OOM reaper does. Up to v5.18
exit_mmap() told the reaper that there is nothing left only if the process was an OOM victim, and it freed the VMAs
without taking them out of the list that the address space begins with. A manager that came late passed all tests, took
mmap_lock for reading, and walked VMAs that were freed.

The fix empties mm->mmap. Since the maple tree, exit_mmap() marks every address space and destroys its tree under
mmap_lock for writing.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, fill, map_pages
from sugarbush.vm.frames import tlb_finish_mmu, tlb_gather_mmu
from sugarbush.vm.objects import TASK_SIZE, USER_PGTABLES_CEILING, MmStruct
from sugarbush.vm.reclaim import oom_reap_task_mm
from sugarbush.vm.spaces import mmap_write_lock, mmap_write_unlock
from sugarbush.vm.vmas import boot, free_pgtables, remove_vma, unmap_vmas
from sugarbush.vm.vmas import exit as exit_


@patch(exit_.exit_mmap)
def old_exit_mmap(mm: MmStruct) -> None:
    """The VMAs are freed, and stay where they are found."""
    mm.ended = True
    mmap_write_lock(mm)
    tlb = tlb_gather_mmu(mm, fullmm=True)
    doomed = [vma for _, _, vma in mm.mm_mt.ranges()]
    unmap_vmas(tlb, doomed, 0, TASK_SIZE)
    free_pgtables(tlb, doomed, 0, USER_PGTABLES_CEILING)
    tlb_finish_mmu(tlb)
    for vma in doomed:
        remove_vma(vma)
    mm.map_count = 0
    mmap_write_unlock(mm)


@bug(
    "mrelease-after-exit",
    id="Z41",
    title="the memory of a process is reaped after its VMAs were freed",
    year=2022,
    versions="v5.15 to v5.18",
    fix="mm/mmap.c: reset mm->mmap in exit_mmap",
    evidence="read",
    kind=Kind.USE_AFTER_FREE,
    check="use-after-free",
    patches=(old_exit_mmap,),
    tasks=2,
    preemptions=0,
    era="5.19",
    without=("vma-index",),
)
def mrelease_after_exit() -> None:
    """A process ends while a manager reaps its memory."""
    machine = boot(4, "5.19")
    process = Process(machine.add_mm("app", BASE))
    map_pages(process, 0, 2)
    fill(process, 0, 2)
    join(spawn(exit_.exit_mmap, process.mm), spawn(oom_reap_task_mm, process.mm))
    machine.remove_mm(process.mm)
