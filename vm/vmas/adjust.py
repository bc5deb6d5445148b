"""Moving the borders of VMAs: adjust, expand, split. Kernel: mm/mmap.c, v6.1.

Everything here needs mmap_lock for writing. What changes is bracketed as v6.3 has it (`vma_prepare`,
`vma_complete`): memory is reserved before, since under an rmap lock no allocation may reclaim; then the locks of
file and anon_vma, the VMAs out of their rmap trees, the new fields, one store, the VMAs back in, the locks dropped.

The reserve serves one store. The store of the VMA that grows cuts the entry of the one that shrinks; where a VMA is
inserted beside one that shrinks, its own store does so.
"""

from __future__ import annotations

from dataclasses import dataclass

from sugarbush.concurrency import trace
from sugarbush.lockdep.model import GFP_KERNEL
from sugarbush.tree import NoMemory
from sugarbush.vm.files import (
    fput,
    get_file,
    i_mmap_lock_write,
    i_mmap_unlock_write,
    is_vm_hugetlb_page,
    vma_interval_tree_insert,
    vma_interval_tree_remove,
)
from sugarbush.vm.huge import hugetlb_split, vma_adjust_trans_huge
from sugarbush.vm.objects import ENOMEM, PAGE_SHIFT, AddressSpace, AnonVma, VmArea
from sugarbush.vm.reverse import (
    anon_vma_clone,
    anon_vma_lock_write,
    anon_vma_merge,
    anon_vma_unlock_write,
    post_update_vma,
    pre_update_vma,
    unlink_anon_vmas,
)
from sugarbush.vm.spaces import (
    vm_area_dup,
    vm_area_free,
    vma_mark_attached,
    vma_mark_detached,
    vma_start_write,
    vma_store,
)
from sugarbush.vm.vmas.vm_ops import vma_close, vma_open


@dataclass(slots=True)
class VmaPrepare:
    """The VMAs that one change concerns; kernel: struct vma_prepare, v6.3.

    `vma` changes; `adj_next` changes with it; `removed` are swallowed by it; `insert` is new beside it.
    """

    vma: VmArea
    anon_vma: AnonVma | None
    mapping: AddressSpace | None
    adj_next: VmArea | None = None
    removed: tuple[VmArea, ...] = ()
    insert: VmArea | None = None


def vma_prepare(vp: VmaPrepare) -> None:
    """Take the rmap locks, the file's first, and `vma` and `adj_next` out of the rmap trees."""
    mapping = vp.mapping
    if mapping is not None:
        # The file's first, as everybody (vma-expand-lock-order, Z03b): see `vm.checks.lock_order`.
        i_mmap_lock_write(mapping)
        if vp.insert is not None:
            # While `vma` still covers all: for a moment both do, and a walk that meets a page twice finds the
            # second time what it has done to it the first time. The other way round it would be covered by
            # neither.
            vma_interval_tree_insert(vp.insert, mapping)
    if vp.anon_vma is not None:
        anon_vma_lock_write(vp.anon_vma)
        # Out of the trees before a field changes: where it is filed goes by the fields, and a walk computes
        # addresses from three of them (vma-adjust-no-lock, Z04; for files split-invalidate, Z39).
        pre_update_vma(vp.vma)
        if vp.adj_next is not None:
            pre_update_vma(vp.adj_next)
    if mapping is not None:
        vma_interval_tree_remove(vp.vma, mapping)
        if vp.adj_next is not None:
            vma_interval_tree_remove(vp.adj_next, mapping)


def vma_complete(vp: VmaPrepare) -> None:
    """Put everything back into the rmap trees under its new range, drop the locks, and free what was swallowed."""
    vma, mapping = vp.vma, vp.mapping
    mm = vma.vm_mm
    if mapping is not None:
        if vp.adj_next is not None:
            vma_interval_tree_insert(vp.adj_next, mapping)
        vma_interval_tree_insert(vma, mapping)
        for gone in vp.removed:
            # After `vma` is back with all of the range: between the two nobody could look, but this way it is
            # never uncovered.
            vma_interval_tree_remove(gone, mapping)
    if vp.insert is not None:
        mm.map_count += 1
    if vp.anon_vma is not None:
        post_update_vma(vma)
        if vp.adj_next is not None:
            post_update_vma(vp.adj_next)
        anon_vma_unlock_write(vp.anon_vma)
    if mapping is not None:
        i_mmap_unlock_write(mapping)
    for gone in vp.removed:
        # Without the rmap locks: a reader of the VMA may have to be waited for, and he may want them. Until
        # it is unlinked below the VMA is found by walks under its old range, which `vma` covers as well; that
        # does no harm.
        vma_mark_detached(gone)
        if gone.anon_vma is not None:
            anon_vma_merge(vma, gone)
        mm.map_count -= 1
        if mapping is not None:
            fput(mm.memory, mapping)
        vm_area_free(gone)


def inherit_anon_vma(importer: VmArea, exporter: VmArea, inherited: list[VmArea] | None = None) -> bool:
    """`importer` is about to cover pages of `exporter`: it needs the anon_vma that they are in. False without memory.

    Whoever got one now is added to `inherited`: when the change fails later, `give_back_anon_vma` undoes it. Kernel:
    dup_anon_vma(), v6.7.
    """
    if exporter.anon_vma is None or importer.anon_vma is not None:
        return True
    # First: a fault that holds only the VMA's lock would see an anon_vma, and map pages into it before the
    # VMA is in its trees (vma-inherits-unlocked, Z22).
    vma_start_write(importer)
    importer.anon_vma = exporter.anon_vma
    cloned = anon_vma_clone(importer, exporter)
    if cloned and inherited is not None:
        inherited.append(importer)
    return cloned


def give_back_anon_vma(inherited: list[VmArea]) -> None:
    """The change failed: take back the anon_vmas that were inherited for it.

    Else a VMA would count as touched that nobody ever wrote to: no neighbour with pages of its own could become one
    with it any more, and a mremap would leave it the page offset of the old place. Kernel: 824135c46b00, v6.7.
    """
    for vma in inherited:
        unlink_anon_vmas(vma)


def vma_adjust(
    vma: VmArea,
    start: int,
    end: int,
    pgoff: int,
    *,
    insert: VmArea | None = None,
    adjust: VmArea | None = None,
    shift: int = 0,
    removed: tuple[VmArea, ...] = (),
) -> int:
    """Let `vma` be ``[start, end)``, in one rmap critical section; 0, or -ENOMEM and nothing has changed.

    With `insert`, `vma` shrinks and `insert` has the rest; it is in the anon_vma trees already, so that together the
    two cover the old range at every moment. With `adjust`, the VMA above, the border between the two moves by `shift`
    bytes. `removed` are the VMAs that `vma` swallows.

    Kernel: __vma_adjust(), v6.1. What v6.1 finds out about the neighbours, the caller says here, as since v6.3.
    """
    assert insert is None or adjust is None, "one change moves one border: the reserve is for one store"
    assert adjust is not None or not shift, "the border that moves by `shift` is that to `adjust`"
    mm = vma.vm_mm
    # Which of the two VMAs has a new entry in the tree, and where: the reserve is for that store.
    keeps_end = end == vma.vm_end
    if insert is not None:
        stored = vma if keeps_end else insert
        first, last = (start, end) if keeps_end else (insert.vm_start, insert.vm_end)
    elif adjust is not None and shift < 0:
        stored, first, last = adjust, end, adjust.vm_end
    else:
        stored, first, last = vma, start, end
    mas = mm.mm_mt.cursor(first, last - 1)
    try:
        # Before everything that cannot be taken back, and before the rmap locks, under which nothing may
        # reclaim.
        mas.preallocate(stored, GFP_KERNEL)
    except NoMemory:
        return ENOMEM
    # Faults out, before the rmap locks are taken, not under them: the order has the locks of VMAs outside
    # (vma-lock-order, Z21).
    for changed in (vma, *removed):
        vma_start_write(changed)
    if adjust is not None:
        vma_start_write(adjust)
    # By the borders as they are: later it would find the huge page outside (brk-false-vma-huge, Z02); and not
    # under the rmap locks (split-under-rmap-lock, Z40f).
    vma_adjust_trans_huge(vma, start, end, adjust, shift)
    # Read now, after `inherit_anon_vma`: to remember it from before is to lock nothing (vma-expand-no-lock,
    # Z03a).
    anon_vma = vma.anon_vma
    if adjust is not None:
        # Either's will do: if both have one it is the same, or they would not have been found alike.
        anon_vma = anon_vma if anon_vma is not None else adjust.anon_vma
    vp = VmaPrepare(vma, anon_vma, vma.vm_file, adjust, removed, insert)
    vma_prepare(vp)
    if insert is not None and is_vm_hugetlb_page(vma):
        # Not above, where huge pages are split: that is too early. Other processes share tables under
        # i_mmap_rwsem alone, so they must be kept out from the split to the cut (hugetlb-unshare-early, Z45).
        hugetlb_split(vma, start if keeps_end else end)
    vma_set_range(vma, start, end, pgoff)
    if adjust is not None:
        vma_set_range(adjust, adjust.vm_start + shift, adjust.vm_end, adjust.vm_pgoff + (shift >> PAGE_SHIFT))
    if stored is insert:
        # Before the store: by then it may be found. The store cannot fail.
        vma_mark_attached(insert)
    vma_store(mas, stored)
    # A second store, for which nothing was reserved. It needs nothing: the first has cut the entry where
    # `vma` now begins, and this one fits exactly into the lower part.
    if insert is not None and stored is not insert:
        vma_mark_attached(insert)
        vma_store(mas, insert)
    vma_complete(vp)
    trace("vma_adjust", vma=vma.name)
    return 0


def vma_set_range(vma: VmArea, start: int, end: int, pgoff: int) -> None:
    """The three fields that say what `vma` maps; needs the locks of all that reads them."""
    # A store of what is there already would be a step, and a race where there is none.
    if vma.vm_start != start:
        vma.vm_start = start
    if vma.vm_end != end:
        vma.vm_end = end
    vma.vm_pgoff = pgoff


def vma_expand(vma: VmArea, start: int, end: int, pgoff: int, following: VmArea | None) -> int:
    """Grow `vma` to ``[start, end)``, swallowing `following` if that ends there; 0 or -ENOMEM.

    If only `following` has an anon_vma, `vma` inherits it before the lock is chosen: the lock must be that of the
    anon_vma that the pages are in.
    """
    swallowed: tuple[VmArea, ...] = ()
    inherited: list[VmArea] = []
    if following is not None and following is not vma and following.vm_end == end:
        swallowed = (following,)
        # Then `vma` alone covers those pages, so they must be found by it.
        if not inherit_anon_vma(vma, following, inherited):
            return ENOMEM
    error = vma_adjust(vma, start, end, pgoff, removed=swallowed)
    if error:
        # Without this nothing breaks at once, but the VMA counts as written to for ever
        # (merge-leaves-anon-vma, Z74).
        give_back_anon_vma(inherited)
    return error


def vma_shrink(vma: VmArea, start: int, end: int, pgoff: int) -> int:
    """Let `vma` be only ``[start, end)``; the pages of what it loses are gone already. 0 or -ENOMEM.

    One of the two borders stays. Kernel: vma_shrink(), v6.3; a case of __vma_adjust() in v6.1.
    """
    lost = (end, vma.vm_end) if end < vma.vm_end else (vma.vm_start, start)
    assert lost[0] < lost[1], "vma_shrink() takes something away, or it stores nothing over nothing"
    mas = vma.vm_mm.mm_mt.cursor(lost[0], lost[1] - 1)
    try:
        # For a store of nothing over what it loses; the VMA's own entry is cut by it.
        mas.preallocate(None, GFP_KERNEL)
    except NoMemory:
        return ENOMEM
    vma_start_write(vma)
    vma_adjust_trans_huge(vma, start, end, None, 0)
    vp = VmaPrepare(vma, vma.anon_vma, vma.vm_file)
    vma_prepare(vp)
    mas.set_range(lost[0], lost[1] - 1)
    mas.store_prealloc(None)
    vma_set_range(vma, start, end, pgoff)
    vma_complete(vp)
    return 0


def split_vma(vma: VmArea, address: int, *, new_below: bool) -> int:
    """Cut `vma` in two at `address`; the new VMA is the part below or above. 0 or -ENOMEM, and nothing has changed.

    The new VMA is linked into the rmap trees before the old one shrinks, so no page is ever out of their reach.
    Kernel: __split_vma(), which leaves looking at map_count to its callers.
    """
    start, end, pgoff = vma.vm_start, vma.vm_end, vma.vm_pgoff
    assert start < address < end, f"a VMA is cut inside, not at {address:#x}: a part would be empty"
    middle = pgoff + ((address - start) >> PAGE_SHIFT)
    new = vm_area_dup(vma)
    if new is None:
        return ENOMEM
    if new_below:
        vma_set_range(new, start, address, pgoff)
    else:
        vma_set_range(new, address, end, middle)
    # Both before the new one is linked: a fault in either must not see an anon_vma whose trees do not have it
    # yet.
    vma_start_write(vma)
    vma_start_write(new)
    # Linked while the old one still covers everything: this is what the false VMA of brk left out. No walk
    # could find the pages of the part that was cut off, and a migration between its walks left its entry
    # behind (brk-false-vma, Z01).
    if not anon_vma_clone(new, vma):
        vm_area_free(new)
        return ENOMEM
    if new.vm_file is not None:
        # Each VMA has a reference to its file, and the driver is told of each further one.
        get_file(new.vm_file)
    vma_open(new)
    if new_below:
        error = vma_adjust(vma, address, end, middle, insert=new)
    else:
        error = vma_adjust(vma, start, address, pgoff, insert=new)
    if error:
        vma_close(new)
        unlink_anon_vmas(new)
        if new.vm_file is not None:
            fput(new.vm_mm.memory, new.vm_file)
        vm_area_free(new)
    return error
