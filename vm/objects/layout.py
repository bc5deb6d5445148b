"""Sizes and flags of the modelled machine.

Addresses are in bytes. A page is 4096 bytes as on x86-64; a page-table page has only two entries unless `boot` says
otherwise, so that a handful of pages already spans several of them (facts: two levels and two entries show every bug
that the full tree shows).
"""

from __future__ import annotations

from typing import Final

PAGE_SHIFT: Final = 12
PAGE_SIZE: Final = 1 << PAGE_SHIFT
PTRS_PER_PTE: Final = 2
"""How many entries a page-table page has if `boot` is not told otherwise."""
# One page less than half of the address space, as on x86-64: after a system call in the last page user space
# would be resumed at an address that is not canonical.
TASK_SIZE: Final = (1 << 47) - PAGE_SIZE
# No frame has this number, so that whoever takes it for one, and looks it up in mem_map, fails at once.
ZERO_PFN: Final = 1 << 40
# Not TASK_SIZE, which ends a page earlier: the page-table page of the last addresses would never be freed.
USER_PGTABLES_CEILING: Final = 1 << 47
MMAP_MIN_ADDR: Final = 0x10000
# An ELF core dump counts its sections in 16 bits, and needs a few for itself.
MAX_MAP_COUNT: Final = 65530
# One page was not enough: a function with a large frame steps over it (CVE-2017-1000364, v4.12).
STACK_GUARD_GAP: Final = 256 * PAGE_SIZE
STACK_LIMIT: Final = 8 << 20
"""RLIMIT_STACK, in bytes."""

VM_NONE: Final = 0
VM_READ: Final = 0x1
VM_WRITE: Final = 0x2
VM_EXEC: Final = 0x4
VM_SHARED: Final = 0x8
# Each VM_MAY flag stands four bits above the right that it permits: mprotect_fixup() relies on that.
VM_MAYREAD: Final = 0x10
VM_MAYWRITE: Final = 0x20
VM_MAYEXEC: Final = 0x40
VM_MAYSHARE: Final = 0x80
VM_GROWSDOWN: Final = 0x100
VM_UFFD_MISSING: Final = 0x200
VM_PFNMAP: Final = 0x400
VM_UFFD_WP: Final = 0x1000
VM_LOCKED: Final = 0x2000
VM_IO: Final = 0x4000
VM_SEQ_READ: Final = 0x8000
VM_RAND_READ: Final = 0x10000
VM_DONTCOPY: Final = 0x20000
VM_DONTEXPAND: Final = 0x40000
VM_ACCOUNT: Final = 0x100000
VM_NORESERVE: Final = 0x200000
VM_HUGETLB: Final = 0x400000
VM_NONLINEAR: Final = 0x800000
VM_WIPEONFORK: Final = 0x2000000
VM_DONTDUMP: Final = 0x4000000
VM_SOFTDIRTY: Final = 0x8000000
VM_MIXEDMAP: Final = 0x10000000
VM_HUGEPAGE: Final = 0x20000000
VM_NOHUGEPAGE: Final = 0x40000000
VM_MERGEABLE: Final = 0x80000000

VM_ACCESS_FLAGS: Final = VM_READ | VM_WRITE | VM_EXEC
VM_SPECIAL: Final = VM_IO | VM_DONTEXPAND | VM_PFNMAP | VM_MIXEDMAP
"""Never merged: what a driver has mapped, and how far, is its business."""
VM_STACK_INCOMPLETE_SETUP: Final = VM_RAND_READ | VM_SEQ_READ
"""What marks the stack of an exec that is still being set up; no other VMA has both."""

VM_DATA_FLAGS: Final = VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC


def page_align(size: int) -> int:
    """The next multiple of the page size.

    >>> [page_align(size) for size in (0, 1, PAGE_SIZE, PAGE_SIZE + 1)] == [0, PAGE_SIZE, PAGE_SIZE, 2 * PAGE_SIZE]
    True
    """
    return (size + PAGE_SIZE - 1) & -PAGE_SIZE
