"""Allocators like jemalloc give memory back with madvise(MADV_DONTNEED) whenever they please, and the program
may use the place again at once: it gets a fresh page. With huge pages there is often exactly one page for each
place. Giving it up took the entry away under locks, and freed the page behind them, when the processors had
been told. A fault in between found neither the entry nor a free page, and the process was killed, though it had
never used more than it was promised. Rik van Riel closed the window in 2023.

The fix takes the locks further out: faults on the mapping wait until its pages are free again. Since private
mappings had no such lock, a patch before it gave them one, beside their reservations.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, check, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.pages import HEAP
from sugarbush.vm.access import Killed, user_store
from sugarbush.vm.files import HugetlbFile, fput
from sugarbush.vm.frames import (
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
    tlb_finish_mmu,
    tlb_gather_mmu,
)
from sugarbush.vm.huge import hugetlb_zap_begin, hugetlb_zap_end
from sugarbush.vm.objects import PAGE_SIZE, VmArea
from sugarbush.vm.syscalls import (
    MADV_DONTNEED,
    MAP_FIXED,
    MAP_PRIVATE,
    PROT_READ,
    PROT_WRITE,
    sys_madvise,
    sys_mmap,
)
from sugarbush.vm.vmas import boot, zap


@patch(zap.zap_hugetlb_range)
def zap_hugetlb_range(vma: VmArea, start: int, end: int) -> None:
    """Empty a range of huge pages; they are freed when faults are let in again."""
    tlb = tlb_gather_mmu(vma.vm_mm)
    mmu_notifier_invalidate_range_start(tlb.mm, start, end)
    lock = hugetlb_zap_begin(vma)
    zap.unmap_single_vma(tlb, vma, start, end)
    hugetlb_zap_end(vma, lock, final=False)
    mmu_notifier_invalidate_range_end(tlb.mm, start, end)
    tlb_finish_mmu(tlb)


def use(process: Process) -> None:
    """The program uses its page, which is its own as long as it is mapped."""
    try:
        user_store(process.mm, HEAP, "object")
    except Killed as signal:
        check(False, f"a process that uses no more than it was promised is not killed ({signal})")


@bug(
    "hugetlb-dontneed-fault",
    id="Z75",
    title="a fault finds the huge page gone that MADV_DONTNEED has not freed yet",
    year=2023,
    versions="5.18 to 6.5",
    fix="2820b0f09be9: hugetlbfs: close race between MADV_DONTNEED and page fault",
    evidence="as far as we know",
    kind=Kind.CHECK,
    patches=(zap_hugetlb_range,),
    tasks=2,
    preemptions=1,
)
def hugetlb_dontneed_fault() -> None:
    """Give a huge page up while another thread uses the place again; there is one page, and it was promised."""
    machine = boot(4)
    file = HugetlbFile("anon_hugepage", 1)
    process = Process(machine.add_mm("jemalloc", HEAP))
    sys_mmap(process.mm, HEAP, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file)
    process.store(HEAP, "before")
    join(
        spawn(sys_madvise, process.mm, HEAP, PAGE_SIZE, MADV_DONTNEED, name="purge"),
        spawn(use, process, name="worker"),
    )
    process.exit(machine)
    fput(machine.memory, file)
