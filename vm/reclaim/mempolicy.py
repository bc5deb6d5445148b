"""mbind(2) with MPOL_MF_MOVE: the pages of a range go to other frames. Kernel: mm/mempolicy.c, v6.1.

Simpler here: any free frame will do, of whatever node, and the policy itself is not kept.
"""

from __future__ import annotations

from sugarbush.vm.frames import (
    addresses,
    alloc_folio,
    folio_put,
    isolate_lru_page,
    pmdp_get,
    ptep_get,
    putback_lru_page,
    vm_normal_page,
)
from sugarbush.vm.objects import (
    EFAULT,
    EINVAL,
    ESRCH,
    PAGE_SIZE,
    Folio,
    MmStruct,
    PageTable,
    Present,
    page_align,
)
from sugarbush.vm.reclaim.migrate import migrate_folio
from sugarbush.vm.reclaim.workqueue import Workqueue, flush_workqueue
from sugarbush.vm.spaces import mmap_write_lock, mmap_write_unlock, vma_find, vma_start_write


def lru_add_drain_all(kevent: Workqueue) -> None:
    """Wait until every page that should be on the LRU is there. No lock may be held that work on the queue takes.

    The batches of the other CPUs are emptied by work on the shared queue, and so this waits for all work before it.
    Simpler here: there are no such batches, only the waiting.
    """
    flush_workqueue(kevent)


def do_mbind(mm: MmStruct, kevent: Workqueue, start: int, length: int) -> int:
    """mbind(2): 0 or a negative error. Waits for `kevent`, and then takes mmap_lock for writing.

    -EINVAL for an unaligned start, -EFAULT where nothing is mapped at it, -ESRCH for an address space that has ended.
    A page that cannot be moved stays.
    """
    if start & (PAGE_SIZE - 1):
        return EINVAL
    # Before mmap_lock: work on that queue takes the rtnl lock, whose holder may fault, and so wait for
    # mmap_lock (kevent-rtnl-cycle, Z40g).
    lru_add_drain_all(kevent)
    mmap_write_lock(mm)
    result = ESRCH if mm.ended else move_range(mm, start, start + page_align(length))
    mmap_write_unlock(mm)
    return result


def move_range(mm: MmStruct, start: int, end: int) -> int:
    """Move the pages of ``[start, end)``; 0 or -EFAULT. Needs mmap_lock. Kernel: queue_pages_range() and so on."""
    vma = vma_find(mm, start)
    if vma is None or vma.vm_start > start:
        return EFAULT
    # Since v6.6 the walk locks each VMA that it comes to (PGWALK_WRLOCK).
    vma_start_write(vma)
    folios: list[Folio] = []
    for low, high in addresses(vma.vm_mm, start, min(end, vma.vm_end)):
        table = pmdp_get(mm, low)
        if isinstance(table, PageTable):
            with table.ptl:
                entries = [ptep_get(table, address) for address in range(low, high, PAGE_SIZE)]
                mapped = [vm_normal_page(mm.memory, pte) for pte in entries if isinstance(pte, Present)]
                # Under the page-table lock: the entry keeps the page until it has a reference.
                folios += [one for one in mapped if one is not None and isolate_lru_page(mm.memory, one)]
    for folio in folios:
        target = None if folio.order else alloc_folio(mm.memory)
        if target is not None and migrate_folio(mm.memory, folio, target) == 0:
            folio_put(mm.memory, folio)
        else:
            putback_lru_page(mm.memory, folio)
    return 0
