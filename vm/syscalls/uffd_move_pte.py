"""UFFDIO_MOVE of one page, present or swapped out: the locks, and the looks under them.

Kernel: move_pages_pte() and what it calls, mm/userfaultfd.c, v6.8, with the fixes that `vm.syscalls.uffd_move` names.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sugarbush.concurrency import READ_ONCE, trace
from sugarbush.vm.access import migration_entry_wait
from sugarbush.vm.frames import (
    flush_tlb_batched_pending,
    folio_put,
    get_swap_device,
    is_zero_pfn,
    maybe_mkwrite,
    mk_pte,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
    pmdp_get,
    pte_offset_map,
    ptep_clear_flush,
    ptep_get,
    ptep_get_and_clear,
    put_swap_device,
    set_pte,
    swap_cache_get_folio,
    swap_map,
)
from sugarbush.vm.objects import (
    EAGAIN,
    EBUSY,
    EEXIST,
    EFAULT,
    ENOENT,
    PAGE_SIZE,
    PTE_DIRTY,
    PTE_SWP_EXCLUSIVE,
    ZERO_PFN,
    AnonVma,
    Folio,
    Migration,
    MmStruct,
    PageTable,
    Present,
    Pte,
    Swap,
    SwapSlot,
    VmArea,
    folio_get,
    folio_maybe_dma_pinned,
    folio_test_anon,
)
from sugarbush.vm.reclaim import split_huge_page, swap_entry_moved
from sugarbush.vm.reverse import (
    anon_vma_lock_write,
    anon_vma_unlock_write,
    folio_get_anon_vma,
    folio_move_anon_rmap,
    put_anon_vma,
)
from sugarbush.vm.spaces import SINGLE_DEPTH_NESTING, linear_page_index

_AGAIN = 1
"""A lock was waited for, with the page tables let go: look at all of it again."""


@dataclass(slots=True)
class Source:
    """What is held of the page at the source: it is locked, with a reference, and its anon_vma locked for writing.

    `pte` is the entry that it was found by. A tail of a large folio has its head's lock.
    """

    folio: Folio | None = None
    pte: Pte = None
    anon_vma: AnonVma | None = None
    tables: tuple[PageTable, ...] = ()


def move_pages_pte(dst_vma: VmArea, src_vma: VmArea, dst: int, src: int, *, holes: bool) -> int:
    """Move what the entry of `src` stands for to `dst`; 0 or an error, -EAGAIN where something changed meanwhile.

    Needs mmap_lock. Both have page-table pages, or had.
    """
    mm = src_vma.vm_mm
    held = Source()
    mmu_notifier_invalidate_range_start(mm, src, src + PAGE_SIZE)
    result = _AGAIN
    while result == _AGAIN:
        result = _move_pte(held, dst_vma, src_vma, dst, src, holes=holes)
    if held.anon_vma is not None:
        anon_vma_unlock_write(held.anon_vma)
        put_anon_vma(held.anon_vma)
    _release(held, mm)
    mmu_notifier_invalidate_range_end(mm, src, src + PAGE_SIZE)
    return result


def _release(held: Source, mm: MmStruct) -> None:
    if held.folio is not None:
        held.folio.head.lock.unlock()
        folio_put(mm.memory, held.folio)
        held.folio = None


def _move_pte(held: Source, dst_vma: VmArea, src_vma: VmArea, dst: int, src: int, *, holes: bool) -> int:
    """One try of `move_pages_pte`: 0, an error, or _AGAIN. Needs mmap_lock for reading."""
    mm = src_vma.vm_mm
    dst_table, src_table = pte_offset_map(mm, dst), pte_offset_map(mm, src)
    if dst_table is None or src_table is None:
        return EAGAIN
    # One lock after the other: a first look at both, for which neither need be kept.
    with dst_table.ptl:
        if ptep_get(dst_table, dst) is not None:
            return EEXIST
    with src_table.ptl:
        pte = ptep_get(src_table, src)
    if pte is None:
        return 0 if holes else ENOENT
    # Locked for an entry that is there no more: all of it from the beginning.
    if held.folio is not None and pte != held.pte:
        return EAGAIN
    held.tables = (dst_table, src_table)
    if isinstance(pte, Present) and is_zero_pfn(pte):
        return move_zeropage_pte(held, dst_vma, dst, src, pte)
    if isinstance(pte, Present):
        return _take_present(held, mm, src_table, src, pte) or move_present_pte(
            held, dst_vma, src_vma, dst, src, pte
        )
    if isinstance(pte, Migration):
        migration_entry_wait(mm, src_table, src)
        return EAGAIN
    if not isinstance(pte, Swap):
        return EFAULT
    return move_swapped(held, dst_vma, src_vma, dst, src, pte)


def _take_present(held: Source, mm: MmStruct, table: PageTable, src: int, pte: Present) -> int:
    """Lock the page that `pte` maps, as a folio of its own, and then its anon_vma; 0, an error, or _AGAIN."""
    if held.folio is None:
        with table.ptl:
            if ptep_get(table, src) != pte:
                return EAGAIN
            page = mm.memory.mem_map[pte.pfn]
            if not page.anon_exclusive:
                return EBUSY
            folio_get(page)
        held.folio, held.pte = page, pte
        # v6.8 tries it with a page-table lock held, gives that back, waits, and begins again. No lock is held
        # here; the second look is made all the same.
        if not page.head.lock.trylock():
            page.head.lock.lock()
            return _AGAIN
    page = held.folio
    if not folio_test_anon(page):
        return EBUSY
    if page.head.order:
        return _split(held, mm)
    if held.anon_vma is None:
        # With a reference: from the moment at which the entry is cleared nothing else keeps it.
        anon_vma = folio_get_anon_vma(page)
        if anon_vma is None:
            return EAGAIN
        held.anon_vma = anon_vma
        if not anon_vma.root.rwsem.down_write_trylock():
            anon_vma_lock_write(anon_vma)
            return _AGAIN
    return 0


def _split(held: Source, mm: MmStruct) -> int:
    """Split the large folio that is locked, and begin again with what is then the page; kernel: split_folio().

    The lock and the reference are those of the head of before, which is a folio of its own afterwards.
    """
    assert held.folio is not None
    head = held.folio.head
    error = split_huge_page(mm.memory, head)
    held.folio = None
    head.lock.unlock()
    folio_put(mm.memory, head)
    return error or _AGAIN


@contextmanager
def double_pt_lock(dst: PageTable, src: PageTable, dst_address: int, src_address: int) -> Iterator[None]:
    """Hold the locks of both tables, or of the one; the lower addresses first, so that two moves cannot cross.

    The kernel goes by where the locks lie in memory.
    """
    first, second = (dst, src) if dst_address < src_address else (src, dst)
    first.ptl.lock()
    if second is not first:
        second.ptl.lock(SINGLE_DEPTH_NESTING)
    try:
        yield
    finally:
        if second is not first:
            second.ptl.unlock()
        first.ptl.unlock()


def is_pte_pages_stable(held: Source, dst: int, src: int, src_pte: Pte, mm: MmStruct) -> bool:
    """Both entries are what they were, and still in use by the processor; needs both page-table locks."""
    dst_table, src_table = held.tables
    return (
        ptep_get(src_table, src) == src_pte
        and ptep_get(dst_table, dst) is None
        and pmdp_get(mm, dst) is dst_table
    )


def move_present_pte(held: Source, dst_vma: VmArea, src_vma: VmArea, dst: int, src: int, pte: Present) -> int:
    """Move the page, which is locked as well as its anon_vma; 0, -EAGAIN or -EBUSY.

    A task that pins a page without locks looks at the entry once more afterwards. So the entry is cleared first,
    and then the pins are looked at again. The page changes only after that, when it is certain that it is moved
    (d7a08838ab74).
    """
    mm = src_vma.vm_mm
    page = held.folio
    assert page is not None
    dst_table, src_table = held.tables
    with double_pt_lock(dst_table, src_table, dst, src):
        if not is_pte_pages_stable(held, dst, src, pte, mm):
            return EAGAIN
        if page.head.order or folio_maybe_dma_pinned(page) or not page.anon_exclusive:
            return EBUSY
        # Neither place has the page now, and no walk can come: the anon_vma is locked for writing, the page
        # is locked.
        cleared = ptep_clear_flush(mm, src_table, src)
        assert isinstance(cleared, Present)
        if folio_maybe_dma_pinned(page):
            set_pte(src_table, src, cleared)
            return EBUSY
        # Behind the last look that may fail. Told before of its new place, a page that stays is found by no
        # walk any more (uffd-move-pinned, Z84).
        folio_move_anon_rmap(page, dst_vma, linear_page_index(dst_vma, dst))
        # As after mremap the page counts as dirty.
        bits = dst_vma.vm_page_prot | maybe_mkwrite(dst_vma) | PTE_DIRTY
        set_pte(dst_table, dst, mk_pte(page, bits))
        trace("move_present_pte", mm=mm.name, src=hex(src), dst=hex(dst), page=page.name)
    return 0


def move_zeropage_pte(held: Source, dst_vma: VmArea, dst: int, src: int, pte: Present) -> int:
    """Move an entry of the zero page, which nobody counts and which has no lock of its own; 0 or -EAGAIN.

    Kernel: since v6.9 and v6.8.3 (eb1521dad8f3); before, the move of a range that was only read of failed.
    """
    mm = dst_vma.vm_mm
    dst_table, src_table = held.tables
    with double_pt_lock(dst_table, src_table, dst, src):
        if not is_pte_pages_stable(held, dst, src, pte, mm):
            return EAGAIN
        ptep_clear_flush(mm, src_table, src)
        set_pte(dst_table, dst, Present(ZERO_PFN, 0, dst_vma.vm_page_prot))
        trace("move_zeropage_pte", mm=mm.name, src=hex(src), dst=hex(dst))
    return 0


# -- what was swapped out ---------------------------------------------------------------------------------------


def move_swapped(held: Source, dst_vma: VmArea, src_vma: VmArea, dst: int, src: int, pte: Swap) -> int:
    """Move the entry of a slot; 0, an error, or _AGAIN.

    The page of the slot may be cached, and then has the anon_vma and the index of the source, by which it would be
    mapped at `dst`: it is locked and goes along. Nobody walks for it, as nothing maps it, so its anon_vma need not be
    locked. The area is used for the looks at the slot.
    """
    mm = src_vma.vm_mm
    if not pte.bits & PTE_SWP_EXCLUSIVE:
        return EBUSY
    area = mm.memory.swap
    assert area is not None
    if not get_swap_device(area):
        return EAGAIN
    slot = area.slots[pte.slot]
    result = lock_swap_cache(held, slot, pte) or move_swap_pte(held, dst_vma, src_vma, dst, src, pte, slot)
    put_swap_device(area)
    if result == _AGAIN:
        assert held.folio is not None
        held.folio.head.lock.lock()
    return result


def lock_swap_cache(held: Source, slot: SwapSlot, pte: Swap) -> int:
    """Lock the page of the slot if it is cached; 0, -EBUSY for a large folio, or _AGAIN: its lock must be waited for.

    Kernel: v6.14 (c50f8e6053b0).
    """
    if held.folio is not None:
        return 0
    folio = swap_cache_get_folio(slot)
    if folio is None:
        return 0
    held.folio, held.pte = folio, pte
    if folio.head.lock.trylock():
        return 0
    return _AGAIN


def move_swap_pte(
    held: Source, dst_vma: VmArea, src_vma: VmArea, dst: int, src: int, pte: Swap, slot: SwapSlot
) -> int:
    """Move the entry, and the cached page of its slot, which is locked; 0, -EBUSY or -EAGAIN.

    The page was found without its lock: it may have left the cache since, even for another slot. And where none was
    found there may be one by now, if the page was read, mapped, and taken away again to the same slot: the entries
    look as they did before. The lock of the page table orders that look (v6.16, 0ea148a79919).
    """
    mm = src_vma.vm_mm
    area = mm.memory.swap
    assert area is not None
    folio = held.folio
    if folio is not None and folio.head.order:
        return EBUSY
    # Its lock is held, so this stays true; before, it may have left for another slot.
    if folio is not None and READ_ONCE(folio, "swap") is not slot:
        return EAGAIN
    dst_table, src_table = held.tables
    with double_pt_lock(dst_table, src_table, dst, src):
        if not is_pte_pages_stable(held, dst, src, pte, mm):
            return EAGAIN
        # The flush of the entry that reclaim has replaced may be to come. No kernel makes up for it here: a load from
        # the source could then read what has been moved (reasoned here, not published).
        flush_tlb_batched_pending(mm)
        if folio is not None:
            folio_move_anon_rmap(folio, dst_vma, linear_page_index(dst_vma, dst))
        # Cached since the look without the lock: the page has the anon_vma of the source, and would be mapped
        # with it at the new place (uffd-move-swap-cache, Z83).
        elif swap_map(slot)[1]:
            return EAGAIN
        moved = ptep_get_and_clear(src_table, src)
        set_pte(dst_table, dst, moved)
        swap_entry_moved(area)
        trace("move_swap_pte", mm=mm.name, src=hex(src), dst=hex(dst), slot=slot.name)
    return 0
