"""A fault on a page that was swapped out. Kernel: do_swap_page() in mm/memory.c and mm/swap_state.c, v6.1."""

from __future__ import annotations

from sugarbush.concurrency import READ_ONCE, trace
from sugarbush.vm.frames import (
    alloc_folio,
    folio_free_swap,
    folio_put,
    get_swap_device,
    maybe_mkwrite,
    mk_pte,
    ptep_get,
    put_swap_device,
    set_pte,
    swap_cache_get_folio,
    swap_count,
    swap_free,
    swap_readpage,
    swapcache_clear,
    swapcache_prepare,
    swapcache_wait,
    try_add_to_swap_cache,
    vm_swap_full,
)
from sugarbush.vm.objects import (
    ENOMEM,
    MM_ANONPAGES,
    MM_SWAPENTS,
    PTE_DIRTY,
    PTE_SWP_EXCLUSIVE,
    PTE_SWP_KEPT,
    PTE_UFFD_WP,
    PTE_WRITE,
    PTE_YOUNG,
    Folio,
    Memory,
    MmStruct,
    PageTable,
    Swap,
    SwapArea,
    SwapSlot,
    VmArea,
)
from sugarbush.vm.reverse import folio_add_anon_rmap
from sugarbush.vm.spaces import add_mm_counter


def do_swap_page(vma: VmArea, table: PageTable, address: int, pte: Swap, *, write: bool) -> int:
    """Map the page that the entry `pte` stands for, unless the entry has changed. 0 or -ENOMEM.

    Needs mmap_lock, or the VMA's lock. `pte` was read without the lock of its table: so its slot may be gone by the
    time it is looked at, and the area is used from before the first look to after the last (since v5.14, 2799e77529c2).
    """
    area = vma.vm_mm.memory.swap
    assert area is not None
    # Then nothing is in use any more, so the entry is not what it was: the access is made again. Without this
    # call the looks below go to slots that swapoff has freed (swap-in-after-swapoff, Z80).
    if not get_swap_device(area):
        return 0
    result = swap_in(area, vma, table, address, pte, write=write)
    put_swap_device(area)
    return result


def swap_in(area: SwapArea, vma: VmArea, table: PageTable, address: int, pte: Swap, *, write: bool) -> int:
    """The part of do_swap_page() for which the area must be used; 0 or -ENOMEM.

    The page is looked up in the swap cache without a lock. So it is locked and looked at again, and then the entry.
    """
    mm = vma.vm_mm
    memory = mm.memory
    slot = area.slots[pte.slot]
    found: Folio | int | None = swap_cache_get_folio(slot)
    # Past the cache only for a slot with one user: nobody else may come by another entry and miss the page.
    direct = found is None and area.synchronous and swap_count(slot) == 1
    if found is None:
        if direct:
            # Two threads may fault on the one entry. Without this, the one that is late installs what it has
            # read before the other wrote to the page and it was swapped out again, into the same slot: the
            # entry looks the same (swap-in-without-cache, Z29).
            if not swapcache_prepare(slot):
                swapcache_wait(slot)
                return 0
            found = swapin_direct(memory, slot)
        else:
            found = read_swap_cache_async(memory, slot)
    if isinstance(found, int):
        if direct:
            swapcache_clear(slot)
        with table.ptl:
            # An error only if the entry still wants the page.
            return found if ptep_get(table, address) == pte else 0
    folio = found
    if not direct:
        folio.head.lock.lock()
    mapped = False
    # The page, not only the entry: while we waited for the lock it may have left its slot, and be in another
    # (swap-in-other-slot, Z30).
    if direct or is_page_of(folio, slot):
        mapped = _map(mm, area, vma, table, address, pte, slot, folio, write=write)
    if direct:
        swapcache_clear(slot)
    folio.head.lock.unlock()
    if not mapped:
        folio_put(memory, folio)
    return 0


def is_page_of(folio: Folio, slot: SwapSlot) -> bool:
    """The locked `folio` is still the cached page of this slot: it may have left the cache, and even come back."""
    return READ_ONCE(folio, "swap") is slot


def swapin_direct(memory: Memory, slot: SwapSlot) -> Folio | int:
    """Read the slot into a page of one's own, which is locked; -ENOMEM without memory. The slot must be prepared."""
    folio = alloc_folio(memory)
    if folio is None:
        return ENOMEM
    folio.lock.lock()
    folio.token = swap_readpage(slot)
    return folio


def read_swap_cache_async(memory: Memory, slot: SwapSlot) -> Folio | int:
    """The page of the slot, read into the swap cache if need be, with a reference.

    -ENOMEM without memory; 0 if no entry named the slot any more, though by now one may do so again.
    """
    while True:
        folio = swap_cache_get_folio(slot)
        if folio is not None:
            return folio
        new = alloc_folio(memory)
        if new is None:
            return ENOMEM
        # Locked before it can be found: whoever finds it in the cache waits for its content.
        new.lock.lock()
        if try_add_to_swap_cache(slot, new):
            new.token = swap_readpage(slot)
            new.lru = True
            new.lock.unlock()
            return new
        new.lock.unlock()
        folio_put(memory, new)
        # Nobody named it at that moment; a caller looks whether its entry is still there.
        if not swap_count(slot):
            return 0
        # Somebody has it prepared and not cached yet, or reads past the cache: that ends.
        swapcache_wait(slot)


def should_try_to_free_swap(area: SwapArea, folio: Folio, *, write: bool) -> bool:
    """The page that is being mapped need not keep its slot: slots are scarce, or it is about to be written alone.

    Simpler here: memory is never locked while it is swapped out.
    """
    return vm_swap_full(area) or (write and bool(READ_ONCE(folio.head, "refcount") == 2))


def _map(
    mm: MmStruct,
    area: SwapArea,
    vma: VmArea,
    table: PageTable,
    address: int,
    pte: Swap,
    slot: SwapSlot,
    folio: Folio,
    *,
    write: bool,
) -> bool:
    """Map the locked `folio`, if the entry is still `pte`; then it takes over the caller's reference.

    The page may be written to at once only if no other entry can name it: then it is exclusive.
    """
    with table.ptl:
        if ptep_get(table, address) != pte:
            return False
        # Before the page may leave the cache, and before it is asked whether we are alone: this entry is one
        # of those who name the slot.
        swap_free(slot)
        if should_try_to_free_swap(area, folio, write=write):
            folio_free_swap(folio)
        # What is in the cache no more, and has one reference, is ours alone: the folio lock keeps others from
        # it.
        exclusive = bool(pte.bits & PTE_SWP_EXCLUSIVE) or bool(READ_ONCE(folio.head, "refcount") == 1)
        bits = vma.vm_page_prot | PTE_YOUNG | pte.bits & PTE_SWP_KEPT
        if write and exclusive and not pte.bits & PTE_UFFD_WP:
            bits |= maybe_mkwrite(vma) | PTE_DIRTY
        add_mm_counter(mm, MM_ANONPAGES, 1)
        add_mm_counter(mm, MM_SWAPENTS, -1)
        # Before the entry; and on the LRU only when a walk finds its anon_vma.
        folio_add_anon_rmap(folio, vma, address, exclusive=exclusive)
        if not folio.head.order:
            folio.lru = True
        set_pte(table, address, mk_pte(folio, bits if exclusive else bits & ~PTE_WRITE))
        trace("swap_in", mm=mm.name, addr=hex(address), page=folio.name, slot=slot.name)
    return True
