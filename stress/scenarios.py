"""The scenarios that come with Sugarbush."""

from __future__ import annotations

from stress.catalogue import brk_false_vma as catalogue_brk_false_vma
from stress.scenario import scenario
from stress.workloads.brk import trim_under_compaction
from vm.mm import rbtree_and_list


@scenario("brk-false-vma", era="6.1", expect="coverage", patches=(catalogue_brk_false_vma.do_brk_munmap,))
def brk_false_vma() -> None:
    """Trim a heap under compaction, with the do_brk_munmap() of July 2022."""
    trim_under_compaction()


@scenario("brk-rbtree", era="5.19")
def brk_rbtree() -> None:
    """Trim a heap under compaction, with the VMAs in an rbtree and a list."""
    trim_under_compaction(rbtree_and_list)


@scenario("brk-standard", era="6.1")
def brk_standard() -> None:
    """Trim a heap under compaction, with the do_brk_munmap() of v6.1."""
    trim_under_compaction()
