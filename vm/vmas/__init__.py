"""What changes the VMAs of an address space: borders move, VMAs merge, split, move and go, and at its end all are
torn down. The eras, and the machine on which address spaces begin, live above that.
"""

from sugarbush.vm.vmas.adjust import inherit_anon_vma, vma_adjust, vma_expand, vma_set_range, vma_shrink
from sugarbush.vm.vmas.exit import exit_mmap, tear_down_as_reader_first
from sugarbush.vm.vmas.machine import Machine, boot
from sugarbush.vm.vmas.merge import can_vma_merge_after, can_vma_merge_before, vma_merge
from sugarbush.vm.vmas.modify import vma_modify_flags
from sugarbush.vm.vmas.move import drop_rmap_locks, move_page_tables, take_rmap_locks
from sugarbush.vm.vmas.munmap import do_mas_munmap, do_munmap, remove_vma
from sugarbush.vm.vmas.protect import change_protection
from sugarbush.vm.vmas.vm_ops import mmap_file, vma_open
from sugarbush.vm.vmas.zap import (
    ZapDetails,
    free_pgd_range,
    free_pgtables,
    pte_install_uffd_wp_if_needed,
    unmap_region,
    unmap_single_vma,
    unmap_vmas,
    zap_page_range,
    zap_pte_range,
)

__all__ = [
    "Machine",
    "ZapDetails",
    "boot",
    "can_vma_merge_after",
    "can_vma_merge_before",
    "change_protection",
    "do_mas_munmap",
    "do_munmap",
    "drop_rmap_locks",
    "exit_mmap",
    "free_pgd_range",
    "free_pgtables",
    "inherit_anon_vma",
    "mmap_file",
    "move_page_tables",
    "pte_install_uffd_wp_if_needed",
    "remove_vma",
    "take_rmap_locks",
    "tear_down_as_reader_first",
    "unmap_region",
    "unmap_single_vma",
    "unmap_vmas",
    "vma_adjust",
    "vma_expand",
    "vma_merge",
    "vma_modify_flags",
    "vma_open",
    "vma_set_range",
    "vma_shrink",
    "zap_page_range",
    "zap_pte_range",
]
