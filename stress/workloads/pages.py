"""What workloads on pages begin and end with: a machine, and a process with a heap that it has written to."""

from __future__ import annotations

from sugarbush.stress.kit import Process
from sugarbush.vm.frames import (
    alloc_huge,
    folio_put,
    isolate_freepage,
    isolate_lru_page,
    putback_lru_page,
    swapon,
)
from sugarbush.vm.objects import PAGE_SIZE, PTRS_PER_PTE, Folio, Memory, folio_try_get
from sugarbush.vm.reclaim import migrate_folio
from sugarbush.vm.syscalls import MADV_HUGEPAGE, sys_madvise
from sugarbush.vm.vmas import Machine, boot

HEAP = 0x10_0000


def page(number: int) -> int:
    """The address of a page of the heap."""
    return HEAP + number * PAGE_SIZE


def heap(
    pages: int,
    *,
    frames: int = 8,
    slots: int = 0,
    synchronous: bool = False,
    zswap: bool = False,
    thp_swap: bool = False,
    huge: bool = False,
    era: str = "6.1",
    nodes: int = 1,
    ptrs_per_pte: int = PTRS_PER_PTE,
) -> tuple[Machine, Process]:
    """A process with a heap of `pages` pages, all of them written to, on a machine with so many frames, slots, nodes.

    With `huge` the heap is made of huge pages of `ptrs_per_pte` pages, as far as they fit.
    """
    machine = boot(frames, era, nodes, ptrs_per_pte)
    if slots:
        swapon(machine.memory, slots, synchronous=synchronous, zswap=zswap, thp=thp_swap)
    process = Process(machine.add_mm("cc1", HEAP))
    process.brk(page(pages))
    if huge:
        sys_madvise(process.mm, HEAP, pages * PAGE_SIZE, MADV_HUGEPAGE)
    for number in range(pages):
        process.store(page(number), f"cc1:{number}")
    return machine, process


def migrate_huge(memory: Memory, folio: Folio) -> None:
    """Move a large folio to other frames, if there are any and it is still in use."""
    target = alloc_huge(memory)
    if target is None:
        return
    if folio.order and folio_try_get(folio):
        migrate_folio(memory, folio, target)
        folio_put(memory, folio)
    else:
        folio_put(memory, target)


def compact_page(memory: Memory, folio: Folio) -> None:
    """Move one page to the highest free frame above it, as compaction does."""
    if isolate_lru_page(memory, folio):
        target = isolate_freepage(memory, folio.pfn)
        if target is not None and migrate_folio(memory, folio, target) == 0:
            folio_put(memory, folio)
        else:
            putback_lru_page(memory, folio)
