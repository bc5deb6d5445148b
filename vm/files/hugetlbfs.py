"""Files in hugetlbfs, and what a VMA that maps one has besides. Kernel: fs/hugetlbfs/inode.c, mm/hugetlb.c, v6.1.

Simpler here: each file has its own pool of huge pages, without surplus pages, and they are taken from the free
frames when they are allocated, so the machine must have them. These pages are not on the LRU, so they are
neither moved nor reclaimed.
"""

from __future__ import annotations

from sugarbush.concurrency import Mutex, Plain, RwSemaphore, Spinlock, Unshared
from sugarbush.concurrency.lowlevel import poke
from sugarbush.vm.objects import VM_SHARED, AddressSpace, ResvMap, VmArea

# So few that two pages of a small file share one, as in the kernel any two may.
_FAULT_MUTEXES = 4
"""So many for each file; the kernel has one table of them for all."""

HPAGE_RESV_UNMAPPED = "HPAGE_RESV_UNMAPPED"
"""vm_private_data of a private mapping without reservations from which a page was taken, for a process that has
some.
"""


class HugetlbFile(AddressSpace):
    """A file in hugetlbfs, and its pool: `free_huge_pages` of it are free, `resv_huge_pages` of those are
    promised, both under `hugetlb_lock`. Its i_rwsem and i_mmap_rwsem are of classes of their own: mmap takes
    the one under mmap_lock, and page tables are allocated under the other, which may reclaim, and reclaim takes
    that of other files.
    """

    # resv_huge_pages <= free_huge_pages, whenever hugetlb_lock is free: what is promised can be kept.
    free_huge_pages: Plain[int] = 0
    resv_huge_pages: Plain[int] = 0
    hugetlb_lock: Unshared[Spinlock]
    resv_map: Unshared[ResvMap]
    fault_mutexes: Unshared[tuple[Mutex, ...]]

    def __init__(self, name: str, huge_pages: int, size: int | None = None) -> None:
        super().__init__(name, size)
        self.i_rwsem = RwSemaphore("hugetlbfs_i_rwsem")
        self.i_mmap_rwsem = RwSemaphore("hugetlbfs_i_mmap_rwsem_key")
        self.hugetlb_lock = Spinlock("hugetlb_lock")
        self.resv_map = ResvMap()
        poke(self, "free_huge_pages", huge_pages)
        self.fault_mutexes = tuple(Mutex("hugetlb_fault_mutex") for _ in range(_FAULT_MUTEXES))

    def free_huge_page(self, *, promised: bool) -> None:
        """A page, whose frame is free by now, is back in the pool; kernel: __free_huge_page().

        One that was allocated for a reservation and never used (HPageRestoreReserve) is `promised` again.
        """
        with self.hugetlb_lock:
            self.free_huge_pages += 1
            self.resv_huge_pages += promised

    def evict(self, cached: int) -> None:
        """Nothing of the file is promised any more; kernel: hugetlbfs_evict_inode()."""
        # One lock after the other, never both: a promise and its number are not changed together anywhere
        # (hugetlb-reserve-race, Z76), so no order of the two is needed.
        with self.resv_map.lock:
            known = len(self.resv_map.regions)
            self.resv_map.regions = frozenset()
        with self.hugetlb_lock:
            self.resv_huge_pages -= known - cached


def is_vm_hugetlb_page(vma: VmArea) -> bool:
    """`vma` maps a file in hugetlbfs. Asked of its file, which never changes, so it is no step."""
    return isinstance(vma.vm_file, HugetlbFile)


def hstate_file(vma: VmArea) -> HugetlbFile:
    """The file that a hugetlb mapping is of."""
    assert isinstance(vma.vm_file, HugetlbFile)
    return vma.vm_file


def vma_resv_map(vma: VmArea) -> ResvMap | None:
    """The map of the reserved pages of `vma`; None for a private mapping that has no reservations: a child's, or
    one that wanted none. Kernel: also is_vma_resv_set(HPAGE_RESV_OWNER).
    """
    if vma.vm_flags & VM_SHARED:
        return hstate_file(vma).resv_map
    private = vma.vm_private_data
    return private if isinstance(private, ResvMap) else None


def hugetlb_vma_lock(vma: VmArea) -> RwSemaphore | None:
    """Under it for reading page tables of `vma` are used, for writing they are left or emptied.

    It ends with the last unmap. A private mapping without reservations has none: nobody shares its page tables.
    """
    # Read once: the last unmap takes it away, and a second look might find nothing to unlock. So callers keep
    # what they got.
    private = vma.vm_private_data
    if isinstance(private, ResvMap):
        return private.rw_sema
    return private if isinstance(private, RwSemaphore) else None


def hugetlb_vma_lock_read(vma: VmArea) -> RwSemaphore | None:
    """Lock the VMA for a fault, if it has a lock; gives what to unlock."""
    lock = hugetlb_vma_lock(vma)
    if lock is not None:
        lock.down_read()
    return lock


def hugetlb_vma_lock_write(vma: VmArea) -> RwSemaphore | None:
    """Lock the VMA for emptying it, if it has a lock; gives what to unlock."""
    lock = hugetlb_vma_lock(vma)
    if lock is not None:
        lock.down_write()
    return lock
