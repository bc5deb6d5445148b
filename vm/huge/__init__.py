"""Pages that one upper entry maps: transparent huge pages with their faults, their splitting at the upper entry and
khugepaged, and those of hugetlbfs with their reservations and shared page tables.
"""

from sugarbush.vm.huge.collapse import madvise_collapse
from sugarbush.vm.huge.huge_fault import (
    FALLBACK,
    do_huge_pmd_anonymous_page,
    do_huge_pmd_wp_page,
    huge_pmd_set_accessed,
    pmd_migration_entry_wait,
)
from sugarbush.vm.huge.huge_memory import change_huge_pmd, copy_huge_pmd, zap_huge_pmd
from sugarbush.vm.huge.huge_pmd import (
    PMD_CHANGE,
    PMD_CLEAR,
    change_pmd_bits,
    deposit,
    is_leaf,
    maps,
    pmd_folio,
    pmdp_huge_get_and_clear,
    pmdp_invalidate,
    withdraw,
)
from sugarbush.vm.huge.huge_split_pmd import split_huge_pmd, split_huge_pmd_locked, vma_adjust_trans_huge
from sugarbush.vm.huge.huge_zero import (
    get_huge_zero_page,
    mm_put_huge_zero_page,
    put_huge_zero_page,
    shrink_huge_zero_page_scan,
)
from sugarbush.vm.huge.hugetlb import (
    find_lock_page,
    hugetlb_change_protection,
    hugetlb_fault,
    hugetlb_zap_begin,
    hugetlb_zap_end,
    unmap_hugepage_range,
)
from sugarbush.vm.huge.hugetlb_cow import copy_hugetlb_page_range, unmap_ref_private
from sugarbush.vm.huge.hugetlb_reserve import (
    hugetlb_acct_memory,
    hugetlb_file_mmap,
    hugetlb_report_meminfo,
    hugetlb_unreserve_pages,
    hugetlb_vm_op_close,
    region_add,
    region_chg,
)
from sugarbush.vm.huge.hugetlb_share import (
    PTS_ADD,
    hugetlb_split,
    hugetlb_unshare_pmds,
    ptdesc_pmd_pts_count,
    want_pmd_share,
)
from sugarbush.vm.huge.khugepaged import (
    collapse_and_free_pmd,
    collapse_huge_page,
    hugepage_vma_revalidate,
    retract_page_tables,
)

__all__ = [
    "FALLBACK",
    "PMD_CHANGE",
    "PMD_CLEAR",
    "PTS_ADD",
    "change_huge_pmd",
    "change_pmd_bits",
    "collapse_and_free_pmd",
    "collapse_huge_page",
    "copy_huge_pmd",
    "copy_hugetlb_page_range",
    "deposit",
    "do_huge_pmd_anonymous_page",
    "do_huge_pmd_wp_page",
    "find_lock_page",
    "get_huge_zero_page",
    "huge_pmd_set_accessed",
    "hugepage_vma_revalidate",
    "hugetlb_acct_memory",
    "hugetlb_change_protection",
    "hugetlb_fault",
    "hugetlb_file_mmap",
    "hugetlb_report_meminfo",
    "hugetlb_split",
    "hugetlb_unreserve_pages",
    "hugetlb_unshare_pmds",
    "hugetlb_vm_op_close",
    "hugetlb_zap_begin",
    "hugetlb_zap_end",
    "is_leaf",
    "madvise_collapse",
    "maps",
    "mm_put_huge_zero_page",
    "pmd_folio",
    "pmd_migration_entry_wait",
    "pmdp_huge_get_and_clear",
    "pmdp_invalidate",
    "ptdesc_pmd_pts_count",
    "put_huge_zero_page",
    "region_add",
    "region_chg",
    "retract_page_tables",
    "shrink_huge_zero_page_scan",
    "split_huge_pmd",
    "split_huge_pmd_locked",
    "unmap_hugepage_range",
    "unmap_ref_private",
    "vma_adjust_trans_huge",
    "want_pmd_share",
    "withdraw",
    "zap_huge_pmd",
]
