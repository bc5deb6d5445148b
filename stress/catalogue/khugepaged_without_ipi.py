"""get_user_pages_fast() walks page tables with nothing but interrupts off. That keeps page-table pages alive on
machines where the flush that precedes a free is an interrupt to each CPU: it is answered only after the walk. When
khugepaged retracts the page-table page of a file mapping it flushed, but where the flush needs no interrupt (or the
page tables are freed by other rules) nobody waited for such walks, and one that had read the upper entry before went
on in a page that was free. Found by Jann Horn in 2022.

The fix sends the interrupt whenever khugepaged takes a page-table page away, whatever the flush does.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.catalogue.gup_fast_against_fork import use
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.pages import HEAP
from sugarbush.vm.files import fput
from sugarbush.vm.frames import flush_tlb_range
from sugarbush.vm.huge import khugepaged, pmdp_huge_get_and_clear, retract_page_tables
from sugarbush.vm.objects import PAGE_SHIFT, AddressSpace, MmStruct
from sugarbush.vm.syscalls import MAP_FIXED, MAP_SHARED, PROT_READ, PROT_WRITE, sys_mmap
from sugarbush.vm.vmas import boot


@patch(khugepaged.pmdp_collapse_flush)
def pmdp_collapse_flush(mm: MmStruct, start: int) -> None:
    """Take the page-table page at `start` away; nobody is waited for."""
    pmdp_huge_get_and_clear(mm, start)
    flush_tlb_range(mm, start, start + mm.pmd_size)


@bug(
    "khugepaged-without-ipi",
    id="Z25",
    title="a walk with interrupts off goes on in a page-table page that khugepaged has freed",
    year=2022,
    versions="before 6.1",
    fix="2ba99c5e0881: mm/khugepaged: fix GUP-fast interaction by sending IPI",
    evidence="read",
    kind=Kind.USE_AFTER_FREE,
    check="use-after-free",
    patches=(pmdp_collapse_flush,),
    tasks=2,
    preemptions=1,
)
def khugepaged_without_ipi() -> None:
    """Pin a page of a shared file mapping while its page-table page is retracted."""
    machine = boot(6)
    file = AddressSpace("lib.so")
    process = Process(machine.add_mm("cc1", HEAP))
    sys_mmap(process.mm, HEAP, process.mm.pmd_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file)
    process.load(HEAP)
    process.dontneed(HEAP, process.mm.pmd_size >> PAGE_SHIFT)
    join(
        spawn(retract_page_tables, file, 0, name="khugepaged"),
        spawn(use, process.mm, name="device"),
    )
    process.exit(machine)
    fput(machine.memory, file)
