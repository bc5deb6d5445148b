"""The day after the crash in brk that `brk-false-vma` explains, the same kernel crashed in brk once more, this time in
__split_huge_pmd_locked(): the VMA that it was given did not contain the huge page. The false VMA begins at the new
brk; a huge page across the new brk must have been split before that, by vma_adjust_trans_huge(), which looks at the
borders of the VMA as they stand when it is called.

Its cause was never published, as far as we know. One order of steps that gives this assertion, and no other, is the one
below: the test for a huge page comes after the VMA was shrunk, so it finds that the huge page is not inside and leaves
it alone. In the tested kernel that call had been moved into the locked section "for safety", so the order was at least
in motion. The way by split_vma() cannot go wrong so: it asks before any border moves.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind
from sugarbush.lockdep.model import GFP_KERNEL
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.tree import NoMemory
from sugarbush.vm.huge import vma_adjust_trans_huge
from sugarbush.vm.objects import ENOMEM, USER_PGTABLES_CEILING, MmStruct, VmArea
from sugarbush.vm.reverse import anon_vma_lock_write, anon_vma_unlock_write, post_update_vma, pre_update_vma
from sugarbush.vm.spaces import mmap_write_downgrade, vma_find
from sugarbush.vm.syscalls import brk
from sugarbush.vm.vmas import munmap, unmap_region


@patch(brk.do_brk_munmap)
def do_brk_munmap(mm: MmStruct, vma: VmArea, newbrk: int, oldbrk: int) -> int:
    """Unmap ``[newbrk, oldbrk)`` by way of a VMA that is in no tree; huge pages are looked for when it is too late."""
    if vma.vm_end < oldbrk or (vma.vm_start, vma.vm_end) == (newbrk, oldbrk):
        return munmap.do_mas_align_munmap(mm, vma, newbrk, oldbrk, downgrade=True)
    mas = mm.mm_mt.cursor(newbrk, oldbrk - 1)
    try:
        mas.preallocate(None, GFP_KERNEL)
    except NoMemory:
        return ENOMEM
    unmap = VmArea(mm, newbrk, oldbrk, 0, 0)
    anon_vma = vma.anon_vma
    assert anon_vma is not None
    anon_vma_lock_write(anon_vma)
    pre_update_vma(vma)
    mas.store_prealloc(None)
    vma.vm_end = newbrk
    vma_adjust_trans_huge(vma, vma.vm_start, newbrk, None, 0)
    post_update_vma(vma)
    anon_vma_unlock_write(anon_vma)
    following = vma_find(mm, oldbrk)
    ceiling = USER_PGTABLES_CEILING if following is None else following.vm_start
    mmap_write_downgrade(mm)
    unmap_region(mm, [unmap], newbrk, ceiling, newbrk, oldbrk)
    return 1


@bug(
    "brk-false-vma-huge",
    id="Z02",
    title="brk's false VMA does not contain the huge page that it cuts",
    year=2022,
    versions="linux-next, maple tree series; the order of steps is our conjecture",
    fix="v12 of the series: do_brk_munmap() calls do_mas_align_munmap()",
    evidence="read",
    kind=Kind.BUG_ON,
    check="huge-in-vma",
    patches=(do_brk_munmap,),
    tasks=1,
    preemptions=0,
    without=("coverage",),
)
def brk_false_vma_huge() -> None:
    """Trim a heap in the middle of a huge page."""
    machine, process = heap(2, huge=True)
    process.brk(page(1))
    process.load(page(0))
    process.exit(machine)
