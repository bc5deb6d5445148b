"""The deadlock behind the lock validator's report on anon_vma_clone() (clone-alloc-under-rmap-lock): the next link is
allocated while the root of the family is locked for writing.

Most of the time there is memory, and nothing happens; that is why the report matters. Where there is none, the
allocation reclaims, the page that it looks at belongs to the same family, and the walk that would unmap it sleeps until
the root is unlocked. The only task that could do that is itself. No second task is needed, only memory that is short at
the wrong moment. The fix tries without reclaim, and drops the lock if that fails.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind
from sugarbush.stress.catalogue.clone_alloc_under_rmap_lock import anon_vma_clone, split_in_child
from sugarbush.stress.kit import bug


@bug(
    "clone-alloc-deadlock",
    id="Z40a",
    title="splitting a VMA reclaims, and waits for the lock that it holds",
    year=2011,
    versions="3.0-rc; the same shape in brk: 6.1-rc",
    fix="dd34739c03f2: mm: avoid anon_vma_chain allocation under anon_vma lock",
    evidence="as far as we know",
    kind=Kind.DEADLOCK,
    patches=(anon_vma_clone,),
    tasks=1,
    preemptions=0,
    without=("lockdep", "lock-order"),
)
def clone_alloc_deadlock() -> None:
    """A child that is short of memory unmaps the middle of its heap."""
    split_in_child()
