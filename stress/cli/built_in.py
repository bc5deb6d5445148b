"""The scenarios that come with Sugarbush and are in no other room: `stress.kit.registry` loads them with the others."""

from __future__ import annotations

from sugarbush.stress.catalogue.brk_false_vma import brk_false_vma as _brk_false_vma
from sugarbush.stress.kit import scenario
from sugarbush.stress.workloads import heap, loads
from sugarbush.stress.workloads.brk import trim_under_compaction
from sugarbush.stress.workloads.swap_build import swap_build
from sugarbush.vm.objects import PTRS_PER_PTE

brk_false_vma = _brk_false_vma.broken
brk_standard = _brk_false_vma.fixed


@scenario("brk-rbtree", era="5.19")
def brk_rbtree(ptrs_per_pte: int = PTRS_PER_PTE) -> None:
    """Trim a heap under compaction, with the VMAs in an rbtree and a list."""
    trim_under_compaction("5.19", ptrs_per_pte)


brk1 = scenario("brk1", era="6.1")(heap.brk1)
page_test = scenario("page-test", era="6.1")(heap.page_test)
brk_stressor = scenario("stress-brk", era="6.1")(heap.brk_stressor)
swapping_build = scenario("swap-build", era="6.1")(swap_build)
swapping_build_v11 = scenario(
    "swap-build-v11", era="6.1", expect="coverage", patches=_brk_false_vma.broken.patches
)(swap_build)
page_fault = scenario("page-fault", era="6.1")(loads.page_fault)
mremap_stressor = scenario("stress-mremap", era="6.1")(loads.mremap_stressor)
fork_stressor = scenario("stress-fork", era="6.1")(loads.fork_stressor)
madvise_stressor = scenario("stress-madvise", era="6.1")(loads.madvise_stressor)
server = scenario("server", era="6.1")(loads.server)
