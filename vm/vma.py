"""vm_area_struct: one mapped range of one address space. Kernel: include/linux/mm_types.h, v6.1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from concurrency import WRITE_ONCE, KmemCache, Once, Plain, RwSemaphore, Shared, Unshared, peek, perform
from lockdep.gfp import GFP_KERNEL
from vm.layout import (
    PAGE_SHIFT,
    STACK_GUARD_GAP,
    VM_ACCESS_FLAGS,
    VM_EXEC,
    VM_GROWSDOWN,
    VM_HUGETLB,
    VM_READ,
    VM_SHARED,
    VM_STACK_INCOMPLETE_SETUP,
    VM_UFFD_WP,
    VM_WRITE,
)
from vm.vma_refcnt import REFCOUNT_SET, VmRefcnt

if TYPE_CHECKING:
    from vm.anon_vma import AnonVma, AnonVmaChain
    from vm.filemap import AddressSpace
    from vm.hugetlbfs import ResvMap
    from vm.mm import MmStruct
    from vm.vm_ops import VmOperations


class VmArea(Shared):
    """The range ``[vm_start, vm_end)`` in bytes, `vm_pgoff` pages into `vm_file`, or into nothing if that is None.

    Writing start, end or pgoff needs mmap_lock for writing and, once the VMA is in an rmap tree, that tree's lock
    for writing; reading them needs one of the two. `vm_flags` and `vm_page_prot` are written under mmap_lock and
    read by rmap walks without it. `anon_vma` goes from None to its value under mmap_lock and page_table_lock, and
    is read without. `vm_private_data` is the lock of a shared hugetlb mapping, or the reservations of a
    private one (`vm.hugetlbfs`): a child's is written by its parent, which holds no lock of the child's
    (`vm.hugetlb_cow`). `vm_ops` what its driver
    wants to be called (`vm.vm_ops`). The last four fields are of
    `vm.vma_lock` and `vm.vma_lock_refcnt`.
    """

    vm_mm: Unshared[MmStruct]
    vm_start: Plain[int]
    vm_end: Plain[int]
    vm_pgoff: Plain[int]
    vm_flags: Once[int]
    vm_page_prot: Once[int]
    vm_file: Unshared[AddressSpace | None]
    vm_ops: Unshared[VmOperations | None] = None
    anon_vma: Once[AnonVma | None] = None
    anon_vma_chain: Unshared[list[AnonVmaChain]]
    vm_private_data: Once[RwSemaphore | ResvMap | str | None]
    vm_lock: Unshared[RwSemaphore | None]
    vm_lock_seq: Once[int] = -1
    detached: Once[bool] = False
    vm_refcnt: Unshared[VmRefcnt | None] = None

    def __init__(
        self, mm: MmStruct, start: int, end: int, pgoff: int, flags: int, file: AddressSpace | None = None
    ) -> None:
        super().__init__(
            vm_mm=mm,
            vm_start=start,
            vm_end=end,
            vm_pgoff=pgoff,
            vm_flags=flags,
            vm_page_prot=vm_get_page_prot(flags),
            vm_file=file,
            anon_vma_chain=[],
            vm_private_data=RwSemaphore("hugetlb_vma_lock")
            if flags & VM_HUGETLB and flags & VM_SHARED
            else None,
            vm_lock=mm.era.vma_locks.make(),
        )

    @property
    def name(self) -> str:
        """How traces call it: its range now, looked at from outside."""
        return f"vma[{peek(self, 'vm_start'):#x}, {peek(self, 'vm_end'):#x})"


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
    """A copy of `vma`, for `mm` if that is given, that is in no tree; None without memory.

    It names the same anon_vma but has no link to it, and the same file but has no reference to it; its driver has not
    been told of it (`vm.vm_ops.vma_open`).
    """
    new = vm_area_alloc(
        vma.vm_mm if mm is None else mm, vma.vm_start, vma.vm_end, vma.vm_pgoff, vma.vm_flags, vma.vm_file
    )
    if new is not None:
        new.vm_page_prot = vma.vm_page_prot
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


def vma_wants_writenotify(flags: int) -> bool:
    """The first store to a page of a shared mapping must fault, since userfaultfd may have protected the page.

    Whoever makes an entry anew out of `vm_page_prot` (the second walk of a migration, mprotect, the end of a NUMA
    hint) would else make a protected page writable. Kernel: mm/mmap.c, as since v6.2 and v6.1.2 (51d3d5eb74ff); the
    other reasons to be told, dirty tracking by file systems and by soft-dirty bits, are not modelled.
    """
    return flags & (VM_WRITE | VM_SHARED | VM_UFFD_WP) == VM_WRITE | VM_SHARED | VM_UFFD_WP


def vm_get_page_prot(flags: int) -> int:
    """The access that an entry may give without a fault: a write only where pages are shared with the file, and
    nobody wants to be told of it.

    A private page is made writable by the fault that finds it to be the process's own (protection_map[]). As on
    x86-64, what may be written may be read.
    """
    writable = flags & VM_SHARED and not vma_wants_writenotify(flags)
    if flags & VM_WRITE:
        flags |= VM_READ
    return flags & (VM_READ | VM_WRITE | VM_EXEC if writable else VM_READ | VM_EXEC)


def vma_set_page_prot(vma: VmArea) -> None:
    """After `vm_flags` has changed; needs mmap_lock for writing."""
    vma.vm_page_prot = vm_get_page_prot(vma.vm_flags)


def vm_start_gap(vma: VmArea) -> int:
    """Where the VMA begins, with the room that a stack needs below it."""
    start = vma.vm_start
    return max(0, start - STACK_GUARD_GAP) if vma.vm_flags & VM_GROWSDOWN else start


def vma_is_temporary_stack(vma: VmArea) -> bool:
    """It is the stack of an exec that is being moved: its pages may be at other addresses than it says."""
    incomplete = VM_STACK_INCOMPLETE_SETUP
    return bool(vma.vm_flags & VM_GROWSDOWN) and vma.vm_flags & incomplete == incomplete


def linear_page_index(vma: VmArea, address: int) -> int:
    """The page offset of `address` in the VMA's object."""
    return vma.vm_pgoff + ((address - vma.vm_start) >> PAGE_SHIFT)


def vma_address(vma: VmArea, pgoff: int) -> int | None:
    """Where `vma` maps page offset `pgoff`, or None if it does not; kernel: mm/internal.h."""
    start = vma.vm_start
    address = start + ((pgoff - vma.vm_pgoff) << PAGE_SHIFT)
    return address if start <= address < vma.vm_end else None
