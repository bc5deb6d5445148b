"""To trim a heap inside one VMA, this do_brk_munmap() did not split the VMA: it shrank it in place, and gave the unmap
code a VMA on its own stack that stood for the part cut off. That VMA was in no rmap tree. Between the end of the
rmap lock and the zap, the pages of the part cut off were mapped, but no walk could find them; a migration whose
first walk came before and whose second walk came then left its migration entry behind.

The kernel said so much later: the zap met the entry and asserted that its page was locked. A seven-hour swap load on a
laptop ended that way each time it ran; once, on a workstation, a compiler was killed instead. The fix takes the long
way round: two real VMAs, cut apart by split_vma(), cover the pages between them until the last one is gone.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, trace
from sugarbush.lockdep.model import GFP_KERNEL
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.brk import trim_under_compaction
from sugarbush.tree import NoMemory
from sugarbush.vm.objects import ENOMEM, PTRS_PER_PTE, USER_PGTABLES_CEILING, MmStruct, VmArea
from sugarbush.vm.reverse import anon_vma_lock_write, anon_vma_unlock_write, post_update_vma, pre_update_vma
from sugarbush.vm.spaces import mmap_write_downgrade, vma_find
from sugarbush.vm.syscalls import brk
from sugarbush.vm.vmas import munmap, unmap_region


@patch(brk.do_brk_munmap)
def do_brk_munmap(mm: MmStruct, vma: VmArea, newbrk: int, oldbrk: int) -> int:
    """Unmap ``[newbrk, oldbrk)`` by way of a VMA that is in no tree."""
    if vma.vm_end < oldbrk or (vma.vm_start, vma.vm_end) == (newbrk, oldbrk):
        return munmap.do_mas_align_munmap(mm, vma, newbrk, oldbrk, downgrade=True)
    mas = mm.mm_mt.cursor(newbrk, oldbrk - 1)
    try:
        mas.preallocate(None, GFP_KERNEL)
    except NoMemory:
        return ENOMEM
    unmap = VmArea(mm, newbrk, oldbrk, 0, 0)
    anon_vma = vma.anon_vma
    if anon_vma is not None:
        anon_vma_lock_write(anon_vma)
        pre_update_vma(vma)
    mas.store_prealloc(None)
    vma.vm_end = newbrk
    if anon_vma is not None:
        post_update_vma(vma)
        anon_vma_unlock_write(anon_vma)
    trace("vma_shrunk", vma=vma.name)
    following = vma_find(mm, oldbrk)
    ceiling = USER_PGTABLES_CEILING if following is None else following.vm_start
    mmap_write_downgrade(mm)
    unmap_region(mm, [unmap], newbrk, ceiling, newbrk, oldbrk)
    return 1


@bug(
    "brk-false-vma",
    id="Z01",
    title="brk trims a heap by way of a VMA that is in no rmap tree",
    year=2022,
    versions="linux-next, v9 to v11 of the maple tree series",
    fix="v12 of the series: do_brk_munmap() calls do_mas_align_munmap()",
    evidence="read",
    kind=Kind.INVARIANT,
    check="coverage",
    patches=(do_brk_munmap,),
    tasks=2,
    preemptions=2,
    fixed="brk-standard",
)
def brk_false_vma(ptrs_per_pte: int = PTRS_PER_PTE) -> None:
    """Trim a heap while its pages are being moved."""
    trim_under_compaction(ptrs_per_pte=ptrs_per_pte)
