"""To split a VMA of a process that was forked, its links to all anon_vmas of its family are copied. When the family got
one lock, that of its root, the copying took it once and allocated the next link under it, with GFP_KERNEL. Such an
allocation may reclaim memory in place; reclaim walks rmap trees, and takes that very lock. When memory is short enough,
the task waits for itself. Hugh Dickins pointed out that the lock validator says so, and rightly, in 2011.

The same mistake came back in 2022, when brk stored a grown VMA under the anon_vma lock and let the maple tree allocate
for that (28c5609fb236). The rule is to reserve before, or, as here, to try without reclaim and to drop the lock if that
fails. The deadlock itself is
clone-alloc-deadlock.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind
from sugarbush.lockdep.model import GFP_KERNEL
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.objects import AnonVma, VmArea
from sugarbush.vm.reclaim import allow_direct_reclaim, kswapd
from sugarbush.vm.reverse import (
    anon_vma_chain,
    anon_vma_chain_link,
    anon_vma_unlock_write,
    avc_cache,
    lock_anon_vma_root,
    unlink_anon_vmas,
)


@patch(anon_vma_chain.anon_vma_clone)
def anon_vma_clone(dst: VmArea, src: VmArea) -> bool:
    """Link `dst` to every anon_vma of `src`, allocating under the lock of their root."""
    locked: AnonVma | None = None
    for link in reversed(src.anon_vma_chain):
        avc = avc_cache.alloc(GFP_KERNEL)
        if avc is None:
            if locked is not None:
                anon_vma_unlock_write(locked)
            dst.anon_vma = None
            unlink_anon_vmas(dst)
            return False
        locked = lock_anon_vma_root(locked, link.anon_vma)
        anon_vma_chain_link(dst, avc, link.anon_vma)
    active_in = dst.anon_vma
    if active_in is not None:
        active_in.num_active_vmas += 1
    if locked is not None:
        anon_vma_unlock_write(locked)
    return True


def split_in_child() -> None:
    """A child whose parent's page was swapped out unmaps the middle of its heap."""
    machine, process = heap(3, slots=4)
    kswapd(machine.memory, 1)
    child = process.fork(machine, "as")
    assert child is not None
    allow_direct_reclaim(machine.memory, 1)
    child.munmap(page(1), 1)
    child.load(page(0))
    child.exit(machine)
    process.exit(machine)


@bug(
    "clone-alloc-under-rmap-lock",
    id="Z40a",
    title="splitting a VMA allocates under the lock that reclaim takes",
    year=2011,
    versions="3.0-rc; the same shape in brk: 6.1-rc",
    fix="dd34739c03f2: mm: avoid anon_vma_chain allocation under anon_vma lock",
    evidence="as far as we know",
    kind=Kind.LOCKDEP,
    check="lockdep",
    without=("lock-order",),
    patches=(anon_vma_clone,),
    tasks=1,
    preemptions=0,
)
def clone_alloc_under_rmap_lock() -> None:
    """A child whose parent's page was swapped out unmaps the middle of its heap."""
    split_in_child()
