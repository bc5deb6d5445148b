"""The swap area: its slots, and the cache of pages that are in both memory and a slot. Kernel: mm/swapfile.c and
mm/swap_state.c, v6.1.

A slot counts the entries that name it, and knows whether its page is cached; it is free when neither is so. Simpler
here: one operation each stands for the locks of the area, of a cluster and of the cache's xarray; a slot is prepared
for its page and gets it in one step; there is one area.

Whoever looks at a slot that nothing keeps (a locked entry, a locked page in its cache) first uses the area:
`get_swap_device`. `vm.swapoff` frees the slots when nobody does any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurrency import (
    READ_ONCE,
    ConcurrencyError,
    Once,
    Operation,
    Shared,
    Unshared,
    bug_on,
    peek,
    perform,
    poke,
    trace,
)
from vm.folio import Folio, Memory, fields, folio_mapped, folio_put
from vm.percpu_ref import PercpuRef, percpu_ref_put, percpu_ref_tryget_live
from vm.zswap import ZswapEntry, zswap_copy, zswap_invalidate, zswap_search

if TYPE_CHECKING:
    from concurrency.operation import Place

SWP_USED = 0x1
SWP_WRITEOK = 0x2


class SwapSlot(Shared):
    """Room for one page. `count` entries name it; `has_cache` says that it must not be given to another page.

    `folio` is the page in the swap cache, `token` what was written last, `zswap` a copy that stands for it.
    """

    number: Unshared[int]
    count: Unshared[int] = 0
    has_cache: Unshared[bool] = False
    folio: Unshared[Folio | None] = None
    token: Unshared[object] = None
    zswap: Unshared[ZswapEntry | None] = None

    @property
    def name(self) -> str:
        """How traces call it."""
        return f"slot{self.number}"

    @property
    def free(self) -> bool:
        """Nobody needs what is in it."""
        return not self.count and not self.has_cache


class SwapArea(Shared):
    """All slots. `flags`: SWP_USED until swapoff is done, SWP_WRITEOK while slots are given away. `users` are those who
    look at slots (`get_swap_device`), `moved` counts the entries that were moved (`vm.swapoff`).

    With `synchronous`, reading is so fast that a page with one user need not go through the cache.

    While `zswap` is set pages are kept in memory as compressed copies first; an administrator may switch it at any
    time (/sys/module/zswap/parameters/enabled), so a slot may have a copy from before. `zswap_used` says that there may
    be any. With `thp` a huge page gets a row of slots, and stays whole in the swap cache (CONFIG_THP_SWAP).
    """

    slots: Unshared[list[SwapSlot]]
    flags: Once[int] = SWP_USED | SWP_WRITEOK
    users: Unshared[PercpuRef]
    moved: Unshared[int] = 0
    synchronous: Unshared[bool]
    zswap: Once[bool]
    zswap_used: Unshared[bool] = False
    thp: Unshared[bool]

    def __init__(self, slots: int, *, synchronous: bool, zswap: bool, thp: bool) -> None:
        super().__init__(
            slots=[SwapSlot(number=number) for number in range(slots)],
            users=PercpuRef("swap_info.users"),
            synchronous=synchronous,
            zswap=zswap,
            thp=thp,
        )

    @property
    def name(self) -> str:
        """How traces call it."""
        return "swap_info"


def swapon(
    memory: Memory, slots: int, *, synchronous: bool = False, zswap: bool = False, thp: bool = False
) -> SwapArea:
    """Give the machine a swap area of so many pages; SWP_SYNCHRONOUS_IO is what zram has.

    Raises `ConcurrencyError` where there is one.
    """
    if memory.swap is not None and peek(memory.swap, "flags") & SWP_USED:
        raise ConcurrencyError(
            "the machine has a swap area, and the model knows of one only: swapoff(memory) first"
        )
    memory.swap = SwapArea(slots, synchronous=synchronous, zswap=zswap, thp=thp)
    return memory.swap


def _alloc_slots(area: SwapArea, _task: Any, folio: Folio) -> bool:
    if not peek(area, "flags") & SWP_WRITEOK:
        return False
    size = len(folio.pages)
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
    if slot.free:
        slot.zswap = None


def _try_cache(slot: SwapSlot, _task: Any, folio: Folio) -> bool:
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
    if peek(folio, "refcount") != 1 + len(folio.pages) or peek(folio, "dirty"):
        return False
    _uncache_all(folio)
    return True


def _free_swap(_slot: SwapSlot, _task: Any, folio: Folio) -> bool:
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


def _uncaches_all(_slot: SwapSlot, _task: Any, folio: Folio) -> list[Place]:
    found: list[Place] = [(folio, "refcount", True), *fields(folio, "dirty", "writeback", changes=False)]
    for page in folio.pages:
        found += _in_cache(page)
        slot = peek(page, "swap")
        if slot is not None:
            found.append((slot, None, True))
    return found


def _writes(slot: SwapSlot, _task: Any, folio: Folio) -> list[Place]:
    return [(slot, None, True), *fields(folio, "token", changes=False)]


ALLOC_SLOT = Operation("folio_alloc_swap", effect=_alloc_slots, touches=_allocs)
SWAP_FULL = Operation("vm_swap_full", effect=_full, touches=_looks_at_all)
TRY_CACHE = Operation("add_to_swap_cache", effect=_try_cache, wakes=True, touches=_caches)
LOOKUP = Operation("swap_cache_get_folio", effect=_lookup, touches=_looks_up)
COUNT = Operation("swap_count", effect=_count, local=True)
DELETE = Operation("delete_from_swap_cache", effect=_delete, wakes=True, touches=_caches)
REMOVE = Operation("__remove_mapping", effect=_remove, wakes=True, touches=_uncaches_all)
FREE_SWAP = Operation("folio_free_swap", effect=_free_swap, wakes=True, touches=_uncaches_all)
PREPARE = Operation("swapcache_prepare", effect=_prepare, local=True)
CLEAR = Operation("swapcache_clear", effect=_clear, wakes=True, local=True)
WRITE = Operation("swap_writepage", effect=_write, touches=_writes)
READ = Operation("swap_readpage", effect=_read, local=True)
SWAP_MAP = Operation("swap_map", effect=_swap_map, local=True)
WAIT = Operation("swapcache_wait", ready=_settled, local=True)


def add_to_swap(memory: Memory, folio: Folio) -> bool:
    """Give the locked `folio` a slot, or a row of them if it is large, and put it into the swap cache.

    False if no slot or no such row is free.
    """
    area = memory.swap
    if area is None or not perform(ALLOC_SLOT, area, folio):
        return False
    folio.dirty = True
    trace("add_to_swap", page=folio.name)
    return True


def get_swap_device(area: SwapArea) -> bool:
    """Keep the slots from being freed, be it under a spinlock; False once swapoff is that far: no entry names one."""
    return percpu_ref_tryget_live(area.users)


def put_swap_device(area: SwapArea) -> None:
    """The end of a `get_swap_device` that gave True."""
    percpu_ref_put(area.users)


def vm_swap_full(area: SwapArea) -> bool:
    """More than half of the slots are taken: pages in memory should not keep theirs."""
    return bool(perform(SWAP_FULL, area))


def try_add_to_swap_cache(slot: SwapSlot, folio: Folio) -> bool:
    """Make `folio` the page of a slot that is in use; False if it has one, or is in use no more."""
    return bool(perform(TRY_CACHE, slot, folio))


def swap_cache_get_folio(slot: SwapSlot) -> Folio | None:
    """The page of the slot if it is cached, with a reference. It may be of another slot by the time it is locked."""
    folio: Folio | None = perform(LOOKUP, slot)
    return folio


def swap_duplicate(slot: SwapSlot) -> None:
    """One more entry names the slot."""
    perform(COUNT, slot, 1)


def swap_free(slot: SwapSlot) -> None:
    """One entry less names the slot."""
    left = perform(COUNT, slot, -1)
    bug_on(left < 0, f"swap_info_get: Unused swap offset entry {slot.number}", "swap-count")


def swap_count(slot: SwapSlot) -> int:
    """How many entries name the slot."""
    count: int = perform(COUNT, slot, 0)
    return count


def swap_map(slot: SwapSlot) -> tuple[int, bool]:
    """How many entries name the slot, and whether its page is cached, or is about to be: READ_ONCE(si->swap_map[i])."""
    found: tuple[int, bool] = perform(SWAP_MAP, slot)
    return found


def delete_from_swap_cache(slot: SwapSlot, folio: Folio) -> None:
    """Take the locked `folio`, the page of `slot`, out of the swap cache."""
    perform(DELETE, slot, folio)


def folio_free_swap(folio: Folio) -> bool:
    """Take the locked `folio` out of the swap cache, if no entry names its slot."""
    slot = folio.swap
    return slot is not None and bool(perform(FREE_SWAP, slot, folio.head))


def remove_from_swap_cache(folio: Folio) -> bool:
    """Take the locked `folio` out of the swap cache, if it is clean and only the caller refers to it besides."""
    slot = folio.swap
    return slot is not None and bool(perform(REMOVE, slot, folio))


def swapcache_prepare(slot: SwapSlot) -> bool:
    """Keep the slot from being given away or cached by others; False if somebody else does so already."""
    return bool(perform(PREPARE, slot))


def swapcache_clear(slot: SwapSlot) -> None:
    """The end of a `swapcache_prepare` after which no page was added."""
    perform(CLEAR, slot)


def swapcache_wait(slot: SwapSlot) -> None:
    """Sleep until whoever prepared the slot is done."""
    perform(WAIT, slot)


def swap_writepage(memory: Memory, folio: Folio) -> None:
    """Write the locked, unmapped `folio` to its slots, or keep copies; a later store makes it dirty again."""
    area = memory.swap
    assert area is not None
    folio.dirty = False
    folio.writeback = True
    for page in folio.pages:
        slot = page.swap
        assert slot is not None
        if not zswap_store(area, slot, page):
            swap_writepage_to_slot(slot, page)
        trace("swap_writepage", page=page.name, slot=slot.name)
    folio.writeback = False


def zswap_store(area: SwapArea, slot: SwapSlot, folio: Folio) -> bool:
    """Keep a copy of the locked `folio` instead of writing it to its slot; False if it must be written.

    A copy that the slot has from before goes in any case: it would be read instead of what is written now, and could be
    written over it. The locked page keeps the slot from anybody else. Kernel: mm/zswap.c, as since v6.8 (678e54d4bb9a)
    and v6.6.17; up to v6.5 __frontswap_store() saw to it.
    """
    if area.zswap:
        area.zswap_used = True
        zswap_copy(slot, folio)
        return True
    if area.zswap_used:
        zswap_invalidate(slot)
    return False


def swap_writepage_to_slot(slot: SwapSlot, folio: Folio) -> None:
    """Write the locked `folio` to the slot; kernel: __swap_writepage()."""
    perform(WRITE, slot, folio)


def swap_readpage(slot: SwapSlot) -> object:
    """What was written to the slot, or the copy that stands for it."""
    entry = zswap_search(slot)
    return perform(READ, slot) if entry is None else entry.token


def free_page_and_swap_cache(memory: Memory, folio: Folio) -> None:
    """Drop the reference of an entry that is gone, and the page from the swap cache if nobody needs it there."""
    if memory.swap is not None:
        free_swap_cache(folio)
    folio_put(memory, folio)


def free_swap_cache(folio: Folio) -> None:
    """Drop `folio` from the swap cache if nothing maps it, no entry names its slot, and nobody has it locked."""
    folio = folio.head
    if READ_ONCE(folio, "swap") is not None and not folio_mapped(folio) and folio.lock.trylock():
        folio_free_swap(folio)
        folio.lock.unlock()


def free_swap_and_cache(memory: Memory, slot: SwapSlot) -> None:
    """One entry less names the slot; if it was the last, its page is dropped from the cache too.

    After the entry is gone nothing keeps the slot, which is looked at once more: so the area is used up to the end, as
    since v6.9 and v6.6.24 (82b1c07a0af6). Needs the lock of the page table that the entry was in.
    """
    area = memory.swap
    assert area is not None
    if not get_swap_device(area):
        return
    swap_free(slot)
    folio = swap_cache_get_folio(slot)
    if folio is not None:
        free_page_and_swap_cache(memory, folio)
    put_swap_device(area)
