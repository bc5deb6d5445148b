"""vm_area_struct: one mapped range of one address space. Kernel: include/linux/mm_types.h, v6.1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from concurrency import KmemCache, Once, Plain, Shared, peek
from lockdep.gfp import GFP_KERNEL
from vm.layout import PAGE_SHIFT, STACK_GUARD_GAP, VM_GROWSDOWN

if TYPE_CHECKING:
    from vm.anon_vma import AnonVma, AnonVmaChain
    from vm.mm import MmStruct


class VmArea(Shared):
    """The range ``[vm_start, vm_end)`` in bytes, `vm_pgoff` pages into its object.

    Writing start, end or pgoff needs mmap_lock for writing and, once the VMA is in an rmap tree, that tree's lock
    for writing; reading them needs one of the two. `anon_vma` goes from None to its value under mmap_lock and
    page_table_lock, and is read without.
    """

    vm_mm: MmStruct
    vm_start: Plain[int]
    vm_end: Plain[int]
    vm_pgoff: Plain[int]
    vm_flags: Plain[int]
    anon_vma: Once[AnonVma | None] = None
    anon_vma_chain: list[AnonVmaChain]

    def __init__(self, mm: MmStruct, start: int, end: int, pgoff: int, flags: int) -> None:
        super().__init__(
            vm_mm=mm, vm_start=start, vm_end=end, vm_pgoff=pgoff, vm_flags=flags, anon_vma_chain=[]
        )

    @property
    def name(self) -> str:
        """How traces call it: its range now, looked at from outside."""
        return f"vma[{peek(self, 'vm_start'):#x}, {peek(self, 'vm_end'):#x})"


vma_cache = KmemCache("vm_area_struct", VmArea, object_size=152)


def vm_area_alloc(mm: MmStruct, start: int, end: int, pgoff: int, flags: int) -> VmArea | None:
    """A VMA that is in no tree; None without memory."""
    return vma_cache.alloc(GFP_KERNEL, mm, start, end, pgoff, flags)


def vm_area_free(vma: VmArea) -> None:
    """Free a VMA that is in no tree any more."""
    vma_cache.free(vma)


def vma_pages(vma: VmArea) -> int:
    """How many pages the VMA spans."""
    return (vma.vm_end - vma.vm_start) >> PAGE_SHIFT


def vm_start_gap(vma: VmArea) -> int:
    """Where the VMA begins, with the room that a stack needs below it."""
    start = vma.vm_start
    return max(0, start - STACK_GUARD_GAP) if vma.vm_flags & VM_GROWSDOWN else start


def linear_page_index(vma: VmArea, address: int) -> int:
    """The page offset of `address` in the VMA's object."""
    return vma.vm_pgoff + ((address - vma.vm_start) >> PAGE_SHIFT)


def vma_address(vma: VmArea, pgoff: int) -> int | None:
    """Where `vma` maps page offset `pgoff`, or None if it does not; kernel: mm/internal.h."""
    start = vma.vm_start
    address = start + ((pgoff - vma.vm_pgoff) << PAGE_SHIFT)
    return address if start <= address < vma.vm_end else None
