"""Looking VMAs up, and storing one where it is now. All of it needs mmap_lock; storing, for writing."""

from __future__ import annotations

from sugarbush.concurrency import trace
from sugarbush.tree import MAX, VmaCursor
from sugarbush.vm.objects import MmStruct, VmArea

Mas = VmaCursor[VmArea]
"""A place in an address space; kernel: struct ma_state."""


def vma_find(mm: MmStruct, start: int, end: int = MAX) -> VmArea | None:
    """The first VMA that reaches into ``[start, end)``; kernel: find_vma_intersection(), find_vma()."""
    return mm.mm_mt.cursor(start).find(end - 1)


def vma_prev(mm: MmStruct, address: int, limit: int = 0) -> VmArea | None:
    """The last VMA that ends at or below `address`, but above `limit`."""
    return mm.mm_mt.cursor(address).prev(limit)


def vma_lookup(mm: MmStruct, address: int) -> VmArea | None:
    """The VMA that contains `address`."""
    return mm.mm_mt.load(address)


def find_vma_prev(mm: MmStruct, address: int) -> tuple[VmArea | None, VmArea | None]:
    """The first VMA that ends above `address`, and the one before it."""
    mas = mm.mm_mt.cursor(address)
    vma = mas.walk()
    before = mas.prev()
    # The cursor stands below `address` after the look back, so the VMA above is asked for anew.
    return vma if vma is not None else vma_find(mm, address), before


def vma_store(mas: Mas, vma: VmArea) -> None:
    """Put `vma` into the tree under the range that it has now, from what `mas` has reserved.

    Whatever was there before loses that range.
    """
    mas.set_range(vma.vm_start, vma.vm_end - 1)
    mas.store_prealloc(vma)
    trace("vma_store", vma=vma.name)
