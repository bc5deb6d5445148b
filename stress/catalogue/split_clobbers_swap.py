"""A huge page can be in the swap cache as a whole: each of its pages has a slot, which it names in a field of its own.
When such a huge page is split, each page must go on naming its slot. A change of 2022 cleared that field in the tails,
as it is clear in those of every other huge page.

The swap cache still had the tails. Whoever faulted on one found its page there, saw that it named another slot, took it
for a page that had left the cache meanwhile, and tried again, for ever: a soft lockup. Found by stress-ng. The fix
clears the field only if the huge page is not in the swap cache. A page that nobody faulted on was lost for good, since
nobody could take it out of the cache any more. That is what shows here: a lockup takes a million operations to be seen.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.concurrency.lowlevel import poke
from sugarbush.stress.catalogue.split_against_soft_dirty import split
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.frames import folio_put
from sugarbush.vm.objects import Folio, folio_get
from sugarbush.vm.reclaim import huge_split, kswapd
from sugarbush.vm.reclaim import split_huge_page_tail as right


@patch(huge_split.split_huge_page_tail)
def split_huge_page_tail(head: Folio, tail: Folio) -> None:
    """The tail names no slot any more."""
    right(head, tail)
    poke(tail, "swap", None)


@bug(
    "split-clobbers-swap",
    id="Z52",
    title="the split of a huge page in the swap cache makes its tails forget their slots",
    year=2022,
    versions="6.0 and the candidates of 6.1",
    fix="71e2d666ef85: mm/huge_memory: do not clobber swp_entry_t during THP split",
    evidence="read",
    kind=Kind.LEAK,
    check="leak",
    patches=(split_huge_page_tail,),
    tasks=2,
    preemptions=0,
)
def split_clobbers_swap() -> None:
    """Split a huge page that reclaim has left in the swap cache, while its first page is touched."""
    machine, process = heap(2, frames=6, slots=8, huge=True, thp_swap=True)
    memory = machine.memory
    folio = memory.mem_map[0]
    folio_get(folio)
    kswapd(memory, 2)
    folio_put(memory, folio)
    process.load(page(0))
    join(
        spawn(split, memory, folio, name="migratepages"),
        spawn(process.load, page(0), name="cc1"),
        spawn(kswapd, memory, 1, name="kswapd"),
    )
    process.load(page(0))
    process.exit(machine)
