"""What must be true of the rmap trees and of the links into them. What such a check may do is said in
`vm.checks.invariants`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sugarbush.concurrency import RwSemaphore
from sugarbush.vm.checks.invariants import leaf_entries
from sugarbush.vm.frames import pfn_to_page
from sugarbush.vm.objects import PAGE_SHIFT, TASK_SIZE, AnonVma, MmStruct, VmArea


def interval_tree(vma: VmArea, lock: RwSemaphore | None = None) -> str | None:
    """I3: each rmap tree whose lock is free has `vma` under the range that its fields say now.

    With `lock` only the trees are looked at whose lock that is, and the state of no other lock is.
    """
    first = vma.vm_pgoff
    live = (first, first + ((vma.vm_end - vma.vm_start) >> PAGE_SHIFT) - 1)
    for tree, key in _keys(vma, lock):
        # A VMA that is filed wrongly is a fault even if nothing looks for it: with one task and no walk
        # (vma-expand-no-lock).
        if key != live:
            return (
                f"{vma.vm_mm.name}: the {tree} interval tree has {vma.name} under the pages {key[0]}..{key[1]}, "
                f"its fields say {live[0]}..{live[1]}"
            )
    return None


def _keys(vma: VmArea, lock: RwSemaphore | None) -> Iterator[tuple[str, tuple[int, int]]]:
    """The trees whose lock is free, and what `vma` is filed under there."""
    for avc in vma.anon_vma_chain:
        rwsem = avc.anon_vma.root.rwsem
        if avc.key is not None and (lock is None or rwsem is lock) and rwsem.unheld:
            yield "anon_vma", avc.key[:2]
    mapping = vma.vm_file
    if mapping is not None and (lock is None or mapping.i_mmap_rwsem is lock) and mapping.i_mmap_rwsem.unheld:
        for first, last, filed in mapping.i_mmap:
            if filed is vma:
                yield "i_mmap", (first, last)


def an_rmap_lock_is_free(vma: VmArea) -> bool:
    """Nobody holds the lock of one of the rmap trees that `vma` is linked to."""
    mapping = vma.vm_file
    return (mapping is not None and mapping.i_mmap_rwsem.unheld) or any(
        avc.anon_vma.root.rwsem.unheld for avc in vma.anon_vma_chain
    )


def anon_vma_chain(mm: MmStruct) -> str | None:
    """I13: VMAs of one anon_vma have the same links, so that they may become one; the anon_vma that a mapped page is
    in is one of those that its VMA is linked to. For when nobody changes VMAs.
    """
    links: dict[AnonVma, tuple[VmArea, set[int]]] = {}
    vmas = [vma for _, _, vma in mm.mm_mt.ranges()]
    for vma in vmas:
        if vma.anon_vma is not None:
            linked = _linked(vma)
            # mprotect() takes VMAs of one anon_vma for VMAs of the same links, and makes one of two
            # (anon-vma-degree, Z24).
            other, others = links.setdefault(vma.anon_vma, (vma, linked))
            if linked != others:
                return f"{mm.name}: {other.name} and {vma.name} have the same anon_vma, and different links"
    return _unlinked_page(mm, vmas)


def _unlinked_page(mm: MmStruct, vmas: Iterable[VmArea]) -> str | None:
    entries = leaf_entries(mm)
    address, pte = next(entries, (TASK_SIZE, None))
    for vma in vmas:
        linked = _linked(vma)
        while address < vma.vm_end and pte is not None:
            folio = pfn_to_page(mm.memory, pte.pfn)
            mapping = folio.mapping
            own = vma.vm_start <= address and folio.generation == pte.generation
            if own and isinstance(mapping, AnonVma) and id(mapping) not in linked:
                return f"{mm.name}: {folio.name} is at {address:#x}, and {vma.name} is not linked to its anon_vma"
            address, pte = next(entries, (TASK_SIZE, None))
    return None


def _linked(vma: VmArea) -> set[int]:
    return {id(avc.anon_vma) for avc in vma.anon_vma_chain}
