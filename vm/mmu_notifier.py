"""Devices that mirror an address space: telling them before what they have copied changes. Kernel:
mm/mmu_notifier.c and mm/hmm.c, v6.1.

A device has page tables of its own (a secondary MMU), filled from those of a process, and no reference to the pages
in them. So whoever changes or empties entries says so to all who mirror the range, before and after:
`mmu_notifier_invalidate_range_start` makes them drop what they have, and until `mmu_notifier_invalidate_range_end` they
get nothing new. A device that fills an entry cannot hold a lock all the while; it reads a sequence number first, and if
there was an invalidation when it is about to write, it begins anew:

    seq = mmu_interval_read_begin(sub)                      waits while the range is being invalidated
    look at the page tables of the process                  under mmap_lock
    with sub.driver_lock:                                   which the invalidation takes, too
        if not mmu_interval_read_retry(sub, seq): write it

Whether an address space has such devices is looked at under mmap_lock, the lock of a VMA or an rmap lock, so the first
one takes all of those (`mm_take_all_locks`). Simpler here: only interval notifiers, no list of older ones; the tree of
ranges is a list; an invalidation may always wait; there is no memory of the device's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from concurrency import (
    READ_ONCE,
    WRITE_ONCE,
    Failure,
    Kind,
    KmemCache,
    Mutex,
    Once,
    Operation,
    Shared,
    Spinlock,
    Unshared,
    WaitQueue,
    active,
    bug_on,
    checked,
    peek,
    perform,
    poke,
    trace,
)
from lockdep.gfp import GFP_KERNEL, GFP_NOFAIL
from vm.layout import PAGE_SIZE, TASK_SIZE
from vm.zero_page import pfn_to_page

if TYPE_CHECKING:
    from vm.folio import Folio
    from vm.mm import MmStruct
    from vm.pgtable import Present
    from vm.vma import VmArea

    RmapOne = Callable[[Folio, VmArea, int], Any]


class NotifierSubscriptions(Shared):
    """Who mirrors an address space. Kernel: struct mmu_notifier_subscriptions.

    `invalidate_seq` is odd while ranges that somebody mirrors are being invalidated, `active_invalidate_ranges` of
    them. While it is odd `itree` stays as it is: who comes and goes stands in `deferred`. All under `lock`. `mirrors`
    is for the invariants: all who may have something, in the list or not.
    """

    lock: Unshared[Spinlock]
    wq: Unshared[WaitQueue]
    invalidate_seq: Once[int] = 2
    active_invalidate_ranges: Once[int] = 0
    itree: Unshared[list[MmuIntervalNotifier]]
    mirrors: Unshared[list[MmuIntervalNotifier]]
    deferred: Unshared[list[tuple[bool, MmuIntervalNotifier]]]

    def __init__(self) -> None:
        super().__init__(
            lock=Spinlock("subscriptions->lock"),
            wq=WaitQueue("subscriptions->wq"),
            itree=[],
            deferred=[],
            mirrors=[],
        )

    @property
    def name(self) -> str:
        """How traces call it."""
        return "subscriptions"


class MmuIntervalNotifier(Shared):
    """A device that mirrors ``[start, end)`` of `mm`: its page table `sptes`, by the address of the page, and the lock
    of it. `invalidate_seq` is that of the last invalidation that it was told of. `in_tree` says whether it is told of
    any. Kernel: struct mmu_interval_notifier, and what a driver has around it.
    """

    mm: Unshared[MmStruct]
    subscriptions: Unshared[NotifierSubscriptions]
    start: Unshared[int]
    end: Unshared[int]
    driver_lock: Unshared[Mutex]
    invalidate_seq: Once[int] = 0
    in_tree: Once[bool] = False
    sptes: Unshared[dict[int, Present]]

    def __init__(self, mm: MmStruct, subscriptions: NotifierSubscriptions, start: int, end: int) -> None:
        super().__init__(
            mm=mm,
            subscriptions=subscriptions,
            start=start,
            end=end,
            driver_lock=Mutex("driver_lock"),
            sptes={},
        )

    @property
    def name(self) -> str:
        """How traces call it."""
        return "mirror"


notifier_cache = KmemCache("mmu_interval_notifier", MmuIntervalNotifier, object_size=96)

ITREE_READ = Operation("interval_tree_iter_first", field="itree", local=True)
ITREE_WRITE = Operation("interval_tree_change", field="itree", local=True)


def _step(op: Operation, subs: NotifierSubscriptions) -> None:
    rt = active.runtime
    if rt is not None:
        rt.step(op, subs)


# -- those who change an address space ------------------------------------------------------------------------------


def mmu_notifier_invalidate_range_start(mm: MmStruct, start: int, end: int) -> None:
    """``[start, end)`` is about to change: whoever mirrors it drops it, and gets nothing of it until the end. Sleeps.

    Needs mmap_lock, a VMA's lock or an rmap lock, and no page-table lock.
    """
    subs = mm.notifier_subscriptions
    if subs is None or start >= end:
        return
    subs.lock.lock()
    subs.active_invalidate_ranges += 1
    _step(ITREE_READ, subs)
    found = [sub for sub in subs.itree if sub.start < end and start < sub.end]
    seq = READ_ONCE(subs, "invalidate_seq")
    if found:
        seq |= 1
        WRITE_ONCE(subs, "invalidate_seq", seq)
    subs.lock.unlock()
    # While the number is odd the list does not change, so those in it are there until the end.
    for sub in found:
        invalidate(sub, start, end, seq)


def mmu_notifier_invalidate_range_end(mm: MmStruct, start: int, end: int) -> None:
    """The range has changed, and is flushed. The end of every `mmu_notifier_invalidate_range_start`."""
    subs = mm.notifier_subscriptions
    if subs is not None and start < end:
        mn_itree_inv_end(subs)


def mn_itree_inv_end(subs: NotifierSubscriptions) -> None:
    """One invalidation has ended. With the last one the number is even again, and who waited to come or go does so.

    All of that under the lock: whoever sees the new number with the lock held knows that it is no longer in the list.
    """
    subs.lock.lock()
    subs.active_invalidate_ranges -= 1
    bug_on(
        READ_ONCE(subs, "active_invalidate_ranges") < 0,
        "WARNING: mn_itree_inv_end(): active_invalidate_ranges < 0: an end whose beginning nobody was told of",
    )
    if subs.active_invalidate_ranges or not READ_ONCE(subs, "invalidate_seq") & 1:
        subs.lock.unlock()
        return
    WRITE_ONCE(subs, "invalidate_seq", READ_ONCE(subs, "invalidate_seq") + 1)
    _step(ITREE_WRITE, subs)
    deferred = subs.deferred.copy()
    subs.deferred.clear()
    for comes, sub in deferred:
        _file(subs, sub, comes=comes)
    subs.lock.unlock()
    subs.wq.wake_up_all()


def _file(subs: NotifierSubscriptions, sub: MmuIntervalNotifier, *, comes: bool) -> None:
    WRITE_ONCE(sub, "in_tree", comes)
    _step(ITREE_WRITE, subs)
    if comes:
        subs.itree.append(sub)
    elif sub in subs.itree:
        subs.itree.remove(sub)


def notified(rmap_one: RmapOne) -> RmapOne:
    """`rmap_one`, with an invalidation around it of what it may change: of the page, or of all pages of a huge one."""

    def one(page: Folio, vma: VmArea, address: int) -> Any:
        mm = vma.vm_mm
        end = address + len(page.pages) * PAGE_SIZE
        mmu_notifier_invalidate_range_start(mm, address, end)
        result = rmap_one(page, vma, address)
        mmu_notifier_invalidate_range_end(mm, address, end)
        return result

    return one


def mmu_notifier_release(mm: MmStruct) -> None:
    """The address space is about to end: all that was mirrored is dropped, while the mirrors are still told of changes.

    Nobody can fault any more, so nothing comes back. Whoever reclaims a page of it meanwhile still tells the mirrors.
    """
    mmu_notifier_invalidate_range_start(mm, 0, TASK_SIZE)
    mmu_notifier_invalidate_range_end(mm, 0, TASK_SIZE)


# -- those who mirror it ----------------------------------------------------------------------------------------------


def mmu_interval_notifier_insert(mm: MmStruct, start: int, end: int) -> MmuIntervalNotifier:
    """A device that mirrors ``[start, end)`` from now on; `vm.all_locks.mmu_notifier_register` comes before."""
    subs = mm.notifier_subscriptions
    assert subs is not None, "mmu_notifier_register() comes first"
    sub = notifier_cache.alloc(GFP_KERNEL | GFP_NOFAIL, mm, subs, start, end)
    assert sub is not None
    subs.lock.lock()
    subs.mirrors.append(sub)
    begin_to_mirror(subs, sub)
    subs.lock.unlock()
    return sub


def begin_to_mirror(subs: NotifierSubscriptions, sub: MmuIntervalNotifier) -> None:
    """Put `sub` in the list, or note it down for the end of the invalidations; needs the lock of the list.

    Which ranges are being invalidated nobody knows any more, so it may be its own, even if nobody had to be told: then
    the number is made odd now, and it waits for the end.
    """
    seq = READ_ONCE(subs, "invalidate_seq")
    if not subs.active_invalidate_ranges:
        WRITE_ONCE(sub, "invalidate_seq", seq - 1)
        _file(subs, sub, comes=True)
        return
    WRITE_ONCE(sub, "invalidate_seq", seq | 1)
    if seq & 1:
        _step(ITREE_WRITE, subs)
        subs.deferred.append((True, sub))
    else:
        WRITE_ONCE(subs, "invalidate_seq", seq | 1)
        _file(subs, sub, comes=True)


def mmu_interval_notifier_remove(sub: MmuIntervalNotifier) -> None:
    """The device mirrors nothing any more; afterwards nobody uses `sub`, and the caller frees it.

    The device must have nothing of the range: as soon as it is out of the list it is not told of changes any more. If
    there is an invalidation that may concern it, its end is waited for.
    """
    assert not sub.sptes, (
        "a device drops what it has, and fills no more in, before it leaves: vm.hmm.device_close()"
    )
    subs = sub.subscriptions
    subs.lock.lock()
    seq = READ_ONCE(subs, "invalidate_seq")
    if seq & 1:
        _step(ITREE_WRITE, subs)
        if (True, sub) in subs.deferred:
            subs.deferred.remove((True, sub))
        else:
            subs.deferred.append((False, sub))
    else:
        _file(subs, sub, comes=False)
    subs.lock.unlock()
    if seq & 1:
        wait_for_invalidations(subs, seq)
    subs.mirrors.remove(sub)


def wait_for_invalidations(subs: NotifierSubscriptions, seq: int) -> None:
    """Sleep until the invalidations of number `seq` are over, and those who went then are out of the list."""
    subs.wq.wait_event(lambda: mmu_interval_seq_released(subs, seq))


def mmu_interval_seq_released(subs: NotifierSubscriptions, seq: int) -> bool:
    """The number went on. Looked at under the lock, under which the list is put in order as well."""
    subs.lock.lock()
    released = READ_ONCE(subs, "invalidate_seq") != seq
    subs.lock.unlock()
    return bool(released)


def mmu_interval_read_begin(sub: MmuIntervalNotifier) -> int:
    """The number to look at the page tables under; sleeps while the range is being invalidated."""
    subs = sub.subscriptions
    subs.lock.lock()
    seq: int = READ_ONCE(sub, "invalidate_seq")
    invalidating = seq == READ_ONCE(subs, "invalidate_seq")
    subs.lock.unlock()
    if invalidating:
        subs.wq.wait_event(lambda: READ_ONCE(subs, "invalidate_seq") != seq)
    return seq


def mmu_interval_read_retry(sub: MmuIntervalNotifier, seq: int) -> bool:
    """The range was invalidated since `mmu_interval_read_begin` gave `seq`; needs the driver's lock."""
    return bool(READ_ONCE(sub, "invalidate_seq") != seq)


def invalidate(sub: MmuIntervalNotifier, start: int, end: int, seq: int) -> None:
    """What a driver does when it is told: note the number, and drop what it mirrors of the range."""
    with sub.driver_lock:
        WRITE_ONCE(sub, "invalidate_seq", seq)
        drop(sub, start, end)


# -- what the device has ----------------------------------------------------------------------------------------------


def _drop(sub: MmuIntervalNotifier, _task: Any, arg: tuple[int, int]) -> None:
    start, end = arg
    for page in [page for page in sub.sptes if start <= page < end]:
        pte = sub.sptes.pop(page)
        folio = pfn_to_page(sub.mm.memory, pte.pfn)
        if pte.write and folio.generation == pte.generation:
            # As set_page_dirty() by the driver: the process's own entry does not know what the device wrote.
            poke(folio.head, "dirty", True)


def _install(sub: MmuIntervalNotifier, _task: Any, arg: tuple[int, Present]) -> None:
    page, pte = arg
    sub.sptes[page] = pte


def _device_page(sub: MmuIntervalNotifier, address: int, *, write: bool) -> Folio | None:
    pte = sub.sptes.get(address & -PAGE_SIZE)
    if pte is None or (write and not pte.write):
        return None
    folio = pfn_to_page(sub.mm.memory, pte.pfn)
    if folio.generation != pte.generation and checked("secondary-mmu"):
        raise Failure(
            Kind.INVARIANT,
            f"secondary-mmu: a device that mirrors {sub.mm.name} accesses {address:#x} in {folio.name}, which is free",
            check="secondary-mmu",
        )
    return folio


def _device_load(sub: MmuIntervalNotifier, _task: Any, address: int) -> tuple[bool, object]:
    folio = _device_page(sub, address, write=False)
    return (False, None) if folio is None else (True, peek(folio, "token"))


def _device_store(sub: MmuIntervalNotifier, _task: Any, arg: tuple[int, object]) -> bool:
    address, token = arg
    folio = _device_page(sub, address, write=True)
    if folio is None:
        return False
    poke(folio, "token", token)
    return True


SPTE_DROP = Operation("spte_drop", effect=_drop)
SPTE_SET = Operation("spte_set", effect=_install)
DEVICE_LOAD = Operation("device_load", effect=_device_load)
DEVICE_STORE = Operation("device_store", effect=_device_store)


def drop(sub: MmuIntervalNotifier, start: int, end: int) -> None:
    """The device has nothing of ``[start, end)`` any more; its own translations are flushed with that."""
    perform(SPTE_DROP, sub, (start, end))


def install(sub: MmuIntervalNotifier, page: int, pte: Present) -> None:
    """Let the device use the page as `pte` says; needs the driver's lock."""
    perform(SPTE_SET, sub, (page, pte))
    trace("spte_set", mm=sub.mm.name, addr=hex(page), pte=pte)


def stale_mirrors(mms: Iterable[MmStruct], folio: Folio) -> str | None:
    """No device mirrors a page that was freed a moment ago."""
    for mm in mms:
        for sub in [] if mm.notifier_subscriptions is None else mm.notifier_subscriptions.mirrors:
            for address, pte in sub.sptes.items():
                if pte.pfn == folio.pfn and pte.generation < folio.generation:
                    return (
                        f"{folio.name} is freed while a device mirrors {mm.name}:{address:#x}, which shows it"
                    )
    return None
