"""Before the border of a VMA moves, a huge page across it is mapped page by page. That used to be done inside the
section in which the VMA is out of its rmap trees, with their locks held. If the page was locked in memory, splitting
it ended that for its pages, and to do so walked the rmap tree to see who else had them locked; the walk takes the
lock that the task holds. It waits for itself.

The fix moved the call before the locks. That is where it stands since 2016, and why what it looks at may in principle
change before the locks are taken; of the bugs with that shape, brk's straddling huge page may have been one.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.frames import pmdp_get
from sugarbush.vm.huge import huge_split_pmd, is_leaf, split_huge_pmd
from sugarbush.vm.objects import Folio, Present, VmArea
from sugarbush.vm.reverse import (
    anon_vma_lock_write,
    anon_vma_unlock_write,
    folio_lock_anon_vma_read,
    rmap_walk_anon,
)


def munlock(folio: Folio) -> None:
    """Find out who else has the page locked in memory; kernel: try_to_munlock(), v4.5."""

    def look(_page: Folio, _vma: VmArea, _address: int) -> None:
        """Nobody has."""

    rmap_walk_anon(folio, look, folio_lock_anon_vma_read)


@patch(huge_split_pmd.vma_adjust_trans_huge)
def vma_adjust_trans_huge(vma: VmArea, start: int, end: int, _following: VmArea | None, _shift: int) -> None:
    """Split what lies across the borders that `vma` will have, with its rmap lock held."""
    mm, anon_vma = vma.vm_mm, vma.anon_vma
    if anon_vma is None:
        return
    anon_vma_lock_write(anon_vma)
    for border in (start, end):
        pmd = pmdp_get(mm, border)
        if vma.vm_start < border < vma.vm_end and is_leaf(pmd):
            split_huge_pmd(vma, border)
            if isinstance(pmd, Present):
                munlock(mm.memory.mem_map[pmd.pfn])
    anon_vma_unlock_write(anon_vma)


@bug(
    "split-under-rmap-lock",
    id="Z40f",
    title="a huge page is split under the rmap lock, which the split takes",
    year=2016,
    versions="before 4.6",
    fix="thp: run vma_adjust_trans_huge() outside i_mmap_rwsem",
    evidence="as far as we know",
    kind=Kind.LOCKDEP,
    check="lockdep",
    patches=(vma_adjust_trans_huge,),
    tasks=1,
    preemptions=0,
)
def split_under_rmap_lock() -> None:
    """Unmap a part of a huge page."""
    machine, process = heap(4, huge=True)
    process.munmap(page(1), 2)
    process.load(page(0))
    process.load(page(3))
    process.exit(machine)
