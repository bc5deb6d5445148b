"""To split a huge page the kernel first takes it from all who map it, and then asserts that nobody does. The walk looks
at an entry without its lock first, and passes over an empty one. But an unmap that is under way empties the entry first
and counts the mapping off afterwards, both under the lock: a walk that came in between found nothing, did not wait, and
met the assertion with the mapping still counted.

It showed in stress tests of Hugh Dickins, as far as we know. The fix makes this walk take the lock where it would have
passed by (TTU_SYNC), so that it waits for the unmap. Reclaim need not: it looks at the count afterwards, and gives up.
It was met here as a mistake of the model itself, when reclaim began to split huge pages in the swapping build.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.catalogue.split_against_soft_dirty import split
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.huge import split_huge_pmd
from sugarbush.vm.objects import Folio, VmArea
from sugarbush.vm.reclaim import huge_split
from sugarbush.vm.reverse import try_to_migrate_one


@patch(huge_split.unmap_folio_one)
def unmap_folio_one(page: Folio, vma: VmArea, address: int) -> bool:
    """An entry that looks empty is passed over without its lock."""
    if page is page.head:
        split_huge_pmd(vma, address, freeze=True, folio=page)
    return try_to_migrate_one(page, vma, address)


@bug(
    "split-without-sync",
    id="Z31z",
    title="a split does not wait for an unmap that has emptied an entry and not counted it off",
    year=2021,
    versions="before 5.13",
    fix="732ed55823fc: mm/thp: try_to_unmap() use TTU_SYNC for safe splitting",
    evidence="as far as we know",
    kind=Kind.BUG_ON,
    check="unmap-folio",
    patches=(unmap_folio_one,),
    tasks=2,
    preemptions=1,
)
def split_without_sync() -> None:
    """Split a huge page while the last page of it that is mapped is being given up."""
    machine, process = heap(2, huge=True)
    memory = machine.memory
    process.dontneed(page(0), 1)
    join(
        spawn(split, memory, memory.mem_map[0], name="kswapd"),
        spawn(process.dontneed, page(1), 1, name="cc1"),
    )
    process.load(page(0))
    process.load(page(1))
    process.exit(machine)
