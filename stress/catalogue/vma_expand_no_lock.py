"""vma_expand() was new in the maple tree series, and copied the delicate part of __vma_adjust(). Where a VMA without
pages grew over one that has some, it inherited the other's anon_vma, as it must. But which anon_vma to lock had been
read into a local variable before that, when there was none: so no lock was taken, and the VMA was not put back into
the interval tree under its new range. Then the swallowed VMA left the tree. From there on no walk found its pages, and
a migration that was under way left its entry behind.

Hugh Dickins saw it when he read the code; the fix reads the anon_vma after it was inherited. The workload calls
vma_expand() itself: by the rules of v6.1 no system call lets a VMA without pages grow over one with pages, by those of
v6.16 many do.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.lockdep.model import GFP_KERNEL
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, end, fill, map_pages, read_back, swallow
from sugarbush.tree import NoMemory
from sugarbush.vm.objects import ENOMEM, VmArea
from sugarbush.vm.reclaim import compact_zone
from sugarbush.vm.reverse import (
    anon_vma_clone,
    anon_vma_lock_write,
    anon_vma_merge,
    anon_vma_unlock_write,
    post_update_vma,
    pre_update_vma,
)
from sugarbush.vm.spaces import vm_area_free, vma_store
from sugarbush.vm.vmas import adjust, boot


@patch(adjust.vma_expand)
def vma_expand(vma: VmArea, start: int, end: int, pgoff: int, following: VmArea | None) -> int:
    """Grow `vma`, under the lock of the anon_vma that it had before it inherited one."""
    mm = vma.vm_mm
    swallowed = None
    anon_vma = vma.anon_vma
    if following is not None and following is not vma and following.vm_end == end:
        swallowed = following
        if following.anon_vma is not None and anon_vma is None:
            vma.anon_vma = following.anon_vma
            if not anon_vma_clone(vma, following):
                return ENOMEM
    mas = mm.mm_mt.cursor(start, end - 1)
    try:
        mas.preallocate(vma, GFP_KERNEL)
    except NoMemory:
        return ENOMEM
    if anon_vma is not None:
        anon_vma_lock_write(anon_vma)
        pre_update_vma(vma)
    vma.vm_start, vma.vm_end, vma.vm_pgoff = start, end, pgoff
    vma_store(mas, vma)
    if anon_vma is not None:
        post_update_vma(vma)
        anon_vma_unlock_write(anon_vma)
    if swallowed is not None:
        if swallowed.anon_vma is not None:
            anon_vma_merge(vma, swallowed)
        mm.map_count -= 1
        vm_area_free(swallowed)
    return 0


@bug(
    "vma-expand-no-lock",
    id="Z03a",
    title="a VMA grows over another without the lock of the anon_vma that it inherits",
    year=2022,
    versions="linux-next, v10 of the maple tree series",
    fix="mm/mmap: Fix locking issues in vma_expand()",
    evidence="read",
    kind=Kind.BUG_ON,
    check="migration-entry-locked",
    without=("data-race", "interval-tree", "coverage"),
    patches=(vma_expand,),
    tasks=2,
    preemptions=1,
)
def vma_expand_no_lock() -> None:
    """Fill the gap between two mappings while the pages of the upper one are being moved."""
    machine = boot(6)
    process = Process(machine.add_mm("cc1", BASE))
    map_pages(process, 2, 2)
    fill(process, 2, 2)
    map_pages(process, 0, 1)
    join(spawn(swallow, process.mm, 0, 2), spawn(compact_zone, machine.memory))
    read_back(process)
    end(machine, process)
