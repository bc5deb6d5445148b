"""userfaultfd can write-protect memory with mmap_lock for reading only, and flushes at the end. While that flush is
still to come, another call takes the protection away again: the entry stays read-only, but nobody is told of stores
any more. A store now faults and copies the page. A third thread, whose CPU never heard of all this, stores to the old
page through its writable translation, after the copy was made: its store is lost. Found by Nadav Amit in 2021.

Write faults before 5.19 copied whenever somebody else referred to the page, as they do below. The fix flushes in the
write fault whenever userfaultfd may have protected the page and a flush is pending.
"""

from __future__ import annotations

from sugarbush.concurrency import READ_ONCE, Completion, Kind, join, spawn
from sugarbush.concurrency.lowlevel import perform
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.access import handle_user_fault
from sugarbush.vm.faults import (
    PROTECTED,
    WAKE,
    change_range,
    cow,
    uffd,
    userfaultfd_register,
    wp_page_copy,
    wp_page_reuse,
)
from sugarbush.vm.frames import (
    MmuGather,
    addresses,
    dec_tlb_flush_pending,
    folio_put,
    inc_tlb_flush_pending,
    pmdp_get,
    ptep_get,
    tlb_flush_mmu,
)
from sugarbush.vm.objects import PTE_UFFD_WP, MmStruct, PageTable, Present, VmArea, folio_get
from sugarbush.vm.spaces import mmap_read_lock, mmap_read_unlock


@patch(cow.do_wp_page)
def do_wp_page(vma: VmArea, table: PageTable, address: int, pte: Present) -> int:
    """A store met a read-only entry: copy the page if anybody else refers to it. No flush is made up for."""
    with table.ptl:
        if ptep_get(table, address) != pte:
            return 0
        if pte.bits & PTE_UFFD_WP:
            return PROTECTED
        folio = vma.vm_mm.memory.mem_map[pte.pfn]
        if READ_ONCE(folio, "refcount") == 1:
            wp_page_reuse(vma, table, address)
            return 0
        folio_get(folio)
    return wp_page_copy(vma, table, address, pte, folio)


PAGES = 4
"""So many pages are stored to."""
SNAPSHOT = 8
"""So many are protected by one call, which flushes behind the last one."""


@patch(uffd.userfaultfd_writeprotect)
def userfaultfd_writeprotect(mm: MmStruct, start: int, end: int, *, protect: bool) -> int:
    """Protect ``[start, end)``, and flush; or take the protection away, which needs no flush by itself."""
    mmap_read_lock(mm)
    gather = MmuGather(mm)
    inc_tlb_flush_pending(mm)
    for low, high in addresses(mm, start, end):
        table = pmdp_get(mm, low)
        if isinstance(table, PageTable):
            change_range(gather, table, low, high, protect=protect)
    tlb_flush_mmu(gather)
    dec_tlb_flush_pending(mm)
    mmap_read_unlock(mm)
    if not protect:
        perform(WAKE, mm, (start, end))
    return 0


def protect_and_unprotect(mm: MmStruct) -> None:
    """A monitor takes a snapshot: it keeps stores away for a while."""
    for protect in (True, False):
        uffd.userfaultfd_writeprotect(mm, page(0), page(SNAPSHOT), protect=protect)


def unprotect_and_populate(mm: MmStruct, resumed: Completion) -> None:
    """Another thread of the monitor lets stores go on, says so, and makes the pages writable: MADV_POPULATE_WRITE."""
    uffd.userfaultfd_writeprotect(mm, page(0), page(PAGES), protect=False)
    resumed.complete()
    populate(mm, PAGES)


def populate(mm: MmStruct, pages: int) -> None:
    """Make pages writable without storing to them."""
    for number in range(pages):
        handle_user_fault(mm, page(number), write=True)


@bug(
    "uffd-wp-copy",
    id="Z28",
    title="a store is lost to a page that is copied before the flush of its write protection",
    year=2021,
    versions="5.7 to 5.12",
    fix="6ce64428d620: mm/userfaultfd: fix memory corruption due to writeprotect",
    evidence="as far as we know",
    kind=Kind.CORRUPTION,
    check="private-data",
    patches=(do_wp_page, userfaultfd_writeprotect),
    tasks=4,
    preemptions=2,
)
def uffd_wp_copy() -> None:
    """Protect a heap and take that away, while one thread stores to some of its pages and another faults on them."""
    machine, process = heap(SNAPSHOT, frames=18)
    userfaultfd_register(process.mm, page(0))
    held = [folio for folio in machine.memory.mem_map if folio.refcount]
    for folio in held:
        folio_get(folio)
    monitor = spawn(protect_and_unprotect, process.mm, name="monitor")
    resumed = Completion("resumed")
    helper = spawn(unprotect_and_populate, process.mm, resumed, name="helper")
    resumed.wait()
    for number in range(PAGES):
        process.store(page(number), "late")
    join(helper)
    for number in range(PAGES):
        process.load(page(number))
    join(monitor)
    for folio in held:
        folio_put(machine.memory, folio)
    process.exit(machine)
