"""Translations that processors keep, and the flushes that end them. Kernel: arch/x86/mm/tlb.c, mm/mmu_gather.c, v6.1.

Each task is a CPU of its own. An access in user space uses a translation that its CPU has, whatever the page tables
say meanwhile, and fetches one if it has none (`vm.access.user`). So an entry that was cleared or write-protected is
in force on other CPUs only after a flush. A flush is one operation here: the interrupts that it sends are answered at
once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sugarbush.concurrency import READ_ONCE, atomic_dec, atomic_inc, cmpxchg
from sugarbush.concurrency.lowlevel import Operation, perform
from sugarbush.vm.frames.pgtable import pte_cache, ptep_get_and_clear
from sugarbush.vm.frames.swap import free_page_and_swap_cache
from sugarbush.vm.objects import PAGE_SIZE, TASK_SIZE, Folio, Memory, MmStruct, PageTable, Present, Pte

if TYPE_CHECKING:
    from sugarbush.concurrency import Task
    from sugarbush.concurrency.core import Place


def _flush(mm: MmStruct, _task: Any, arg: tuple[int, int]) -> None:
    start, end = arg
    for cpu in mm.tlb.values():
        for page in [page for page in cpu if start <= page < end]:
            del cpu[page]


# keeps_arg: as of the entries, which pages it is about decides which checks see it.
FLUSH_TLB = Operation("flush_tlb_mm_range", effect=_flush, field="tlb", local=True, keeps_arg=True)


def flush_tlb_range(mm: MmStruct, start: int, end: int) -> None:
    """Make all CPUs forget their translations of ``[start, end)``."""
    perform(FLUSH_TLB, mm, (start, end))


def flush_tlb_page(mm: MmStruct, address: int) -> None:
    """Make all CPUs forget their translations of the page at `address`."""
    perform(FLUSH_TLB, mm, (address, address + PAGE_SIZE))


def flush_tlb_mm(mm: MmStruct) -> None:
    """Make all CPUs forget all their translations."""
    perform(FLUSH_TLB, mm, (0, TASK_SIZE + PAGE_SIZE))


def _no_walker(memory: Memory, task: Task) -> bool:
    # The task itself may be in such a walk, and waits for nobody then: an interrupt to oneself.
    return all(walker is task for walker in memory.irqs_off)


def _waits(memory: Memory, _task: Any, _arg: Any) -> list[Place]:
    return [(memory, "irqs_off", False)]


SYNC_ONE = Operation("tlb_remove_table_sync_one", ready=_no_walker, touches=_waits)


def tlb_remove_table_sync_one(memory: Memory) -> None:
    """Wait until no CPU walks page tables that it found before with interrupts off: an interrupt for each of them.

    Only then may a page-table page be freed that such a walk may have found.
    """
    perform(SYNC_ONE, memory)


def ptep_clear_flush(mm: MmStruct, table: PageTable, address: int) -> Pte:
    """Empty the entry of `address` and flush; gives what was there. Needs the table's lock."""
    pte = ptep_get_and_clear(table, address)
    # What is not present no processor has kept.
    if isinstance(pte, Present):
        flush_tlb_page(mm, address)
    return pte


FLUSH_BATCH_FLUSHED_SHIFT = 16
FLUSH_BATCH_PENDING_MASK = (1 << FLUSH_BATCH_FLUSHED_SHIFT) - 1
"""Half of `MmStruct.tlb_flush_batched` counts what was put off. Where it would overflow v6.1 begins anew; none does."""


def flush_tlb_batched_pending(mm: MmStruct) -> None:
    """Flush what reclaim has put off; under a page-table lock, before going by an entry that reclaim may have cleared.

    Reclaim may put off another flush at any time, under the lock of another page-table page. So not a flag is cleared
    here, which could be that of a flush that came after ours; what was counted before it is noted as made up for, if
    nothing was counted since. Kernel: mm/rmap.c, as since v5.17 (5ee2fa2f0636).
    """
    batch = READ_ONCE(mm, "tlb_flush_batched")
    pending, flushed = batch & FLUSH_BATCH_PENDING_MASK, batch >> FLUSH_BATCH_FLUSHED_SHIFT
    # Without this an mprotect() finds the entry empty, has nothing to flush, and returns, while a CPU goes on
    # storing by the translation of before (batched-flush, Z33).
    if pending != flushed:
        flush_tlb_mm(mm)
        # If it fails somebody has put off another flush since, or has made up for it: then one too many is
        # flushed next time.
        cmpxchg(mm, "tlb_flush_batched", batch, pending | pending << FLUSH_BATCH_FLUSHED_SHIFT)


# -- flushes that are put off -----------------------------------------------------------------------------------


def inc_tlb_flush_pending(mm: MmStruct) -> None:
    """Say that a flush is to come: what the page tables say is not in force on all CPUs. Comes before the first
    change.
    """
    atomic_inc(mm, "tlb_flush_pending")


def dec_tlb_flush_pending(mm: MmStruct) -> None:
    """The end of `inc_tlb_flush_pending`, after the flush."""
    atomic_dec(mm, "tlb_flush_pending")


def mm_tlb_flush_pending(mm: MmStruct) -> bool:
    """Somebody has changed entries and not flushed yet."""
    return bool(READ_ONCE(mm, "tlb_flush_pending") > 0)


def mm_tlb_flush_nested(mm: MmStruct) -> bool:
    """Another task besides the caller has changed entries and not flushed yet."""
    return bool(READ_ONCE(mm, "tlb_flush_pending") > 1)


@dataclass(slots=True)
class MmuGather:
    """What an unmap has taken out of the page tables; pages and tables are freed after the flush.

    ``[start, end)`` is the range whose translations must be flushed, empty if there is none.
    """

    mm: MmStruct
    fullmm: bool = False
    start: int = TASK_SIZE
    end: int = 0
    pages: list[Folio] = field(default_factory=list)
    tables: list[PageTable] = field(default_factory=list)


def tlb_gather_mmu(mm: MmStruct, *, fullmm: bool = False) -> MmuGather:
    """Begin an unmap; `fullmm` for that of a whole address space."""
    # Before the first entry changes: the second of two zaps that overlap counts at least two when it ends.
    inc_tlb_flush_pending(mm)
    return MmuGather(mm, fullmm)


def tlb_remove_tlb_entry(tlb: MmuGather, start: int, end: int) -> None:
    """Note that entries of ``[start, end)`` were changed, so that their translations are flushed."""
    tlb.start = min(tlb.start, start)
    tlb.end = max(tlb.end, end)


def tlb_flush_mmu(tlb: MmuGather) -> None:
    """Flush what was changed so far, then free what was taken out so far."""
    # Flush, then free, and in that order for pages and tables alike: a CPU may use either until it has been
    # told. For the huge zero page the same was forgotten once (huge-zero-flush, Z77).
    tlb_flush_mmu_tlbonly(tlb)
    memory = tlb.mm.memory
    for folio in tlb.pages:
        free_page_and_swap_cache(memory, folio)
    tlb.pages.clear()
    if tlb.tables:
        # A flush does not concern a task that walks page tables with interrupts off: it has kept no
        # translation (gup_fast). So it must be waited for.
        tlb_remove_table_sync_one(memory)
    for table in tlb.tables:
        pte_cache.free(table)
    tlb.tables.clear()


def tlb_flush_mmu_tlbonly(tlb: MmuGather) -> None:
    """Flush what was changed so far."""
    if tlb.fullmm:
        flush_tlb_mm(tlb.mm)
    elif tlb.end:
        flush_tlb_range(tlb.mm, tlb.start, tlb.end)
    tlb.start, tlb.end = TASK_SIZE, 0


def tlb_finish_mmu(tlb: MmuGather) -> None:
    """Flush, and free what was gathered.

    If somebody else unmaps at the same time, an entry that looked empty may be one whose flush is still to come, so
    everything is flushed.
    """
    # Everything, not our range: what the other one has cleared and not flushed we have never seen. Without
    # this, zap-without-nested-flush (Z32).
    if mm_tlb_flush_nested(tlb.mm):
        tlb.fullmm = True
    tlb_flush_mmu(tlb)
    # Not before the flush, or the other one would see nobody.
    dec_tlb_flush_pending(tlb.mm)
