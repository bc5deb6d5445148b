"""What VMAs are made from, and what is asked of one (`vm.objects.mm_types.VmArea`). Kernel: include/linux/mm.h,
v6.1.
"""

from __future__ import annotations

from sugarbush.concurrency import WRITE_ONCE, KmemCache, Plain, RwSemaphore
from sugarbush.concurrency.lowlevel import perform
from sugarbush.lockdep.model import GFP_KERNEL
from sugarbush.vm.objects import (
    PAGE_SHIFT,
    REFCOUNT_SET,
    STACK_GUARD_GAP,
    VM_ACCESS_FLAGS,
    VM_GROWSDOWN,
    VM_HUGETLB,
    VM_SHARED,
    VM_STACK_INCOMPLETE_SETUP,
    AddressSpace,
    MmStruct,
    VmArea,
    VmRefcnt,
    vm_get_page_prot,
)


class TypesafeVmArea(VmArea):
    """A VMA as since v6.15, whose memory may be another VMA at any moment for whoever has no reference (`vm_refcnt`).

    So `vm_mm` is looked at by tasks of other address spaces, and each look at it is an operation.
    """

    vm_mm: Plain[MmStruct]

    def __init__(
        self, mm: MmStruct, start: int, end: int, pgoff: int, flags: int, file: AddressSpace | None = None
    ) -> None:
        refcnt = getattr(self, "vm_refcnt", None)
        if refcnt is None:
            super().__init__(mm, start, end, pgoff, flags, file)
            self.vm_refcnt = VmRefcnt()
            return
        # Others may look at this memory while it is made a VMA again, with an old pointer to it: so these are stores as
        # any, in the order of vma_init() and of its callers. The count is 0, and nobody gets a reference before
        # `vma_mark_attached`, which releases them.
        perform(REFCOUNT_SET, refcnt, 0)
        self.vm_mm = mm
        WRITE_ONCE(self, "vm_lock_seq", -1)
        self.anon_vma = None
        self.anon_vma_chain = []
        self.vm_file = file
        self.vm_start = start
        self.vm_end = end
        self.vm_pgoff = pgoff
        self.vm_flags = flags
        self.vm_page_prot = vm_get_page_prot(flags)
        self.vm_private_data = RwSemaphore("hugetlb_vma_lock") if flags & VM_HUGETLB else None


vma_cache = KmemCache("vm_area_struct", VmArea, object_size=152)
vma_typesafe_cache: KmemCache[VmArea] = KmemCache(
    "vm_area_struct", TypesafeVmArea, object_size=192, typesafe_by_rcu=True
)


def vm_area_alloc(
    mm: MmStruct, start: int, end: int, pgoff: int, flags: int, file: AddressSpace | None = None
) -> VmArea | None:
    """A VMA that is in no tree, without a reference to `file`; None without memory."""
    return mm.era.vma_locks.cache.alloc(GFP_KERNEL, mm, start, end, pgoff, flags, file)


def vm_area_dup(vma: VmArea, mm: MmStruct | None = None) -> VmArea | None:
    """A copy of `vma`, for `mm` if that is given, that is in no tree; None without memory. Needs mmap_lock of
    `vma`.

    It names the same anon_vma but has no link to it, and the same file but has no reference to it; its driver has not
    been told of it (`vm.vmas.vm_ops.vma_open`).
    """
    new = vm_area_alloc(
        vma.vm_mm if mm is None else mm, vma.vm_start, vma.vm_end, vma.vm_pgoff, vma.vm_flags, vma.vm_file
    )
    if new is not None:
        new.vm_page_prot = vma.vm_page_prot
        # Named without a link to it, which is no harm as long as the VMA is in no tree.
        new.anon_vma = vma.anon_vma
        new.vm_ops = vma.vm_ops
        if mm is None and vma.vm_flags & (VM_HUGETLB | VM_SHARED) == VM_HUGETLB:
            # Both parts go by one map of reservations, each in its own range. A child gets none.
            new.vm_private_data = vma.vm_private_data
    return new


def vm_area_free(vma: VmArea) -> None:
    """Free a VMA that is in no tree any more, as soon as nobody can look at it."""
    vma.vm_mm.era.vma_locks.free(vma)


def vma_is_anonymous(vma: VmArea) -> bool:
    """Its pages are of no file. Shared anonymous memory is that of a file without a name, so it is none."""
    return vma.vm_file is None


def vma_is_accessible(vma: VmArea) -> bool:
    """The process may do something with its pages."""
    return bool(vma.vm_flags & VM_ACCESS_FLAGS)


def vma_pages(vma: VmArea) -> int:
    """How many pages the VMA spans."""
    return (vma.vm_end - vma.vm_start) >> PAGE_SHIFT


def vma_set_page_prot(vma: VmArea) -> None:
    """After `vm_flags` has changed; needs mmap_lock for writing."""
    vma.vm_page_prot = vm_get_page_prot(vma.vm_flags)


def vm_start_gap(vma: VmArea) -> int:
    """Where the VMA begins, with the room that a stack needs below it."""
    start = vma.vm_start
    return max(0, start - STACK_GUARD_GAP) if vma.vm_flags & VM_GROWSDOWN else start


def vma_is_temporary_stack(vma: VmArea) -> bool:
    """It is the stack of an exec that is being moved: its pages may be at other addresses than it says."""
    # Both flags at once mark such a stack since 2.6.35 (exec-stack-migration, Z05): advice to read in order
    # and at random makes no sense together, so no flag had to be spent on this.
    incomplete = VM_STACK_INCOMPLETE_SETUP
    return bool(vma.vm_flags & VM_GROWSDOWN) and vma.vm_flags & incomplete == incomplete


def linear_page_index(vma: VmArea, address: int) -> int:
    """The page offset of `address` in the VMA's object; needs what `vma_address` needs."""
    return vma.vm_pgoff + ((address - vma.vm_start) >> PAGE_SHIFT)


def vma_address(vma: VmArea, pgoff: int) -> int | None:
    """Where `vma` maps page offset `pgoff`, or None if it does not; kernel: mm/internal.h.

    Needs mmap_lock or the lock of an rmap tree that `vma` is in. With the inverse, `linear_page_index`:

    >>> from sugarbush.vm.vmas import boot
    >>> vma = VmArea(boot(frames=4).add_mm("cc1", start_brk=0), 0x10000, 0x13000, 7, 0)
    >>> [vma_address(vma, pgoff) for pgoff in (6, 7, 9, 10)] == [None, 0x10000, 0x12000, None]
    True
    >>> linear_page_index(vma, 0x12000)
    9
    """
    # Three reads, not one: without the rmap lock, or if another task changes the fields without it, this may
    # give an address where the VMA never had that page (vma-adjust-no-lock, Z04).
    start = vma.vm_start
    address = start + ((pgoff - vma.vm_pgoff) << PAGE_SHIFT)
    return address if start <= address < vma.vm_end else None
