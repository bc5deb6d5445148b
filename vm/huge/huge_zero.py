"""The life of the huge zero page: who makes it, who uses it, who frees it. Kernel: mm/huge_memory.c, v6.1.

Each address space that maps it has one reference, however many of its entries do (MMF_HUGE_ZERO_PAGE, since v4.9), and
keeps it until it has ended: so translations of an entry that is gone may still be in use, and copies in a child need no
count. The one more that the shrinker has keeps the count above zero while the page is there: so a count of zero says
that there is none, or none any more.
"""

from __future__ import annotations

from sugarbush.concurrency import (
    READ_ONCE,
    atomic_add_unless,
    atomic_dec_and_test,
    bug_on,
    cmpxchg,
    trace,
    xchg,
)
from sugarbush.lockdep.model import GFP_HIGHUSER_MOVABLE
from sugarbush.vm.frames import alloc_huge, folio_put
from sugarbush.vm.objects import Folio, Memory, MmStruct

_SHRINKER = 1


def get_huge_zero_page(memory: Memory) -> bool:
    """Take a reference to the huge zero page, which is made if there is none; False without memory.

    Two tasks that make it at once find out when they publish it: one of them frees its own, and begins anew.
    Preemption would be off between that and the count, so that the other does not spin for long
    (preempt_disable()).
    """
    zero = memory.huge_zero
    while not atomic_add_unless(zero, "refcount", 1, 0):
        folio = alloc_huge(memory, GFP_HIGHUSER_MOVABLE)
        if folio is None:
            return False
        for page in folio.pages:
            page.token = 0
        # Published before it is counted: a task that comes in between finds the count at 0, makes a page of
        # its own, loses here, and begins anew. The other way round it would take a reference to a page that
        # is not there.
        if cmpxchg(zero, "page", None, folio) is None:
            # The one that the caller gets, and the one that the shrinker drops.
            xchg(zero, "refcount", 1 + _SHRINKER)
            trace("huge_zero_page", page=folio.name)
            return True
        folio_put(memory, folio)
    return True


def put_huge_zero_page(memory: Memory) -> None:
    """Drop a reference, which is never the last: that is the shrinker's."""
    bug_on(
        atomic_dec_and_test(memory.huge_zero, "refcount"),
        "kernel BUG at mm/huge_memory.c: put_huge_zero_page(): BUG_ON(atomic_dec_and_test(&huge_zero_refcount))",
        "refcount",
    )


def mm_get_huge_zero_page(mm: MmStruct) -> Folio | None:
    """The huge zero page, for which `mm` has a reference from now on until it ends; None without memory."""
    zero = mm.memory.huge_zero
    if not READ_ONCE(mm, "huge_zero_page"):
        if not get_huge_zero_page(mm.memory):
            return None
        # Two threads may have taken a reference each: the address space has one.
        if xchg(mm, "huge_zero_page", True):
            put_huge_zero_page(mm.memory)
    page: Folio | None = READ_ONCE(zero, "page")
    return page


def mm_put_huge_zero_page(mm: MmStruct) -> None:
    """Give back what `mm` has of it, after its page tables and translations are gone. Kernel: __mmput()."""
    # At the end of the address space, not of an entry: when an entry goes CPUs still use it until the flush
    # (huge-zero-flush, Z77).
    if READ_ONCE(mm, "huge_zero_page"):
        put_huge_zero_page(mm.memory)


def shrink_huge_zero_page_scan(memory: Memory) -> int:
    """Free the huge zero page if no address space uses it; gives how many pages were freed. The shrinker of that name.

    Only a program that wants it calls it: reclaim here does not come to shrinkers.
    """
    zero = memory.huge_zero
    # Count first, page second: from this step on nobody gets a reference, so nobody has the page that goes.
    if cmpxchg(zero, "refcount", _SHRINKER, 0) != _SHRINKER:
        return 0
    nothing: Folio | None = None
    folio = xchg(zero, "page", nothing)
    bug_on(
        folio is None,
        "kernel BUG at mm/huge_memory.c: shrink_huge_zero_page_scan(): BUG_ON(zero_page == NULL)",
    )
    assert folio is not None
    size = len(folio.pages)
    folio_put(memory, folio)
    trace("huge_zero_page_free", page=folio.name)
    return size
