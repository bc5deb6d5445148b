"""What takes a page from under those who map it: migration, splitting, reclaim and swap, NUMA balancing, the OOM
reaper, and the truncation of files.
"""

from sugarbush.vm.reclaim.huge_split import (
    deferred_split_folio,
    deferred_split_scan,
    split_huge_page,
    split_huge_page_tail,
)
from sugarbush.vm.reclaim.hugetlb_hole import hugetlbfs_punch_hole
from sugarbush.vm.reclaim.mempolicy import lru_add_drain_all, move_range
from sugarbush.vm.reclaim.migrate import SWITCH, compact_zone, migrate_folio, migrate_pages
from sugarbush.vm.reclaim.migrate_device import collect_entries, migrate_vma_finalize, migrate_vma_setup
from sugarbush.vm.reclaim.nonlinear import remap_file_pages
from sugarbush.vm.reclaim.numa import (
    do_huge_pmd_numa_page,
    do_numa_page,
    migrate_misplaced_page,
    mpol_misplaced,
    numa_migrate_prep,
    sched_setaffinity,
    task_numa_work,
)
from sugarbush.vm.reclaim.oom import oom_reap_task_mm
from sugarbush.vm.reclaim.swapping_off import swap_entry_moved, swapoff
from sugarbush.vm.reclaim.truncate import do_truncate, unmap_mapping_pages
from sugarbush.vm.reclaim.unmap import FlushBatch, try_to_unmap_flush
from sugarbush.vm.reclaim.vmscan import allow_direct_reclaim, kswapd, shrink_folio
from sugarbush.vm.reclaim.workqueue import Workqueue, destroy_workqueue, queue_work, worker_thread
from sugarbush.vm.reclaim.zswap_writeback import zswap_shrink

__all__ = [
    "SWITCH",
    "FlushBatch",
    "Workqueue",
    "allow_direct_reclaim",
    "collect_entries",
    "compact_zone",
    "deferred_split_folio",
    "deferred_split_scan",
    "destroy_workqueue",
    "do_huge_pmd_numa_page",
    "do_numa_page",
    "do_truncate",
    "hugetlbfs_punch_hole",
    "kswapd",
    "lru_add_drain_all",
    "migrate_folio",
    "migrate_misplaced_page",
    "migrate_pages",
    "migrate_vma_finalize",
    "migrate_vma_setup",
    "move_range",
    "mpol_misplaced",
    "numa_migrate_prep",
    "oom_reap_task_mm",
    "queue_work",
    "remap_file_pages",
    "sched_setaffinity",
    "shrink_folio",
    "split_huge_page",
    "split_huge_page_tail",
    "swap_entry_moved",
    "swapoff",
    "task_numa_work",
    "try_to_unmap_flush",
    "unmap_mapping_pages",
    "worker_thread",
    "zswap_shrink",
]
