"""Moving pages from one place of an address space to another, by userfaultfd: UFFDIO_MOVE. Kernel:
mm/userfaultfd.c, v6.8.

What lies at the source is taken away and put where nothing is yet. Only pages that nobody else has are moved: a
page of anonymous memory that is exclusive, or the slot of one that was swapped out. mmap_lock is held only for
reading, so faults, zaps, reclaim and other moves go on beside it, and whatever was read is looked at again under
both page-table locks.

Walks find a page through its anon_vma and its index, and both change. So the page is locked, which keeps migration
and reclaim away, and its anon_vma is locked for writing, since some walks go without the lock of the page
(folio_referenced()). The first lock is tried, and waited for only after the page tables were let go.

With the fixes up to v6.17: what is in the swap cache moves with its entry (c50f8e6053b0), looked at again under its
lock (0ea148a79919); a page that is pinned meanwhile stays what it was (d7a08838ab74); a huge page that is being
migrated is waited for (aba6faec0103).

Simpler here: an address space is registered as a whole; nobody waits for a page that is missing. mmap_lock is taken
in every era, as in v6.8: since v6.9 the locks of both VMAs may do (uffd_move_lock()), but a folio lock comes before
those in the order that v6.6 has. Each page is flushed by itself, as up to v6.17. Bits of an entry are made anew, as
there: the protection of the source is not moved with a page, and is with a slot.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from concurrency import READ_ONCE, cond_resched, cpu_relax, perform, trace
from vm.anon_vma import AnonVma, anon_vma_lock_write, anon_vma_unlock_write, put_anon_vma
from vm.anon_vma_chain import anon_vma_prepare
from vm.errno import EAGAIN, EBUSY, EEXIST, EFAULT, EINVAL, ENOENT, ENOMEM
from vm.find import vma_lookup
from vm.folio import Folio, Memory, folio_get, folio_maybe_dma_pinned, folio_put, folio_test_anon
from vm.huge_pmd import pmd_folio
from vm.huge_split import split_huge_page
from vm.huge_split_pmd import split_huge_pmd
from vm.layout import (
    PAGE_SIZE,
    VM_ACCESS_FLAGS,
    VM_HUGETLB,
    VM_IO,
    VM_LOCKED,
    VM_MIXEDMAP,
    VM_PFNMAP,
    VM_SHARED,
    VM_WRITE,
)
from vm.memory import migration_entry_wait
from vm.mm import SINGLE_DEPTH_NESTING, MmStruct, mmap_read_lock, mmap_read_unlock
from vm.mmu_notifier import mmu_notifier_invalidate_range_end, mmu_notifier_invalidate_range_start
from vm.pgtable import (
    PTE_DIRTY,
    PTE_SWP_EXCLUSIVE,
    Migration,
    PageTable,
    Pmd,
    Present,
    Pte,
    Swap,
    maybe_mkwrite,
    mk_pte,
    pmdp_get,
    pte_alloc,
    pte_offset_map,
    ptep_get,
    ptep_get_and_clear,
    set_pte,
)
from vm.rmap import folio_get_anon_vma, folio_move_anon_rmap
from vm.swap import SwapSlot, get_swap_device, put_swap_device, swap_cache_get_folio, swap_map
from vm.tlb import flush_tlb_batched_pending, ptep_clear_flush
from vm.uffd import WAKE
from vm.uffd_copy import UserfaultfdCtx
from vm.uffd_move_huge import move_pages_huge_pmd
from vm.vma import VmArea, linear_page_index, vma_is_anonymous

UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES = 0x2
_AGAIN = 1
"""A lock was waited for, with the page tables let go: look at all of it again."""


def userfaultfd_move(ctx: UserfaultfdCtx, dst: int, src: int, length: int, mode: int = 0) -> int:
    """Move what is mapped at ``[src, src + length)`` to `dst`: how many bytes were moved, or an error if that is
    none.

    -EINVAL for what is not aligned, or no private, anonymous, writable memory of the same rights; -ENOENT where no
    VMA or, without UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES, no page is; -EEXIST where something is mapped at `dst`; -EBUSY
    for a page that others have, too, or that is pinned; -EAGAIN while there is a fork that the monitor has not read
    of; -ENOMEM. Takes mmap_lock for reading. Kernel: fs/userfaultfd.c.
    """
    if (dst | src | length) & (PAGE_SIZE - 1) or length <= 0 or mode & ~UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES:
        return EINVAL
    if READ_ONCE(ctx, "mmap_changing"):
        return EAGAIN
    moved = move_pages(ctx, dst, src, length, mode)
    if moved > 0:
        perform(WAKE, ctx.mm, (dst, dst + moved))
        trace("userfaultfd_move", mm=ctx.mm.name, dst=hex(dst), src=hex(src), moved=moved)
    return moved


def uffd_move_lock(mm: MmStruct, dst: int, src: int) -> tuple[VmArea, VmArea] | int:
    """The VMAs of `dst` and `src`, with mmap_lock held for reading; or -ENOENT or -ENOMEM, and it is not.

    The VMA of `dst` gets an anon_vma, for the pages that come. Kernel: uffd_move_lock() without locks of VMAs, v6.9.
    """
    mmap_read_lock(mm)
    dst_vma, src_vma = vma_lookup(mm, dst), vma_lookup(mm, src)
    if dst_vma is None or src_vma is None:
        error = ENOENT
    elif dst_vma.vm_flags & VM_SHARED or anon_vma_prepare(dst_vma):
        return dst_vma, src_vma
    else:
        error = ENOMEM
    mmap_read_unlock(mm)
    return error


def vma_move_compatible(vma: VmArea) -> bool:
    """Pages of `vma` are ordinary ones."""
    return not vma.vm_flags & (VM_IO | VM_PFNMAP | VM_MIXEDMAP | VM_HUGETLB)


def validate_move_areas(src_vma: VmArea, dst_vma: VmArea) -> bool:
    """Both are private, anonymous and writable, and alike: then an entry may be the same at either place."""
    return (
        not (src_vma.vm_flags ^ dst_vma.vm_flags) & (VM_ACCESS_FLAGS | VM_LOCKED)
        and src_vma.vm_page_prot == dst_vma.vm_page_prot
        and bool(src_vma.vm_flags & VM_WRITE)
        and not (src_vma.vm_flags | dst_vma.vm_flags) & VM_SHARED
        and vma_move_compatible(src_vma)
        and vma_move_compatible(dst_vma)
        and vma_is_anonymous(src_vma)
        and vma_is_anonymous(dst_vma)
    )


def move_pages(ctx: UserfaultfdCtx, dst: int, src: int, length: int, mode: int) -> int:
    """As `userfaultfd_move`, which checks the range and wakes those who wait."""
    mm = ctx.mm
    locked = uffd_move_lock(mm, dst, src)
    if isinstance(locked, int):
        return locked
    dst_vma, src_vma = locked
    moved, error = 0, 0
    if READ_ONCE(ctx, "mmap_changing"):
        error = EAGAIN
    elif (
        src + length > src_vma.vm_end
        or dst + length > dst_vma.vm_end
        or not validate_move_areas(src_vma, dst_vma)
    ):
        error = EINVAL
    while not error and moved < length:
        error, step = move_one(dst_vma, src_vma, dst + moved, src + moved, src + length, mode)
        cond_resched()
        if error == EAGAIN:
            error = 0
            cpu_relax()
        elif not error:
            moved += step
    mmap_read_unlock(mm)
    return moved or error


def move_one(dst_vma: VmArea, src_vma: VmArea, dst: int, src: int, end: int, mode: int) -> tuple[int, int]:
    """Move one page, or a huge page: 0 or an error, and how far that goes; -EAGAIN to do it once more.

    The body of the loop of move_pages(). A huge page goes whole if it fits the place at `dst` and lies before `end`;
    else it is mapped page by page first.
    """
    mm = src_vma.vm_mm
    holes = bool(mode & UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES)
    dst_pmd = pmdp_get(mm, dst)
    if isinstance(dst_pmd, (Present, Migration)):
        return EEXIST, 0
    with mm.page_table_lock:
        pmd = pmdp_get(mm, src)
        huge = isinstance(pmd, (Present, Migration))
        splits = bool((dst | src) & (mm.pmd_size - 1)) or src + mm.pmd_size > end or dst_pmd is not None
        shared = huge and splits and is_shared_huge(mm.memory, pmd)
    if shared:
        return EBUSY, 0
    if huge and not splits:
        return move_pages_huge_pmd(dst_vma, src_vma, dst, src), mm.pmd_size
    if huge:
        # The folio is split by move_pages_pte().
        split_huge_pmd(src_vma, src)
        return EAGAIN, 0
    if pmd is None and not holes:
        return ENOENT, 0
    if pte_alloc(mm, src) is None or pte_alloc(mm, dst) is None:
        # A huge page may have come there since, too: then the next look says so.
        full = any(pmdp_get(mm, address) is None for address in (src, dst))
        return (ENOMEM if full else EAGAIN), 0
    return move_pages_pte(dst_vma, src_vma, dst, src, holes=holes), PAGE_SIZE


def is_shared_huge(memory: Memory, pmd: Pmd) -> bool:
    """Others have the huge page, too, so it is not moved. One that is being migrated has no page to look at: it is
    split like another, and then waited for (v6.17, aba6faec0103). Needs `page_table_lock`.
    """
    return isinstance(pmd, Present) and not pmd_folio(memory, pmd).anon_exclusive


# -- one page ---------------------------------------------------------------------------------------------------


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
    mm = src_vma.vm_mm
    dst_table, src_table = pte_offset_map(mm, dst), pte_offset_map(mm, src)
    if dst_table is None or src_table is None:
        return EAGAIN
    with dst_table.ptl:
        if ptep_get(dst_table, dst) is not None:
            return EEXIST
    with src_table.ptl:
        pte = ptep_get(src_table, src)
    if pte is None:
        return 0 if holes else ENOENT
    if held.folio is not None and pte != held.pte:
        return EAGAIN
    held.tables = (dst_table, src_table)
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
        if not page.head.lock.trylock():
            page.head.lock.lock()
            return _AGAIN
    page = held.folio
    if not folio_test_anon(page):
        return EBUSY
    if page.head.order:
        return _split(held, mm)
    if held.anon_vma is None:
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

    Who pins a page without locks looks at the entry once more after that: so it is cleared first, and then the pins
    are looked at again. The page changes only after that, when it is certain that it is moved (d7a08838ab74).
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
        cleared = ptep_clear_flush(mm, src_table, src)
        assert isinstance(cleared, Present)
        if folio_maybe_dma_pinned(page):
            set_pte(src_table, src, cleared)
            return EBUSY
        folio_move_anon_rmap(page, dst_vma, linear_page_index(dst_vma, dst))
        # As after mremap the page counts as dirty.
        bits = dst_vma.vm_page_prot | maybe_mkwrite(dst_vma) | PTE_DIRTY
        set_pte(dst_table, dst, mk_pte(page, bits))
        trace("move_present_pte", mm=mm.name, src=hex(src), dst=hex(dst), page=page.name)
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
    folio = held.folio
    if folio is not None and folio.head.order:
        return EBUSY
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
        elif swap_map(slot)[1]:
            return EAGAIN
        moved = ptep_get_and_clear(src_table, src)
        set_pte(dst_table, dst, moved)
        trace("move_swap_pte", mm=mm.name, src=hex(src), dst=hex(dst), slot=slot.name)
    return 0
