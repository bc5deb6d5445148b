"""Sizes and flags of the modelled machine.

Addresses are in bytes. A page is 4096 bytes as on x86-64; a page-table page has only two entries, so that a handful
of pages already spans several of them (facts: two levels and two entries show every bug that the full tree shows).
"""

from __future__ import annotations

from typing import Final

PAGE_SHIFT: Final = 12
PAGE_SIZE: Final = 1 << PAGE_SHIFT
PTRS_PER_PTE: Final = 2
PMD_SIZE: Final = PAGE_SIZE * PTRS_PER_PTE
TASK_SIZE: Final = (1 << 47) - PAGE_SIZE
USER_PGTABLES_CEILING: Final = 1 << 47
MMAP_MIN_ADDR: Final = 0x10000
MAX_MAP_COUNT: Final = 65530
STACK_GUARD_GAP: Final = 256 * PAGE_SIZE

VM_READ: Final = 0x1
VM_WRITE: Final = 0x2
VM_MAYREAD: Final = 0x10
VM_MAYWRITE: Final = 0x20
VM_MAYEXEC: Final = 0x40
VM_GROWSDOWN: Final = 0x100
VM_ACCOUNT: Final = 0x100000

VM_DATA_FLAGS: Final = VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC


def page_align(size: int) -> int:
    """The next multiple of the page size."""
    return (size + PAGE_SIZE - 1) & -PAGE_SIZE


def pmd_index(address: int) -> int:
    """Which page-table page maps `address`."""
    return address // PMD_SIZE


def pte_index(address: int) -> int:
    """Which entry of its page-table page maps `address`."""
    return address // PAGE_SIZE % PTRS_PER_PTE
