"""Folios, the frames that they live in, and what a folio itself says.

A frame is a `Folio` for ever, as a struct page is in mem_map; freeing it bumps its generation, so that whoever
kept its number can be told apart from whoever owns it now. A folio in the swap cache and its slot name each
other, so `SwapSlot` stands here, too. Who gets which frame is in `vm.frames.page_alloc`. Kernel: struct folio,
v6.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from sugarbush.concurrency import (
    READ_ONCE,
    Atomic,
    Once,
    Shared,
    Unshared,
    atomic_add_return,
    bug_on,
    might_sleep,
)
from sugarbush.concurrency.lowlevel import (
    Access,
    Operation,
    OwnedLock,
    owned_operations,
    peek,
    perform,
    poke,
    step,
)
from sugarbush.vm.objects.layout import ZERO_PFN

if TYPE_CHECKING:
    from sugarbush.concurrency.core import Place


class FolioLock(OwnedLock):
    """PG_locked: folio_lock(), folio_trylock(), folio_unlock()."""

    __slots__ = ("__weakref__",)
    # The kernel's lock validator does not know PG_locked, which is a bit. Here it is a lock as any, so that a
    # folio lock that is waited for under an rmap lock is reported the first time (folio-lock-under-rmap-lock,
    # Z40h).
    _lock, _trylock, _unlock = owned_operations("folio", atomic=False)
    _sleeps = True


class Mapping(Shared):
    """What a folio is a page of: an `AnonVma` or an `AddressSpace`, which stand above (`vm.objects.mm_types`)."""

    anon: ClassVar[bool] = False
    """It is an `AnonVma`; kernel: PAGE_MAPPING_ANON, the lowest bit of folio->mapping."""


class HugePool(Protocol):
    """What a page of hugetlbfs asks of the pool that it is of (`vm.files.hugetlbfs.HugetlbFile`)."""

    def free_huge_page(self, *, promised: bool) -> None:
        """A page, whose frame is free by now, is back in the pool."""


class Folio(Shared):
    """One frame and what is in it.

    `refcount` and `mapcount` count as the kernel shows them (0 = free, not mapped). `mapping` is an `AnonVma`,
    an `AddressSpace` or None; `index` the page offset in it. `token` stands for the 4096 bytes of content. An
    anonymous page is `anon_exclusive` while only one entry can refer to it, so that a write fault may use it as
    it is. `swap` is its slot while it is in the swap cache. `hugetlb` is the pool that it is of,
    `restore_reserve` of `vm.huge.hugetlb_reserve`.

    The `pages` of a large folio are the `head` and the tails behind it. The head's are the lock, the
    references, and `entire_mapcount`, how often it is mapped whole; each page's are its content, how often it
    is mapped by itself, and `anon_exclusive`. Simpler here: a tail has its own `mapping` and `index`, which the
    kernel derives from the head's.
    """

    pfn: Unshared[int]
    lock: Unshared[FolioLock]
    # 0 while the frame is on the free list. A task that neither has a reference nor holds a lock by which
    # another one stays must use folio_try_get(): at 0 the frame is free, or about to be given to another
    # owner.
    refcount: Atomic[int] = 0
    # Each pin has a reference besides, so this is never above `refcount`. v6.1 adds 1024 to the refcount of a
    # small folio instead, and may take many references for a pin; here the answer is exact.
    pincount: Atomic[int] = 0
    # Of this page by itself. It changes under the lock of the page table whose entry changes, so a look
    # without that lock may find it wrong for a moment (split-without-sync, Z31z).
    mapcount: Atomic[int] = 0
    entire_mapcount: Atomic[int] = 0
    # Changed under the folio lock, or before the first entry names the page. It outlives the last mapping,
    # until the frame is freed: so a walk that has found an anon_vma by it must ask afterwards whether the
    # page is still mapped (anon-vma-root-changes, Z37).
    mapping: Once[Mapping | None] = None
    index: Once[int] = 0
    # Taken off by a cmpxchg, so one task at a time moves or reclaims the page.
    lru: Once[bool] = False
    # Cleared before a second entry can name the page. While the page has no entry that is present, the bit is
    # in what stands there instead (PTE_SWP_EXCLUSIVE); what several swap entries name is exclusive to none.
    anon_exclusive: Once[bool] = False
    dirty: Once[bool] = False
    writeback: Once[bool] = False
    swap: Once[SwapSlot | None] = None
    token: Once[object] = None
    # No kernel has this: goes up at each free. An entry that says another number means a former owner of the
    # frame.
    generation: Unshared[int] = 0
    hugetlb: Unshared[HugePool | None] = None
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


class ZswapEntry:
    """The copy of one page; another page, or the same one written again, gets another entry."""

    __slots__ = ("token",)

    def __init__(self, token: object) -> None:
        self.token = token


class SwapSlot(Shared):
    """Room for one page. `count` entries name it; `has_cache` says that it must not be given to another page.

    `folio` is the page in the swap cache, `token` what was written last, `zswap` a copy that stands for it.
    """

    number: Unshared[int]
    count: Unshared[int] = 0
    # SWAP_HAS_CACHE. It may be set while `folio` is None: somebody is reading the slot past the cache, and it
    # must not be freed and used again meanwhile (swap-in-without-cache, Z29). The other way round cannot be.
    has_cache: Unshared[bool] = False
    folio: Unshared[Folio | None] = None
    token: Unshared[object] = None
    # If it is there it is newer than `token`: reads look here first.
    zswap: Unshared[ZswapEntry | None] = None

    @property
    def name(self) -> str:
        """How traces call it."""
        return f"slot{self.number}"

    @property
    def free(self) -> bool:
        """Nobody needs what is in it."""
        return not self.count and not self.has_cache


class HugeZero(Shared):
    """The huge zero page of a machine: `page`, or None while nobody needed it.

    `refcount` (huge_zero_refcount) counts the address spaces that use it, and one more for the shrinker, which
    drops the last one. `use` is /sys/kernel/mm/transparent_hugepage/use_zero_page.
    """

    page: Atomic[Folio | None] = None
    refcount: Atomic[int] = 0
    use: Unshared[bool] = True


def _get_unless_zero(folio: Folio, _task: Any, _arg: Any) -> bool:
    count = peek(folio, "refcount")
    if count == 0:
        return False
    poke(folio, "refcount", count + 1)
    return True


def fields(obj: Any, *names: str, changes: bool = True) -> list[Place]:
    """These parts of an object, for `Operation.touches`."""
    return [(obj, name, changes) for name in names]


TRY_GET = Operation("folio_try_get", Access.ACQ_REL, field="refcount", effect=_get_unless_zero, local=True)


def _is_unlocked(lock: FolioLock, _task: Any) -> bool:
    return lock.unheld


TEST_LOCKED = Operation("folio_test_locked", Access.READ_ONCE, local=True)
WAIT_LOCKED = Operation("folio_wait_locked", ready=_is_unlocked, alike=True, acquires=("lock",), local=True)


def folio_test_locked(folio: Folio) -> bool:
    """Somebody holds the folio lock, at this moment."""
    step(TEST_LOCKED, folio.lock)
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
    # A reference would be one that the migration has not counted on (`SWITCH` in vm.reclaim.migrate): so a
    # task that waits would make the very migration fail that it waits for.
    might_sleep()
    perform(WAIT_LOCKED, folio.head.lock)


def folio_test_anon(folio: Folio) -> bool:
    """The folio holds anonymous memory."""
    mapping: Mapping | None = READ_ONCE(folio, "mapping")
    return mapping is not None and mapping.anon


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
    """Take a reference to a folio that somebody holds: the caller, or an entry whose page-table lock he has."""
    folio = folio.head
    bug_on(
        atomic_add_return(folio, "refcount", 1) <= 1,
        f"VM_BUG_ON_FOLIO: {folio.name} used after free",
        "refcount",
    )
