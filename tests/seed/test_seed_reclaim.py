"""Why the nodes are reserved before the rmap lock is taken: reclaim takes that lock."""

from __future__ import annotations

import pytest

from sugarbush.concurrency import Kind, Result, Settings, explore
from sugarbush.lockdep.model.gfp import GFP_KERNEL, gfpflags_allow_blocking
from sugarbush.stress.kit.checks import model_observers
from sugarbush.stress.kit.patches import Patch, applied, patch
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.tree.core.alloc import SlabNodes
from sugarbush.tree.core.node import MapleNode
from sugarbush.vm.objects.mm_types import VmArea
from sugarbush.vm.reclaim.vmscan import allow_direct_reclaim, kswapd
from sugarbush.vm.reverse.anon_vma import anon_vma_lock_write, anon_vma_unlock_write
from sugarbush.vm.reverse.interval_tree import post_update_vma, pre_update_vma
from sugarbush.vm.spaces.vma_lock import vma_start_write
from sugarbush.vm.vmas import adjust

EXECUTIONS = 100
_as_it_is = adjust.vma_adjust


@patch(adjust.vma_adjust)
def allocate_under_the_lock(
    vma: VmArea, start: int, end: int, pgoff: int, *, insert: VmArea | None = None
) -> int:
    """As `adjust.vma_adjust` where the upper part is cut off, but the tree allocates for its store."""
    if insert is None:
        return _as_it_is(vma, start, end, pgoff)
    vma_start_write(vma)
    assert vma.anon_vma is not None
    anon_vma_lock_write(vma.anon_vma)
    pre_update_vma(vma)
    vma.vm_end = end
    vma.vm_mm.mm_mt.cursor(insert.vm_start, insert.vm_end - 1).store_gfp(insert, GFP_KERNEL)
    vma.vm_mm.map_count += 1
    post_update_vma(vma)
    anon_vma_unlock_write(vma.anon_vma)
    return 0


@patch(SlabNodes.alloc)
def short_of_memory(self: SlabNodes, gfp: int) -> MapleNode | None:
    """Whoever may not reclaim gets no node."""
    return self.cache.alloc(gfp) if gfpflags_allow_blocking(gfp) else None


def trim() -> None:
    """A heap, of which kswapd has swapped a page out, is trimmed; an allocation may reclaim."""
    machine, process = heap(4, slots=4, era="6.6")
    kswapd(machine.memory, 1)
    allow_direct_reclaim(machine.memory, 1)
    assert process.brk(page(2)) == page(2)
    process.exit(machine)


def run(*patches: Patch, without: tuple[str, ...] = ()) -> Result:
    settings = Settings(without=frozenset(without), observers=model_observers)
    with applied(patches):
        return explore(trim, executions=EXECUTIONS, settings=settings, strategy="random")


def kinds(result: Result) -> list[Kind]:
    return [witness.failure.kind for witness in result.failures]


@pytest.mark.parametrize(("check", "other"), [("lockdep", "lock-order"), ("lock-order", "lockdep")])
def test_allocating_under_the_rmap_lock_is_a_report_when_memory_is_short(check: str, other: str) -> None:
    result = run(allocate_under_the_lock, short_of_memory, without=(other,))
    assert kinds(result) == [Kind.LOCKDEP]
    failure = result.failures[0].failure
    assert failure.check == check
    assert "fs_reclaim" in failure.headline + failure.detail


def test_and_a_deadlock_when_it_comes_to_reclaim() -> None:
    """The task that holds the lock reclaims, and waits for itself."""
    result = run(allocate_under_the_lock, short_of_memory, without=("lockdep", "lock-order"))
    assert kinds(result) == [Kind.DEADLOCK]
    failure = result.failures[0].failure
    assert "anon_vma->rwsem" in failure.headline + failure.detail


def test_while_memory_lasts_nobody_sees_it() -> None:
    """The tree tries without reclaim first, so neither the lock validator nor the process learns of the mistake."""
    assert kinds(run(allocate_under_the_lock)) == []


@pytest.mark.parametrize("patches", [(), (short_of_memory,)], ids=["enough", "short of memory"])
def test_a_reserve_avoids_both(patches: tuple[Patch, ...]) -> None:
    result = run(*patches)
    assert kinds(result) == []
    assert result.executions == EXECUTIONS
