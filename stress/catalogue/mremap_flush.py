"""mremap moves the entries of a page from one place to another, and must end the translations of the old place. The
function that moves them dropped the page-table locks first and flushed afterwards. In between the page was mapped at
the new place, and could be taken away from there: whoever did so flushed the new place, which is all that it knew of,
and freed the page. The process could go on using it at the old place.

Found by Jann Horn in 2018. The fix flushes before either lock is dropped.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.pages import compact_page, heap, page
from sugarbush.vm.frames import flush_tlb_range, ptep_get, ptep_get_and_clear, set_pte
from sugarbush.vm.objects import PAGE_SIZE, PageTable, VmArea
from sugarbush.vm.spaces import SINGLE_DEPTH_NESTING
from sugarbush.vm.vmas import drop_rmap_locks, move, take_rmap_locks


@patch(move.move_ptes)
def move_ptes(
    vma: VmArea,
    table: PageTable,
    old: int,
    target: PageTable,
    new: int,
    length: int,
    *,
    need_rmap_locks: bool,
) -> None:
    """Move the entries of `length` bytes at `old` to `new`, and flush when all is done."""
    if need_rmap_locks:
        take_rmap_locks(vma)
    table.ptl.lock()
    if target is not table:
        target.ptl.lock(SINGLE_DEPTH_NESTING)
    for offset in range(0, length, PAGE_SIZE):
        if ptep_get(table, old + offset) is not None:
            set_pte(target, new + offset, ptep_get_and_clear(table, old + offset))
    if target is not table:
        target.ptl.unlock()
    table.ptl.unlock()
    if need_rmap_locks:
        drop_rmap_locks(vma)
    flush_tlb_range(vma.vm_mm, old, old + length)


@bug(
    "mremap-flush",
    id="Z10",
    title="mremap flushes after its locks: a page that was moved is freed while it is in use",
    year=2018,
    versions="before 4.19",
    cve="CVE-2018-18281",
    fix="eb66ae030829: mremap: properly flush TLB before releasing the page",
    evidence="read",
    kind=Kind.INVARIANT,
    check="tlb",
    patches=(move_ptes,),
    tasks=3,
    preemptions=1,
)
def mremap_flush() -> None:
    """Move a page to another address while it is being moved to another frame."""
    machine, process = heap(1)
    memory = machine.memory
    new = page(8)
    join(
        spawn(process.mremap, page(0), 1, new, name="cc1"),
        spawn(compact_page, memory, memory.mem_map[0], name="kcompactd"),
    )
    process.load(new)
    process.exit(machine)
