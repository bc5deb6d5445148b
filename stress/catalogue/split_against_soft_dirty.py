"""To split a huge page the kernel first takes it from all who map it. For each place it asked, without the lock of the
upper entry, whether a huge page is mapped there at all. Clearing the soft-dirty bit of a huge page used to empty the
entry for a moment. A split that asked in that moment passed over the place, and then asserted that nothing maps the
page any more.

It was met with three processes: one that writes, one that clears its soft-dirty bits in a loop, and one that migrates
its pages. The fix asks under the lock.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.catalogue.dontneed_against_soft_dirty import clear_refs, clear_soft_dirty_pmd
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.frames import folio_put, pmdp_get
from sugarbush.vm.huge import huge_split_pmd, is_leaf, maps, split_huge_pmd_locked
from sugarbush.vm.objects import Folio, Memory, VmArea, folio_try_get
from sugarbush.vm.reclaim import split_huge_page


@patch(huge_split_pmd.split_huge_pmd)
def split_huge_pmd(vma: VmArea, address: int, *, freeze: bool = False, folio: Folio | None = None) -> None:
    """Map a huge page page by page; whether there is one is asked before the lock is taken."""
    mm = vma.vm_mm
    start = address & -mm.pmd_size
    if not is_leaf(pmdp_get(mm, start)):
        return
    with mm.page_table_lock:
        pmd = pmdp_get(mm, start)
        if is_leaf(pmd) and (folio is None or maps(mm.memory, pmd, folio)):
            split_huge_pmd_locked(vma, start, freeze=freeze)


def split(memory: Memory, folio: Folio) -> None:
    """Split a large folio, as migration does when it finds no room for all of it."""
    if folio_try_get(folio):
        folio.lock.lock()
        split_huge_page(memory, folio)
        folio.lock.unlock()
        folio_put(memory, folio)


@bug(
    "split-against-soft-dirty",
    id="Z31",
    title="a split passes over a huge page whose entry is being changed",
    year=2016,
    versions="4.5 to 4.7",
    fix="33f4751e9960: mm: thp: move pmd check inside ptl for freeze_page()",
    evidence="read",
    kind=Kind.BUG_ON,
    check="unmap-folio",
    patches=(clear_soft_dirty_pmd, split_huge_pmd),
    tasks=2,
    preemptions=1,
)
def split_against_soft_dirty() -> None:
    """Split a huge page while its soft-dirty bit is being cleared."""
    machine, process = heap(2, huge=True)
    memory = machine.memory
    join(
        spawn(split, memory, memory.mem_map[0], name="migratepages"),
        spawn(clear_refs, process.mm, name="clear_refs"),
    )
    process.load(page(0))
    process.load(page(1))
    process.exit(machine)
