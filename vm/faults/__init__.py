"""The parts of which a page fault is made: how it finds and keeps its VMA, and how a page comes from a file, from
swap, by copying, or from a userfaultfd monitor. `access` puts them together.
"""

from sugarbush.vm.faults.cow import PROTECTED, copy_page_range, do_wp_page, wp_page_copy, wp_page_reuse
from sugarbush.vm.faults.fault_lock import (
    grow_under_read_lock,
    hold_mmap_lock,
    lock_counted_vma_or_mm,
    lock_vma_or_mm,
)
from sugarbush.vm.faults.file_fault import do_fault, filemap_fault, finish_fault
from sugarbush.vm.faults.stack import expand_stack
from sugarbush.vm.faults.swap_fault import do_swap_page, is_page_of, read_swap_cache_async, swap_in
from sugarbush.vm.faults.uffd import (
    WAKE,
    change_range,
    handle_userfault,
    pte_marker_handle,
    userfaultfd_clear,
    userfaultfd_register,
    userfaultfd_writeprotect,
)
from sugarbush.vm.faults.uffd_copy import (
    dup_userfaultfd,
    dup_userfaultfd_complete,
    dup_userfaultfd_fail,
    dup_userfaultfd_vma,
    mfill_atomic,
    userfaultfd,
    userfaultfd_read,
)

__all__ = [
    "PROTECTED",
    "WAKE",
    "change_range",
    "copy_page_range",
    "do_fault",
    "do_swap_page",
    "do_wp_page",
    "dup_userfaultfd",
    "dup_userfaultfd_complete",
    "dup_userfaultfd_fail",
    "dup_userfaultfd_vma",
    "expand_stack",
    "filemap_fault",
    "finish_fault",
    "grow_under_read_lock",
    "handle_userfault",
    "hold_mmap_lock",
    "is_page_of",
    "lock_counted_vma_or_mm",
    "lock_vma_or_mm",
    "mfill_atomic",
    "pte_marker_handle",
    "read_swap_cache_async",
    "swap_in",
    "userfaultfd",
    "userfaultfd_clear",
    "userfaultfd_read",
    "userfaultfd_register",
    "userfaultfd_writeprotect",
    "wp_page_copy",
    "wp_page_reuse",
]
