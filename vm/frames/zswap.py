"""zswap: compressed copies in memory of pages that would else be written to their slots. Kernel: mm/zswap.c, v6.1.

Simpler here: there is a copy for every page that is swapped out, and it is found through its slot, not in a tree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sugarbush.concurrency.lowlevel import Operation, peek, perform
from sugarbush.vm.objects import Folio, SwapSlot, ZswapEntry

if TYPE_CHECKING:
    from sugarbush.concurrency.core import Place


def _store(slot: SwapSlot, _task: Any, folio: Folio) -> None:
    slot.zswap = ZswapEntry(peek(folio, "token"))


def _search(slot: SwapSlot, _task: Any, _arg: Any) -> ZswapEntry | None:
    return slot.zswap


def _invalidate(slot: SwapSlot, _task: Any, _arg: Any) -> None:
    slot.zswap = None


def _stores(slot: SwapSlot, _task: Any, folio: Folio) -> list[Place]:
    return [(slot, None, True), (folio, "token", False)]


STORE = Operation("zswap_store", effect=_store, touches=_stores)
SEARCH = Operation("zswap_rb_search", effect=_search, local=True)
INVALIDATE = Operation("zswap_invalidate", effect=_invalidate, local=True)


def zswap_copy(slot: SwapSlot, folio: Folio) -> None:
    """Keep a copy of the locked `folio` for its slot, in place of the one that it may have."""
    perform(STORE, slot, folio)


def zswap_search(slot: SwapSlot) -> ZswapEntry | None:
    """The copy that is kept for the slot."""
    entry: ZswapEntry | None = perform(SEARCH, slot)
    return entry


def zswap_invalidate(slot: SwapSlot) -> None:
    """Drop the copy of the slot, if there is one."""
    perform(INVALIDATE, slot)
