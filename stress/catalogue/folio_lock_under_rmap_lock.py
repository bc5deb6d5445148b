"""Not one bug but a rule, which the comment at the top of mm/rmap.c writes down: a folio's lock is taken before the
locks of the trees that lead to its VMAs. A walk that comes to a folio by way of its anon_vma may only try the folio's
lock. Whoever waits for it there waits for a task that may need the anon_vma lock to finish, as migration does.

The walk below is a mutant of reclaim that turns the two around. The order is asserted at every acquire, so it is
reported the first time, whether or not a second task is in the way.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.pages import compact_page, heap, page
from sugarbush.vm.frames import folio_put, putback_lru_page
from sugarbush.vm.objects import Folio, Memory
from sugarbush.vm.reclaim import FlushBatch, kswapd, shrink_folio, try_to_unmap_flush, vmscan
from sugarbush.vm.reverse import anon_vma_unlock_read, folio_lock_anon_vma_read


@patch(vmscan.shrink_folio_list)
def shrink_folio_list(memory: Memory, folios: list[Folio]) -> int:
    """Free what can be freed; each folio is locked by way of its anon_vma."""
    batch = FlushBatch()
    doomed = []
    for folio in folios:
        anon_vma = folio_lock_anon_vma_read(folio)
        folio.lock.lock()
        if anon_vma is not None:
            anon_vma_unlock_read(anon_vma)
        gone = shrink_folio(memory, folio, batch)
        folio.lock.unlock()
        if gone:
            doomed.append(folio)
        else:
            putback_lru_page(memory, folio)
    try_to_unmap_flush(batch)
    for folio in doomed:
        folio_put(memory, folio)
    return len(doomed)


@bug(
    "folio-lock-under-rmap-lock",
    id="Z40h",
    title="a walk waits for a folio lock with the rmap lock held",
    year=2003,
    versions="none: a mutant",
    fix="the order at the top of mm/rmap.c: a folio lock under an rmap lock is only tried",
    evidence="as far as we know",
    kind=Kind.LOCKDEP,
    check="lock-order",
    patches=(shrink_folio_list,),
    tasks=2,
    preemptions=1,
    without=("lockdep",),
)
def folio_lock_under_rmap_lock() -> None:
    """Reclaim a page while it is being moved."""
    machine, process = heap(1, slots=1)
    memory = machine.memory
    join(
        spawn(kswapd, memory, 1, name="kswapd"),
        spawn(compact_page, memory, memory.mem_map[0], name="kcompactd"),
    )
    process.load(page(0))
    process.exit(machine)
