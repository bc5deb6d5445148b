"""The system calls of a process on its address space, fork and exec included, and the ioctl of userfaultfd that moves
pages.
"""

from sugarbush.vm.syscalls.brk import sys_brk
from sugarbush.vm.syscalls.exec import STACK_TOP_MAX, bprm_mm_init, setup_arg_pages
from sugarbush.vm.syscalls.fork import dup_vma, sys_fork
from sugarbush.vm.syscalls.madvise import sys_madvise
from sugarbush.vm.syscalls.mman import (
    MADV_COLLAPSE,
    MADV_DONTFORK,
    MADV_DONTNEED,
    MADV_HUGEPAGE,
    MADV_MERGEABLE,
    MADV_REMOVE,
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_GROWSDOWN,
    MAP_LOCKED,
    MAP_NORESERVE,
    MAP_PRIVATE,
    MAP_SHARED,
    MREMAP_DONTUNMAP,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    PROT_NONE,
    PROT_READ,
    PROT_WRITE,
)
from sugarbush.vm.syscalls.mmap import do_mmap, sys_mmap, undo_mmap, vma_link_reserved
from sugarbush.vm.syscalls.mprotect import sys_mprotect
from sugarbush.vm.syscalls.mremap import sys_mremap
from sugarbush.vm.syscalls.remapping import remappable
from sugarbush.vm.syscalls.security import security_mmap_file
from sugarbush.vm.syscalls.uffd_move import userfaultfd_move
from sugarbush.vm.syscalls.uffd_move_pte import Source, double_pt_lock, is_pte_pages_stable

__all__ = [
    "MADV_COLLAPSE",
    "MADV_DONTFORK",
    "MADV_DONTNEED",
    "MADV_HUGEPAGE",
    "MADV_MERGEABLE",
    "MADV_REMOVE",
    "MAP_ANONYMOUS",
    "MAP_FIXED",
    "MAP_GROWSDOWN",
    "MAP_LOCKED",
    "MAP_NORESERVE",
    "MAP_PRIVATE",
    "MAP_SHARED",
    "MREMAP_DONTUNMAP",
    "MREMAP_FIXED",
    "MREMAP_MAYMOVE",
    "PROT_NONE",
    "PROT_READ",
    "PROT_WRITE",
    "STACK_TOP_MAX",
    "Source",
    "bprm_mm_init",
    "do_mmap",
    "double_pt_lock",
    "dup_vma",
    "is_pte_pages_stable",
    "remappable",
    "security_mmap_file",
    "setup_arg_pages",
    "sys_brk",
    "sys_fork",
    "sys_madvise",
    "sys_mmap",
    "sys_mprotect",
    "sys_mremap",
    "undo_mmap",
    "userfaultfd_move",
    "vma_link_reserved",
]
