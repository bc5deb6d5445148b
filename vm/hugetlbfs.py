"""Files in hugetlbfs, and what a VMA that maps one has besides. Kernel: fs/hugetlbfs/inode.c, mm/hugetlb.c, v6.1.

Only shared mappings are possible here. Simpler here, too: each file has its own number of huge pages, which are taken
from the free frames at the first fault, as surplus pages are, and given back when the file ends; mmap reserves nothing.
These pages are not on the LRU, so they are neither moved nor reclaimed. Such a file is not truncated.
"""

from __future__ import annotations

from concurrency import Atomic, Mutex, RwSemaphore, Unshared, poke
from vm.filemap import AddressSpace
from vm.vma import VmArea

_FAULT_MUTEXES = 4
"""So many for each file; the kernel has one table of them for all."""


class HugetlbFile(AddressSpace):
    """A file in hugetlbfs, which may get `free_huge_pages` more pages. Its i_mmap_rwsem is of a class of its own:
    page tables are allocated under it, which may reclaim, and reclaim takes that of other files.
    """

    free_huge_pages: Atomic[int] = 0
    fault_mutexes: Unshared[tuple[Mutex, ...]]

    def __init__(self, name: str, huge_pages: int) -> None:
        super().__init__(name)
        self.i_mmap_rwsem = RwSemaphore("hugetlbfs_i_mmap_rwsem_key")
        poke(self, "free_huge_pages", huge_pages)
        self.fault_mutexes = tuple(Mutex("hugetlb_fault_mutex") for _ in range(_FAULT_MUTEXES))


def is_vm_hugetlb_page(vma: VmArea) -> bool:
    """`vma` maps a file in hugetlbfs. Asked of its file, which never changes, so it is no step."""
    return isinstance(vma.vm_file, HugetlbFile)


def hstate_file(vma: VmArea) -> HugetlbFile:
    """The file that a hugetlb mapping is of."""
    assert isinstance(vma.vm_file, HugetlbFile)
    return vma.vm_file


def hugetlb_vma_lock(vma: VmArea) -> RwSemaphore:
    """Under it for reading page tables of `vma` are used, for writing they are left. It ends with the last unmap."""
    lock = vma.vm_private_data
    assert lock is not None
    return lock
