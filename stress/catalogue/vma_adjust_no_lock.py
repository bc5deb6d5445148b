"""An rmap walk computes where a VMA maps a page from three fields: where the VMA begins, where it ends, and which page
comes first. Up to 2.6.34 vma_adjust() changed them one after the other without the lock that the walk holds. A walk
that came in between computed an address outside the VMA, and passed it over.

For the first walk of a migration that is harmless. The second walk then leaves its migration entry behind, and whoever
touches the page later meets it. Mel Gorman found it while he made compaction work; since 012f18004da3 all anon_vmas of
a family share one lock, that of the root, and vma_adjust() takes it.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, end, fill, map_pages, page, read_back
from sugarbush.tree import NoMemory
from sugarbush.vm.objects import ENOMEM, PAGE_SIZE, VmArea
from sugarbush.vm.reclaim import compact_zone
from sugarbush.vm.spaces import vma_store
from sugarbush.vm.vmas import adjust, boot, do_munmap, vma_set_range


@patch(adjust.vma_adjust)
def vma_adjust(vma: VmArea, start: int, end: int, pgoff: int, *, insert: VmArea) -> int:
    """As where a VMA is cut in two, without the lock of its anon_vma: the tree has its links as they are."""
    mm = vma.vm_mm
    mas = mm.mm_mt.cursor(insert.vm_start, insert.vm_end - 1)
    try:
        mas.preallocate(insert)
    except NoMemory:
        return ENOMEM
    vma_set_range(vma, start, end, pgoff)
    vma_store(mas, insert)
    mm.map_count += 1
    return 0


@bug(
    "vma-adjust-no-lock",
    id="Z04",
    title="the borders of a VMA move without the lock of its anon_vma",
    year=2010,
    versions="up to 2.6.34",
    fix="mm: always lock the root (oldest) anon_vma",
    evidence="as far as we know",
    kind=Kind.INVARIANT,
    check="coverage",
    without=("data-race", "interval-tree"),
    patches=(vma_adjust,),
    tasks=2,
    preemptions=2,
)
def vma_adjust_no_lock() -> None:
    """Unmap the lower part of a mapping while its pages are being moved."""
    machine = boot(8)
    process = Process(machine.add_mm("cc1", BASE))
    map_pages(process, 0, 3)
    fill(process, 1, 2)
    join(spawn(do_munmap, process.mm, page(0), PAGE_SIZE), spawn(compact_zone, machine.memory))
    read_back(process)
    end(machine, process)
