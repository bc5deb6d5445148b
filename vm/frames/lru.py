"""Taking pages off the LRU, so that one task at a time moves or reclaims them. Kernel: mm/vmscan.c, v6.1."""

from __future__ import annotations

from sugarbush.concurrency import cmpxchg
from sugarbush.vm.frames.page_alloc import folio_put
from sugarbush.vm.objects import Folio, Memory, folio_try_get


def isolate_lru_page(memory: Memory, folio: Folio) -> bool:
    """Take a page off the LRU and a reference to it, unless it is free or already taken."""
    if not folio_try_get(folio):
        return False
    # With a reference first: else the page could be freed in between, and the flag that is taken be that of
    # its next owner.
    if cmpxchg(folio, "lru", True, False):
        return True
    folio_put(memory, folio)
    return False


def putback_lru_page(memory: Memory, folio: Folio) -> None:
    """The end of an isolation that led to nothing."""
    # Before the reference goes, which may be the last: what is free is on no list.
    folio.lru = True
    folio_put(memory, folio)
