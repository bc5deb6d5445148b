"""What is done to the slots of the swap area in one step each. Kernel: mm/swapfile.c and mm/swap_state.c, v6.1.

One operation each stands for the locks of the area, of a cluster and of the cache's xarray. `vm.frames.swap` has the
calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sugarbush.concurrency.lowlevel import Operation, peek, poke
from sugarbush.vm.objects import SWP_WRITEOK, Folio, SwapArea, SwapSlot, fields

if TYPE_CHECKING:
    from sugarbush.concurrency.core import Place


def _alloc_slots(area: SwapArea, _task: Any, folio: Folio) -> bool:
    if not peek(area, "flags") & SWP_WRITEOK:
        return False
    size = len(folio.pages)
    # A row begins at a multiple of its size, as a cluster of huge pages does.
    for first in range(0, len(area.slots) - size + 1, size):
        row = area.slots[first : first + size]
        if all(slot.free for slot in row):
            for slot, page in zip(row, folio.pages, strict=True):
                _cache(slot, page)
            return True
    return False


def _full(area: SwapArea, _task: Any, _arg: Any) -> bool:
    if not peek(area, "flags") & SWP_WRITEOK:
        # swapoff has taken all slots off both counts: what is in use makes the free ones fewer than none.
        return not all(slot.free for slot in area.slots)
    return 2 * sum(slot.free for slot in area.slots) < len(area.slots)


def _cache(slot: SwapSlot, folio: Folio) -> None:
    slot.has_cache = True
    slot.folio = folio
    poke(folio, "swap", slot)
    poke(folio.head, "refcount", peek(folio.head, "refcount") + 1)


def _uncache(slot: SwapSlot, folio: Folio) -> None:
    slot.has_cache = False
    slot.folio = None
    poke(folio, "swap", None)
    poke(folio.head, "refcount", peek(folio.head, "refcount") - 1)
    _freed(slot)


def _delete(slot: SwapSlot, _task: Any, folio: Folio) -> None:
    _uncache(slot, folio)


def _uncache_all(folio: Folio) -> None:
    for page in folio.pages:
        _uncache(peek(page, "swap"), page)


def _freed(slot: SwapSlot) -> None:
    # A copy of zswap goes with its slot: the next owner must not find it (swap_range_free()).
    if slot.free:
        slot.zswap = None


def _try_cache(slot: SwapSlot, _task: Any, folio: Folio) -> bool:
    # A slot that no entry names any more is not cached: the page would be nobody's, and its slot never free
    # again.
    if slot.has_cache or not slot.count:
        return False
    _cache(slot, folio)
    return True


def _lookup(slot: SwapSlot, _task: Any, _arg: Any) -> Folio | None:
    folio = slot.folio
    if folio is not None:
        poke(folio.head, "refcount", peek(folio.head, "refcount") + 1)
    return folio


def _count(slot: SwapSlot, _task: Any, change: int) -> int:
    slot.count += change
    _freed(slot)
    return slot.count


def _remove(_slot: SwapSlot, _task: Any, folio: Folio) -> bool:
    # The caller's reference and the cache's. One more may be somebody who is about to use the page. In the
    # kernel the count is frozen first and the dirty bit asked for then, since a write sets it before its
    # reference goes; in one step here.
    if peek(folio, "refcount") != 1 + len(folio.pages) or peek(folio, "dirty"):
        return False
    _uncache_all(folio)
    return True


def _free_swap(_slot: SwapSlot, _task: Any, folio: Folio) -> bool:
    # Where an entry still names one of the slots the page must stay with it: it is the only one with its
    # content.
    if any(peek(page, "swap").count for page in folio.pages) or peek(folio, "writeback"):
        return False
    _uncache_all(folio)
    return True


def _prepare(slot: SwapSlot, _task: Any, _arg: Any) -> bool:
    if slot.has_cache or not slot.count:
        return False
    slot.has_cache = True
    return True


def _clear(slot: SwapSlot, _task: Any, _arg: Any) -> None:
    slot.has_cache = False
    _freed(slot)


def _write(slot: SwapSlot, _task: Any, folio: Folio) -> None:
    slot.token = peek(folio, "token")


def _read(slot: SwapSlot, _task: Any, _arg: Any) -> object:
    return slot.token


def _swap_map(slot: SwapSlot, _task: Any, _arg: Any) -> tuple[int, bool]:
    return slot.count, slot.has_cache


def _settled(slot: SwapSlot, _task: Any) -> bool:
    return not slot.has_cache or slot.folio is not None


def _in_cache(folio: Folio) -> list[Place]:
    """What it takes to put a page into the cache, or out of it, but for its slot."""
    return [*fields(folio, "swap"), *fields(folio.head, "refcount")]


def _allocs(area: SwapArea, _task: Any, folio: Folio) -> list[Place]:
    found: list[Place] = [(area, "flags", False), *((slot, None, True) for slot in area.slots)]
    for page in folio.pages:
        found += _in_cache(page)
    return found


def _looks_at_all(area: SwapArea, _task: Any, _arg: Any) -> list[Place]:
    return [(area, "flags", False), *((slot, None, False) for slot in area.slots)]


def _caches(slot: SwapSlot, _task: Any, folio: Folio) -> list[Place]:
    return [(slot, None, True), *_in_cache(folio)]


def _looks_up(slot: SwapSlot, _task: Any, _arg: Any) -> list[Place]:
    return [(slot, None, False), *([] if slot.folio is None else fields(slot.folio.head, "refcount"))]


def _removes(_slot: SwapSlot, _task: Any, folio: Folio) -> list[Place]:
    return _uncaches_all(folio, "dirty")


def _frees_swap(_slot: SwapSlot, _task: Any, folio: Folio) -> list[Place]:
    return _uncaches_all(folio, "writeback")


def _uncaches_all(folio: Folio, unless: str) -> list[Place]:
    """What it takes to put all pages of a folio out of the cache, unless this field forbids it."""
    found: list[Place] = [(folio, "refcount", True), (folio, unless, False)]
    for page in folio.pages:
        found += _in_cache(page)
        slot = peek(page, "swap")
        if slot is not None:
            found.append((slot, None, True))
    return found


def _writes(slot: SwapSlot, _task: Any, folio: Folio) -> list[Place]:
    return [(slot, None, True), *fields(folio, "token", changes=False)]


# The kernel has spinlocks here, under which nobody sleeps: what is done under one of them is one step to all
# others. Where it needs two sections, as to prepare a slot and to add its page (`TRY_CACHE`), the moment
# between them is left out: a task that came then would wait until it has passed.
ALLOC_SLOT = Operation("folio_alloc_swap", effect=_alloc_slots, touches=_allocs)
SWAP_FULL = Operation("vm_swap_full", effect=_full, touches=_looks_at_all)
TRY_CACHE = Operation("add_to_swap_cache", effect=_try_cache, wakes=True, touches=_caches)
LOOKUP = Operation("swap_cache_get_folio", effect=_lookup, touches=_looks_up)
COUNT = Operation("swap_count", effect=_count, local=True)
DELETE = Operation("delete_from_swap_cache", effect=_delete, wakes=True, touches=_caches)
REMOVE = Operation("__remove_mapping", effect=_remove, wakes=True, touches=_removes)
FREE_SWAP = Operation("folio_free_swap", effect=_free_swap, wakes=True, touches=_frees_swap)
PREPARE = Operation("swapcache_prepare", effect=_prepare, local=True)
CLEAR = Operation("swapcache_clear", effect=_clear, wakes=True, local=True)
WRITE = Operation("swap_writepage", effect=_write, touches=_writes)
READ = Operation("swap_readpage", effect=_read, local=True)
SWAP_MAP = Operation("swap_map", effect=_swap_map, local=True)
WAIT = Operation("swapcache_wait", ready=_settled, local=True)
