"""Folios and the frames that they live in.

A frame is a `Folio` for ever, as a struct page is in mem_map; freeing it bumps its generation, so that whoever
kept its number can be told apart from whoever owns it now. Kernel: struct folio, mm/page_alloc.c, v6.1; only
order 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurrency import (
    READ_ONCE,
    Access,
    Atomic,
    Once,
    Operation,
    OwnedLock,
    Shared,
    Spinlock,
    Unshared,
    active,
    atomic_add_return,
    bug_on,
    direct_reclaim,
    may_reclaim,
    might_sleep,
    owned_operations,
    peek,
    perform,
    poke,
    trace,
)
from lockdep.gfp import GFP_DIRECT_RECLAIM, GFP_HIGHUSER_MOVABLE, gfpflags_allow_blocking
from vm.anon_vma import AnonVma
from vm.layout import PTRS_PER_PTE
from vm.zero_page import ZERO_PFN, HugeZero

if TYPE_CHECKING:
    from concurrency import Task
    from concurrency.operation import Place
    from vm.filemap import AddressSpace
    from vm.hugetlbfs import HugetlbFile
    from vm.mm import MmStruct
    from vm.swap import SwapArea, SwapSlot


class FolioLock(OwnedLock):
    """PG_locked: folio_lock(), folio_trylock(), folio_unlock()."""

    __slots__ = ("__weakref__",)
    _lock, _trylock, _unlock = owned_operations("folio", atomic=False)
    _sleeps = True


class Folio(Shared):
    """One frame and what is in it.

    `refcount` and `mapcount` count as the kernel shows them (0 = free, not mapped). `mapping` is an `AnonVma`,
    an `AddressSpace` or None; `index` the page offset in it. `token` stands for the 4096 bytes of content. An
    anonymous page is `anon_exclusive` while only one entry can refer to it, so that a write fault may use it as
    it is. `swap` is its slot while it is in the swap cache. `hugetlb` is the pool that it is of,
    `restore_reserve` of `vm.hugetlb_reserve`.

    The `pages` of a large folio are the `head` and the tails behind it. The head's are the lock, the
    references, and `entire_mapcount`, how often it is mapped whole; each page's are its content, how often it
    is mapped by itself, and `anon_exclusive`. Simpler here: a tail has its own `mapping` and `index`, which the
    kernel derives from the head's.
    """

    pfn: Unshared[int]
    lock: Unshared[FolioLock]
    refcount: Atomic[int] = 0
    pincount: Atomic[int] = 0
    mapcount: Atomic[int] = 0
    entire_mapcount: Atomic[int] = 0
    mapping: Once[AnonVma | AddressSpace | None] = None
    index: Once[int] = 0
    lru: Once[bool] = False
    anon_exclusive: Once[bool] = False
    dirty: Once[bool] = False
    writeback: Once[bool] = False
    swap: Once[SwapSlot | None] = None
    token: Once[object] = None
    generation: Unshared[int] = 0
    hugetlb: Unshared[HugetlbFile | None] = None
    restore_reserve: Once[bool] = False
    order: Unshared[int] = 0
    head: Unshared[Folio]
    pages: Unshared[tuple[Folio, ...]]

    def __init__(self, pfn: int) -> None:
        super().__init__(pfn=pfn, lock=FolioLock("folio_lock"))
        self.head = self
        self.pages = (self,)

    @property
    def name(self) -> str:
        """How traces call it."""
        return "the zero page" if self.pfn == ZERO_PFN else f"pfn{self.pfn}"

    def __repr__(self) -> str:
        return f"<Folio {self.name} generation {self.generation}>"


class Memory:
    """All frames, and the free ones: the last freed is handed out first, as from a per-CPU list.

    The frames are shared out among the `nodes` in stretches of one length (`page_to_nid`). `affinity`
    says which tasks stay on the CPUs of which node (`vm.numa`). `irqs_off` are the CPUs that walk page tables with
    interrupts off (`vm.gup`). A page-table page has `ptrs_per_pte` entries, and a huge page as many pages
    (HPAGE_PMD_NR). `mmlist`, under `mmlist_lock`, are the address spaces that swapoff looks through (`vm.mmlist`). The
    `zero_page` is no frame of `mem_map`, the one of `huge_zero` is (`vm.zero_page`).
    """

    name = "zone"

    def __init__(self, frames: int, nodes: int = 1, ptrs_per_pte: int = PTRS_PER_PTE) -> None:
        self.ptrs_per_pte = ptrs_per_pte
        self.mem_map = [Folio(pfn) for pfn in range(frames)]
        self.nodes = nodes
        self.free_list = self.mem_map[::-1]
        self.swap: SwapArea | None = None
        self.deferred_split: list[Folio] = []
        self.affinity: dict[Task, int] = {}
        self.irqs_off: list[Task] = []
        self.mmlist: list[MmStruct] = []
        self.mmlist_lock = Spinlock("mmlist_lock")
        self.zero_page = Folio(ZERO_PFN)
        poke(self.zero_page, "refcount", 1)
        poke(self.zero_page, "token", 0)
        self.huge_zero = HugeZero()


def page_to_nid(memory: Memory, folio: Folio) -> int:
    """The node that a frame belongs to."""
    return folio.pfn * memory.nodes // len(memory.mem_map)


def _is_on(memory: Memory, folio: Folio, nid: int | None) -> bool:
    return nid is None or page_to_nid(memory, folio) == nid


def _take_frame(memory: Memory, _task: Any, nid: int | None) -> Folio | None:
    free = memory.free_list
    for place in range(len(free) - 1, -1, -1):
        if _is_on(memory, free[place], nid):
            folio = free.pop(place)
            poke(folio, "refcount", 1)
            return folio
    return None


def _free_frame(memory: Memory, _task: Any, folio: Folio) -> None:
    for page in reversed(folio.pages):
        page.generation += 1
        poke(page, "mapping", None)
        poke(page, "lru", False)
        poke(page, "anon_exclusive", False)
        poke(page, "dirty", False)
        poke(page, "pincount", 0)
        poke(page, "token", None)
        memory.free_list.append(page)
    if folio.order:
        break_up(folio)


def break_up(folio: Folio) -> None:
    """Each page becomes a folio of its own; inside an effect."""
    for page in folio.pages:
        page.order = 0
        page.head = page
        page.pages = (page,)


def _take_huge(memory: Memory, _task: Any, nid: int | None) -> Folio | None:
    size = memory.ptrs_per_pte
    starts = range(0, len(memory.mem_map) - size + 1, size)
    frames = memory.mem_map
    fits = [pfn for pfn in starts if all(_is_on(memory, page, nid) for page in frames[pfn : pfn + size])]
    return _take_block(memory, fits)


def _take_highest_block(memory: Memory, _task: Any, above: int) -> Folio | None:
    size = memory.ptrs_per_pte
    starts = range(0, len(memory.mem_map) - size + 1, size)
    return _take_block(memory, [pfn for pfn in reversed(starts) if pfn > above])


def _take_block(memory: Memory, starts: list[int]) -> Folio | None:
    """The first of the blocks of frames that is free, as a large folio."""
    free = {folio.pfn for folio in memory.free_list}
    for pfn in starts:
        pages = tuple(memory.mem_map[pfn : pfn + memory.ptrs_per_pte])
        if all(page.pfn in free for page in pages):
            head = pages[0]
            memory.free_list = [folio for folio in memory.free_list if folio not in pages]
            for page in pages:
                page.head = head
            head.pages = pages
            head.order = len(pages).bit_length() - 1
            poke(head, "refcount", 1)
            return head
    return None


def _get_unless_zero(folio: Folio, _task: Any, _arg: Any) -> bool:
    count = peek(folio, "refcount")
    if count == 0:
        return False
    poke(folio, "refcount", count + 1)
    return True


def _take_highest(memory: Memory, _task: Any, above: int) -> Folio | None:
    folio = max(memory.free_list, key=lambda folio: folio.pfn, default=None)
    if folio is None or folio.pfn <= above:
        return None
    memory.free_list.remove(folio)
    poke(folio, "refcount", 1)
    return folio


def fields(obj: Any, *names: str, changes: bool = True) -> list[Place]:
    """These parts of an object, for `Operation.touches`."""
    return [(obj, name, changes) for name in names]


def _takes_frame(memory: Memory, _task: Any, nid: int | None) -> list[Place]:
    found = next((folio for folio in reversed(memory.free_list) if _is_on(memory, folio, nid)), None)
    return [(memory, "free_list", True), *([] if found is None else fields(found, "refcount"))]


def _takes_highest(memory: Memory, _task: Any, _above: int) -> list[Place]:
    found = max(memory.free_list, key=lambda folio: folio.pfn, default=None)
    return [(memory, "free_list", True), *([] if found is None else fields(found, "refcount"))]


def _frees(memory: Memory, _task: Any, folio: Folio) -> list[Place] | None:
    # What is broken up is another page's own afterwards, which no operation names.
    if folio.order:
        return None
    freed = ("mapping", "lru", "anon_exclusive", "dirty", "pincount", "token", "generation")
    return [(memory, "free_list", True), *fields(folio, *freed)]


ALLOC_HUGE = Operation("alloc_pages", effect=_take_huge, acquires=("frames",))
ISOLATE_FREE = Operation(
    "isolate_freepages", effect=_take_highest, acquires=("frames",), touches=_takes_highest
)
ISOLATE_FREE_BLOCK = Operation("isolate_freepages", effect=_take_highest_block, acquires=("frames",))
ALLOC_FRAME = Operation("alloc_pages", effect=_take_frame, acquires=("frames",), touches=_takes_frame)
FREE_FRAME = Operation("free_pages", effect=_free_frame, releases=("frames",), touches=_frees)
TRY_GET = Operation("folio_try_get", Access.ACQ_REL, field="refcount", effect=_get_unless_zero, local=True)


def alloc_folio(memory: Memory, gfp: int = GFP_HIGHUSER_MOVABLE, nid: int | None = None) -> Folio | None:
    """A frame, of node `nid` if that is given, with one reference, or None; kernel: folio_alloc()."""
    return _alloc(memory, gfp, ALLOC_FRAME, nid)


def alloc_huge(memory: Memory, gfp: int = GFP_HIGHUSER_MOVABLE, nid: int | None = None) -> Folio | None:
    """A large folio of one upper entry's size with one reference, or None; kernel: vma_alloc_folio()."""
    return _alloc(memory, gfp, ALLOC_HUGE, nid)


def _alloc(memory: Memory, gfp: int, op: Operation, nid: int | None) -> Folio | None:
    rt = active.runtime
    if rt is not None:
        if gfpflags_allow_blocking(gfp):
            might_sleep()
        rt.might_alloc(gfp)
        if gfp & GFP_DIRECT_RECLAIM:
            may_reclaim(rt)
        if rt.faults and rt.choose(2, "allocation of a page fails"):
            rt.faults -= 1
            return None
    folio: Folio | None = perform(op, memory, nid)
    if folio is None and gfpflags_allow_blocking(gfp):
        direct_reclaim()
        folio = perform(op, memory, nid)
    if folio is not None:
        trace("mm_page_alloc", page=folio.name)
    return folio


def isolate_freepage(memory: Memory, above: int) -> Folio | None:
    """The highest free frame beyond number `above`, with one reference, or None; kernel: compaction_alloc()."""
    folio: Folio | None = perform(ISOLATE_FREE, memory, above)
    if folio is not None:
        trace("mm_page_alloc", page=folio.name)
    return folio


def isolate_freepages_block(memory: Memory, above: int) -> Folio | None:
    """The highest free frames beyond number `above` for a large folio, with one reference, or None."""
    folio: Folio | None = perform(ISOLATE_FREE_BLOCK, memory, above)
    if folio is not None:
        trace("mm_page_alloc", page=folio.name)
    return folio


def _is_unlocked(lock: FolioLock, _task: Any) -> bool:
    return lock.unheld


TEST_LOCKED = Operation("folio_test_locked", Access.READ_ONCE, local=True)
WAIT_LOCKED = Operation("folio_wait_locked", ready=_is_unlocked, alike=True, acquires=("lock",), local=True)


def folio_test_locked(folio: Folio) -> bool:
    """Somebody holds the folio lock, at this moment."""
    rt = active.runtime
    if rt is not None:
        rt.step(TEST_LOCKED, folio.lock)
    return not folio.lock.unheld


def folio_wait_locked(folio: Folio) -> None:
    """Sleep until nobody holds the folio lock; needs a reference, since the folio is looked at again on waking."""
    migration_entry_wait_on_locked(folio)
    bug_on(
        READ_ONCE(folio, "refcount") == 0,
        f"VM_BUG_ON_PAGE(PagePoisoned({folio.name})): waited for after it was freed",
        "refcount",
    )


def migration_entry_wait_on_locked(folio: Folio) -> None:
    """Sleep until nobody holds the folio lock, without a reference: nothing of the folio is looked at
    afterwards.
    """
    might_sleep()
    perform(WAIT_LOCKED, folio.head.lock)


def folio_test_anon(folio: Folio) -> bool:
    """The folio holds anonymous memory."""
    return isinstance(READ_ONCE(folio, "mapping"), AnonVma)


def folio_mapped(folio: Folio) -> bool:
    """Some page table maps the folio, or one of its pages."""
    if folio.order:
        return total_mapcount(folio) > 0
    return bool(READ_ONCE(folio, "mapcount") > 0)


def folio_maybe_dma_pinned(page: Folio) -> bool:
    """Somebody has pinned the page and may write to it by its frame, so it must stay where it is, with its
    process.
    """
    return bool(READ_ONCE(page.head, "pincount") > 0)


def total_mapcount(folio: Folio) -> int:
    """How many entries map the folio or one of its pages; the counts are read one after the other."""
    return sum(int(READ_ONCE(page, "mapcount")) for page in folio.pages) + int(
        READ_ONCE(folio, "entire_mapcount")
    )


def folio_try_get(folio: Folio) -> bool:
    """Take a reference unless the frame is free."""
    return bool(perform(TRY_GET, folio))


def folio_get(folio: Folio) -> None:
    """Take a reference to a folio that somebody holds."""
    folio = folio.head
    bug_on(
        atomic_add_return(folio, "refcount", 1) <= 1,
        f"VM_BUG_ON_FOLIO: {folio.name} used after free",
        "refcount",
    )


def folio_put(memory: Memory, folio: Folio) -> None:
    """Drop a reference; the last one frees the frame."""
    folio = folio.head
    left = atomic_add_return(folio, "refcount", -1)
    bug_on(left < 0, f"VM_BUG_ON_FOLIO(folio_ref_count({folio.name}) < 0)", "refcount")
    if left == 0:
        mapcount = total_mapcount(folio) if folio.order else folio.mapcount
        bug_on(
            mapcount != 0, f"BUG: Bad page state: {folio.name} is freed with mapcount {mapcount}", "mapcount"
        )
        bug_on(
            not folio.lock.unheld, f"BUG: Bad page state: {folio.name} is freed with PG_locked", "refcount"
        )
        trace("mm_page_free", page=folio.name)
        pool = folio.hugetlb
        if pool is None:
            perform(FREE_FRAME, memory, folio)
            return
        # The frame may have another owner before the pool is told.
        folio.hugetlb, promised = None, folio.restore_reserve
        folio.restore_reserve = False
        perform(FREE_FRAME, memory, folio)
        pool.free_huge_page(promised=promised)
