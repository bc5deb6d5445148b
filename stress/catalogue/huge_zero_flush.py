"""Memory that was only read is mapped by one huge page of zeroes, which is there for all. Up to v4.8 each entry
that mapped it had a reference, and a shrinker frees it when there is none. To empty such an entry dropped the
reference at once, while the translations of other processors were flushed later, together with those of other
pages: for a moment the page of zeroes could be free, and somebody else's, while a thread went on reading it.
Ordinary pages wait for the flush in the gather, this one did not. Andrea Arcangeli found it in 2016; the fix is
Kirill Shutemov's.

The fix lets the reference wait for the flush, too. Since v4.9 an address space has one reference, which it
keeps until it ends, and the model is like that; so here entries have references again.
"""

from __future__ import annotations

from sugarbush.concurrency import READ_ONCE, Kind, join, spawn, trace
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.pages import HEAP
from sugarbush.vm.access import user_load
from sugarbush.vm.frames import MmuGather, is_huge_zero_pmd, pmdp_get, tlb_remove_tlb_entry
from sugarbush.vm.huge import (
    get_huge_zero_page,
    huge_zero,
    pmdp_huge_get_and_clear,
    put_huge_zero_page,
    shrink_huge_zero_page_scan,
    withdraw,
)
from sugarbush.vm.huge import huge_memory as huge
from sugarbush.vm.objects import PAGE_SIZE, VM_DATA_FLAGS, VM_HUGEPAGE, Folio, MmStruct
from sugarbush.vm.syscalls import MADV_DONTNEED, do_mmap, sys_madvise
from sugarbush.vm.vmas import boot, exit_mmap


@patch(huge_zero.mm_get_huge_zero_page)
def mm_get_huge_zero_page(mm: MmStruct) -> Folio | None:
    """The huge zero page, with a reference for the entry that is about to map it."""
    if not get_huge_zero_page(mm.memory):
        return None
    page: Folio | None = READ_ONCE(mm.memory.huge_zero, "page")
    return page


@patch(huge_zero.mm_put_huge_zero_page)
def mm_put_huge_zero_page(_mm: MmStruct) -> None:
    """The address space itself has none."""


@patch(huge.zap_huge_pmd)
def zap_huge_pmd(tlb: MmuGather, address: int) -> bool:
    """Empty the upper entry of a huge page; that of the huge zero page drops its reference at once."""
    mm = tlb.mm
    mm.page_table_lock.lock()
    if not is_huge_zero_pmd(mm.memory, pmdp_get(mm, address)):
        mm.page_table_lock.unlock()
        return bool(zap_huge_pmd.original(tlb, address))
    pmdp_huge_get_and_clear(mm, address)
    tlb_remove_tlb_entry(tlb, address, address + mm.pmd_size)
    tlb.tables.append(withdraw(mm, address))
    mm.page_table_lock.unlock()
    put_huge_zero_page(mm.memory)
    trace("zap_huge_zero", mm=mm.name, addr=hex(address))
    return True


@bug(
    "huge-zero-flush",
    id="Z77",
    title="the huge zero page is freed while a processor still reads it",
    year=2016,
    versions="3.8 to 4.5",
    fix="aa88b68c3b1d: thp: keep huge zero page pinned until tlb flush",
    evidence="as far as we know",
    kind=Kind.INVARIANT,
    check="tlb",
    patches=(mm_get_huge_zero_page, mm_put_huge_zero_page, zap_huge_pmd),
    tasks=2,
    preemptions=1,
)
def huge_zero_flush() -> None:
    """Give up memory that was only read, while the shrinker looks whether anybody uses the huge zero page."""
    machine = boot(6)
    mm = machine.add_mm("cc1", HEAP)
    do_mmap(mm, HEAP, 2 * PAGE_SIZE, VM_DATA_FLAGS | VM_HUGEPAGE)
    user_load(mm, HEAP)
    join(
        spawn(sys_madvise, mm, HEAP, 2 * PAGE_SIZE, MADV_DONTNEED, name="drop"),
        spawn(shrink_huge_zero_page_scan, machine.memory, name="kswapd"),
    )
    exit_mmap(mm)
    machine.remove_mm(mm)
