"""Up to v4.16 exit_mmap() unlocked memory that was locked by mlock() before it unmapped anything, without mmap_lock:
nobody else was thought to be about. It cleared VM_LOCKED of the VMA first, then looked at its pages one by one. The OOM
reaper leaves locked memory alone; but once the flag was clear it emptied the VMA, and the pages that the unlocking
had just looked up were freed under it.

As far as we know the fix has exit_mmap() do the reaper's work itself first, under mmap_lock, and marks the address
space so that the reaper stays away.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, fill, map_pages
from sugarbush.vm.frames import folio_put, pte_offset_map, ptep_get, tlb_finish_mmu, tlb_gather_mmu
from sugarbush.vm.objects import (
    PAGE_SIZE,
    TASK_SIZE,
    USER_PGTABLES_CEILING,
    VM_LOCKED,
    VM_SHARED,
    MmStruct,
    Present,
    VmArea,
    folio_get,
)
from sugarbush.vm.reclaim import oom, oom_reap_task_mm
from sugarbush.vm.spaces import mmap_write_lock, mmap_write_unlock
from sugarbush.vm.syscalls import MAP_LOCKED
from sugarbush.vm.vmas import boot, free_pgtables, remove_vma, unmap_vmas
from sugarbush.vm.vmas import exit as exit_


def munlock_vma_pages_all(vma: VmArea) -> None:
    """Clear the flag, then look at each page, as if none could go away."""
    mm = vma.vm_mm
    vma.vm_flags &= ~VM_LOCKED
    for address in range(vma.vm_start, vma.vm_end, PAGE_SIZE):
        table = pte_offset_map(mm, address)
        pte = None if table is None else ptep_get(table, address)
        if isinstance(pte, Present):
            folio = mm.memory.mem_map[pte.pfn]
            folio_get(folio)
            folio_put(mm.memory, folio)


@patch(exit_.exit_mmap)
def old_exit_mmap(mm: MmStruct) -> None:
    """Locked memory is unlocked first, without mmap_lock."""
    mm.ended = True
    doomed = list(mm.mm_mt.shown())
    vmas = [vma for _, _, vma in doomed]
    for vma in vmas:
        if vma.vm_flags & VM_LOCKED:
            munlock_vma_pages_all(vma)
    mmap_write_lock(mm)
    tlb = tlb_gather_mmu(mm, fullmm=True)
    unmap_vmas(tlb, vmas, 0, TASK_SIZE)
    mm.oom_skip = True
    free_pgtables(tlb, vmas, 0, USER_PGTABLES_CEILING)
    tlb_finish_mmu(tlb)
    for vma in vmas:
        remove_vma(vma)
    mm.mm_mt.destroy()
    mm.map_count = 0
    mmap_write_unlock(mm)


@patch(oom.may_reap)
def may_reap(vma: VmArea) -> bool:
    """Locked memory is left to the process, as then."""
    return not vma.vm_flags & (VM_LOCKED | VM_SHARED)


@bug(
    "exit-munlock-reaper",
    id="Z42",
    title="memory is unlocked at exit while the OOM reaper takes it away",
    year=2018,
    versions="v4.14 to v4.16",
    cve="CVE-2018-1000200",
    fix="mm, oom: fix concurrent munlock and oom reaper unmap, v3",
    evidence="as far as we know",
    kind=Kind.BUG_ON,
    check="refcount",
    patches=(old_exit_mmap, may_reap),
    tasks=2,
    preemptions=1,
    era="5.19",
)
def exit_munlock_reaper() -> None:
    """A process with locked memory ends while the OOM reaper is at work."""
    machine = boot(4, "5.19")
    process = Process(machine.add_mm("db", BASE))
    map_pages(process, 0, 1, extra=MAP_LOCKED)
    fill(process, 0)
    join(spawn(exit_.exit_mmap, process.mm), spawn(oom_reap_task_mm, process.mm))
    machine.remove_mm(process.mm)
