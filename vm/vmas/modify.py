"""Giving a part of a VMA other flags: it becomes one with a neighbour that has them, or is cut off.

Kernel: the middle of mprotect_fixup() and madvise_update_vma(), v6.1; vma_modify() since v6.7.
"""

from __future__ import annotations

from sugarbush.vm.objects import ENOMEM, MAX_MAP_COUNT, VmArea
from sugarbush.vm.spaces import linear_page_index
from sugarbush.vm.vmas.adjust import split_vma
from sugarbush.vm.vmas.merge import vma_merge


def vma_modify_flags(prev: VmArea | None, vma: VmArea, start: int, end: int, flags: int) -> VmArea | int:
    """The VMA that covers ``[start, end)``, a part of `vma`, and may be given `flags`; or -ENOMEM.

    `prev` is the VMA before `start`, which is `vma` itself if that begins below. A VMA that has swallowed the range
    has the flags already, and may be larger. Needs mmap_lock for writing. After -ENOMEM everything is mapped as
    before, but `vma` may be left cut in two.
    """
    mm = vma.vm_mm
    pgoff = linear_page_index(vma, start)
    # First, before anything is cut: most calls end here, and cost no VMA.
    merged = vma_merge(mm, prev, start, end, flags, vma.anon_vma, vma.vm_file, pgoff)
    if merged is not None:
        return merged
    # First below, then above; after a failure of the second the VMA stays cut in two, as in v6.1: to put it
    # together again would need memory as well.
    if start != vma.vm_start and (mm.map_count >= MAX_MAP_COUNT or split_vma(vma, start, new_below=True)):
        return ENOMEM
    if end != vma.vm_end and (mm.map_count >= MAX_MAP_COUNT or split_vma(vma, end, new_below=False)):
        return ENOMEM
    return vma
