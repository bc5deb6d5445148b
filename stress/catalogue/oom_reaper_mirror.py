"""The OOM reaper empties the private memory of a process that was killed, beside the threads of it that are still
there. Devices that mirror the address space, or the machine that runs in it, have page tables of their own and no
reference to the pages in them: they have to be told before a page goes. The reaper told nobody. So a guest of KVM
went on using pages that were free, or had another owner by then. Andrea Arcangeli noticed it in 2017, when the reaper
was a year old.

To tell them may have to wait for somebody who waits for memory, and the reaper must not wait for that. So at first it
left such processes alone, as the fix says; since 4.19 it asks those who need not wait, and leaves the rest for later.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.mirrors import mirror
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.access import Killed, device_close, device_load
from sugarbush.vm.frames import MmuIntervalNotifier, tlb_finish_mmu, tlb_gather_mmu
from sugarbush.vm.objects import MmStruct
from sugarbush.vm.reclaim import oom
from sugarbush.vm.spaces import Mas, mmap_read_lock, mmap_read_unlock
from sugarbush.vm.vmas import exit_mmap, unmap_single_vma


@patch(oom.oom_reap_task_mm)
def oom_reap_task_mm(mm: MmStruct) -> bool:
    """Empty the private mappings of `mm`; who mirrors them learns nothing of it."""
    mmap_read_lock(mm)
    alive = not mm.oom_skip
    if alive:
        mm.unstable = True
        mas: Mas = mm.mm_mt.cursor()
        while (vma := mas.find()) is not None:
            if oom.may_reap(vma):
                tlb = tlb_gather_mmu(mm)
                unmap_single_vma(tlb, vma, vma.vm_start, vma.vm_end)
                tlb_finish_mmu(tlb)
    mmap_read_unlock(mm)
    return alive


def run_guest(sub: MmuIntervalNotifier) -> None:
    """A guest looks at its memory, for as long as there is any."""
    try:
        device_load(sub, page(0))
        device_load(sub, page(0))
    except Killed:
        pass


@bug(
    "oom-reaper-mirror",
    id="Z65",
    title="the OOM reaper frees pages that a guest still uses",
    year=2017,
    versions="4.6 to 4.13",
    fix="4d4bbd8526a8: mm, oom_reaper: skip mm structs with mmu notifiers",
    evidence="as far as we know",
    kind=Kind.INVARIANT,
    check="secondary-mmu",
    patches=(oom_reap_task_mm,),
    tasks=2,
    preemptions=0,
)
def oom_reaper_mirror() -> None:
    """A guest looks at its memory while the process around it is reaped."""
    machine, process = heap(1)
    sub = mirror(process.mm, page(0), 1)
    guest = spawn(run_guest, sub, name="guest")
    reaper = spawn(oom.oom_reap_task_mm, process.mm, name="oom_reaper")
    join(guest, reaper)
    exit_mmap(process.mm)
    device_close(sub)
    machine.remove_mm(process.mm)
