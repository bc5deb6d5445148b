"""swapoff(2): taking the swap area away, after all that is in it has come back. Kernel: mm/swapfile.c, v6.1.

No slot is given away any more (SWP_WRITEOK). Then each address space that may name one (`vm.spaces.mmlist`) is
walked, and what it names is read back and mapped; then pages that are only cached give up their slots. Entries may
still be copied by a fork, and an address space may be on its way out, so all that is done again until nothing is in
use. Last, whoever looks at a slot at that moment is waited for (`vm.frames.swap.get_swap_device`), and the slots are
freed.

Simpler here: one area, and one swapoff at a time; the pages of files are never in swap, so shmem_unuse() finds nothing;
no signal ends the walk; nobody looks into the swap cache in an RCU reader alone, so no grace period is waited for; no
page is shared by KSM; a read never fails.
"""

from __future__ import annotations

from typing import Any

from sugarbush.concurrency import KmemCache, cond_resched, cpu_relax, trace
from sugarbush.concurrency.lowlevel import Access, Operation, peek, perform, poke
from sugarbush.vm.faults import is_page_of, read_swap_cache_async
from sugarbush.vm.frames import (
    addresses,
    folio_free_swap,
    folio_put,
    mk_pte,
    pmdp_get,
    ptep_get,
    set_pte,
    swap_cache_get_folio,
    swap_free,
    swap_map,
)
from sugarbush.vm.objects import (
    EINVAL,
    ENOMEM,
    MM_ANONPAGES,
    MM_SWAPENTS,
    PAGE_SIZE,
    PTE_SWP_EXCLUSIVE,
    PTE_SWP_KEPT,
    SWP_WRITEOK,
    Folio,
    Memory,
    MmStruct,
    PageTable,
    Present,
    Swap,
    SwapArea,
    SwapSlot,
    VmArea,
    folio_get,
    percpu_ref_kill,
    percpu_ref_wait,
)
from sugarbush.vm.reverse import folio_add_anon_rmap
from sugarbush.vm.spaces import (
    add_mm_counter,
    drain_mmlist,
    mmap_read_lock,
    mmap_read_unlock,
    mmget_not_zero,
    mmput,
)

swap_map_cache = KmemCache("swap_map", SwapSlot)


def _begin(area: SwapArea, _task: Any, _arg: Any) -> bool:
    """Both under swap_lock and the lock of the area, under which slots are given away, too."""
    # In one step with the look: of two calls one is refused.
    flags: int = peek(area, "flags")
    poke(area, "flags", flags & ~SWP_WRITEOK)
    return bool(flags & SWP_WRITEOK)


def _reinsert(area: SwapArea, _task: Any, _arg: Any) -> None:
    poke(area, "flags", peek(area, "flags") | SWP_WRITEOK)


def _inuse(area: SwapArea, _task: Any, _arg: Any) -> int:
    return sum(not slot.free for slot in area.slots)


def _snapshot(area: SwapArea, _task: Any, _arg: Any) -> tuple[object, ...]:
    return area.moved, *((slot.count, slot.has_cache, slot.folio is None) for slot in area.slots)


def _moved(area: SwapArea, _task: Any, _arg: Any) -> None:
    area.moved += 1


BEGIN = Operation("swapoff", effect=_begin)
REINSERT = Operation("reinsert_swap_info", effect=_reinsert)
INUSE = Operation("inuse_pages", effect=_inuse)
SNAPSHOT = Operation("swap_map", Access.READ_ONCE, effect=_snapshot)
MOVED = Operation("swap_entry_moved", effect=_moved)


def swapoff(memory: Memory) -> int:
    """Take the swap area away: 0; -EINVAL where there is none, or another swapoff is at it; or -ENOMEM, and it stays.

    Takes mmap_lock of each address space for reading, folio locks and the locks of page tables; may sleep.
    """
    area = memory.swap
    if area is None or not perform(BEGIN, area):
        return EINVAL
    error = try_to_unuse(memory, area)
    if error:
        perform(REINSERT, area)
        return error
    # Nothing is in use any more, but somebody may be looking: no new one from here on, and those who are
    # there are waited for. To free the slots without that is swap-in-after-swapoff (Z80).
    percpu_ref_kill(area.users)
    percpu_ref_wait(area.users)
    drain_mmlist(memory)
    for slot in area.slots:
        # So that a look at a slot from here on is a use after free, as one at the map of the slots is in the
        # kernel (vfree).
        swap_map_cache.adopt(slot)
        swap_map_cache.free(slot)
    # Only now may swapon come: what it makes is another area.
    area.flags = 0
    trace("swapoff")
    return 0


def inuse_pages(area: SwapArea) -> int:
    """How many slots are taken, be it that only their page is cached."""
    count: int = perform(INUSE, area)
    return count


def swap_entry_moved(area: SwapArea) -> None:
    """An entry is at another place of its address space now, under mmap_lock for reading only: a walk of swapoff may
    have missed it. No kernel has that, for it walks until nothing is in use.
    """
    perform(MOVED, area)


def try_to_unuse(memory: Memory, area: SwapArea) -> int:
    """Bring everything back from `area`; 0 or -ENOMEM.

    An address space is kept from being torn down while it is walked, and keeps its place in the list, so the walk goes
    on behind it. One that is on its way out frees its slots by itself, at its own pace: nothing can be waited for, so
    the walk is made again and again.

    Simpler here: after two walks during which no slot has changed, and no entry was moved, the next one waits for that;
    the kernel walks all the time. One is not enough: reclaim counts the slot before it writes the entry, and a walk
    between the two misses it. But it has the page locked from the one to the other, and the page is in the cache: so
    the end of that walk waits for it, and the second walk finds the entry.
    """
    earlier: object = None
    before: object = None
    # Until nothing is: a fork copies entries behind the walk, a page that was just swapped out was in front
    # of it.
    while inuse_pages(area):
        while (now := perform(SNAPSHOT, area)) == before == earlier:
            cpu_relax()
        earlier, before = before, now
        error = unuse_mms(memory, area)
        if error:
            return error
        slot = find_next_to_unuse(area, -1) if inuse_pages(area) else None
        while slot is not None:
            unuse_cached(memory, slot)
            slot = find_next_to_unuse(area, slot.number) if inuse_pages(area) else None
    return 0


def unuse_mms(memory: Memory, area: SwapArea) -> int:
    """Walk the list once, as long as anything is in use; 0 or -ENOMEM. The first loop of try_to_unuse()."""
    prev: MmStruct | None = None
    error = 0
    while error == 0 and inuse_pages(area):
        mm = _next_mm(memory, prev)
        if prev is not None:
            # Only after the next one is held: else the place in the list would be lost with `prev`.
            mmput(prev)
        prev = mm
        if mm is None:
            break
        error = unuse_mm(memory, area, mm)
        cond_resched()
    if prev is not None:
        mmput(prev)
    return error


def _next_mm(memory: Memory, prev: MmStruct | None) -> MmStruct | None:
    """The one behind `prev` in the list that is not on its way out, kept from being torn down."""
    with memory.mmlist_lock:
        places = [place for place, mm in enumerate(memory.mmlist) if mm is prev]
        for mm in memory.mmlist[places[0] + 1 if places else 0 :]:
            if mmget_not_zero(mm):
                return mm
    return None


def find_next_to_unuse(area: SwapArea, after: int) -> SwapSlot | None:
    """The next slot behind number `after` that is taken, looked at without any lock."""
    # Without a lock, since it is only where to look next; under the folio lock it is looked at again.
    for slot in area.slots[after + 1 :]:
        if swap_map(slot) != (0, False):
            return slot
    return None


def unuse_cached(memory: Memory, slot: SwapSlot) -> None:
    """If the page of the slot is cached, and no entry names it any more, take it out of the cache.

    It may have left the cache by the time it is locked, and then nothing of it is changed.
    """
    folio = swap_cache_get_folio(slot)
    if folio is not None:
        folio.head.lock.lock()
        # If an entry names the slot by now the page stays, and the next walk finds that entry.
        folio_free_swap(folio)
        folio.head.lock.unlock()
        folio_put(memory, folio)


def unuse_mm(memory: Memory, area: SwapArea, mm: MmStruct) -> int:
    """Bring back what entries of `mm` name; 0 or -ENOMEM. Takes mmap_lock for reading, so faults go on beside it."""
    error = 0
    mmap_read_lock(mm)
    walk = mm.mm_mt.cursor()
    while error == 0 and (vma := walk.find()) is not None:
        # Where nothing was written to nothing was swapped out.
        if vma.anon_vma is not None:
            error = unuse_vma(memory, area, vma)
        cond_resched()
    mmap_read_unlock(mm)
    return error


def unuse_vma(memory: Memory, area: SwapArea, vma: VmArea) -> int:
    """As `unuse_mm`, of one VMA; needs mmap_lock. A huge page is present, or being moved: never in swap."""
    mm = vma.vm_mm
    for low, high in addresses(mm, vma.vm_start, vma.vm_end):
        cond_resched()
        pmd = pmdp_get(mm, low)
        error = unuse_pte_range(memory, area, vma, pmd, low, high) if isinstance(pmd, PageTable) else 0
        if error:
            return error
    return 0


def unuse_pte_range(
    memory: Memory, area: SwapArea, vma: VmArea, table: PageTable, start: int, end: int
) -> int:
    """As `unuse_vma`, of one page-table page.

    An entry is read without a lock; its page is read back through the swap cache, locked, and mapped if the entry still
    names the slot. The page was found without its lock, too. By a fault it leaves the cache only together with the
    entry, but zswap's write-back takes out what it has put there in vain: so the page is looked at again, as since
    v6.18, and the entry is tried once more (there by the next walk).
    """
    address = start
    while address < end:
        pte = ptep_get(table, address)
        if isinstance(pte, Swap):
            slot = area.slots[pte.slot]
            folio = read_swap_cache_async(memory, slot)
            if isinstance(folio, Folio):
                folio.head.lock.lock()
                same = is_page_of(folio, slot)
                if same:
                    unuse_pte(vma, table, address, slot, folio)
                    folio_free_swap(folio)
                folio.head.lock.unlock()
                folio_put(memory, folio)
                if not same:
                    continue
            # No memory, and still wanted. If the slot is free by now nobody needs what could not be read.
            elif folio != 0 and swap_map(slot) != (0, False):
                return ENOMEM
        address += PAGE_SIZE
    return 0


def unuse_pte(vma: VmArea, table: PageTable, address: int, slot: SwapSlot, folio: Folio) -> bool:
    """Map the locked `folio` where an entry names `slot`; False if it does so no more. Needs mmap_lock.

    Entries are compared by their slots alone: a bit of theirs may have changed (pte_same_as_swp()).
    """
    mm = vma.vm_mm
    with table.ptl:
        pte = ptep_get(table, address)
        if not isinstance(pte, Swap) or pte.slot != slot.number:
            return False
        add_mm_counter(mm, MM_SWAPENTS, -1)
        add_mm_counter(mm, MM_ANONPAGES, 1)
        # Reference, rmap and LRU before the entry; the slot is given up last: until then the entry's page is
        # found by it.
        folio_get(folio)
        folio_add_anon_rmap(folio, vma, address, exclusive=bool(pte.bits & PTE_SWP_EXCLUSIVE))
        if not folio.head.order:
            folio.lru = True
        set_pte(table, address, unused_pte(vma, folio, pte))
        swap_free(slot)
        trace("unuse_pte", mm=mm.name, addr=hex(address), page=folio.name, slot=slot.name)
    return True


def unused_pte(vma: VmArea, folio: Folio, pte: Swap) -> Present:
    """The entry that maps `folio` in place of `pte`: not accessed, read-only, with the bits that outlive swap.
    Needs the lock of the page table.

    A store faults, and finds the page exclusive, or copies it; or it finds it protected. Since v5.19 (14a762dd1977).
    """
    # Without the kept bits a protection by userfaultfd is gone, and nobody is told of stores
    # (unuse-loses-bits, Z82).
    return mk_pte(folio, vma.vm_page_prot | pte.bits & PTE_SWP_KEPT)
