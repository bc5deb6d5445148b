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

from collections.abc import Callable
from typing import Any

from sugarbush.concurrency import READ_ONCE, WRITE_ONCE, bug_on
from sugarbush.concurrency.lowlevel import Operation, step
from sugarbush.lockdep.model import GFP_KERNEL, GFP_NOFAIL
from sugarbush.vm.frames.secondary_mmu import (
    MmuIntervalNotifier,
    NotifierSubscriptions,
    drop,
    notifier_cache,
    subscriptions_of,
)
from sugarbush.vm.objects import PAGE_SIZE, TASK_SIZE, Folio, MmStruct, VmArea

RmapOne = Callable[[Folio, VmArea, int], Any]


ITREE_READ = Operation("interval_tree_iter_first", field="itree", local=True)
ITREE_WRITE = Operation("interval_tree_change", field="itree", local=True)


def _step(op: Operation, subs: NotifierSubscriptions) -> None:
    step(op, subs)


# -- those who change an address space ------------------------------------------------------------------------------


def mmu_notifier_invalidate_range_start(mm: MmStruct, start: int, end: int) -> None:
    """``[start, end)`` is about to change: whoever mirrors it drops it, and gets nothing of it until the end. Sleeps.

    Needs mmap_lock, a VMA's lock or an rmap lock, and no page-table lock.
    """
    # Read without a lock of its own. It goes from None to its value once, by a task that holds every lock
    # under which this may be called (mm_take_all_locks): so nobody sees None at the start of a change and not
    # at the end.
    subs = subscriptions_of(mm)
    if subs is None or start >= end:
        return
    subs.lock.lock()
    # Counted even if nobody mirrors the range: a device that comes while it goes on cannot know that it is
    # none of its own.
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
    subs = subscriptions_of(mm)
    if subs is not None and start < end:
        mn_itree_inv_end(subs)


def mn_itree_inv_end(subs: NotifierSubscriptions) -> None:
    """One invalidation has ended. With the last one the number is even again, and devices that waited to enter or
    leave the list do so.

    All of that under the lock: a device that sees the new number with the lock held knows that it is no longer in
    the list.
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
    # The number goes on before the list is put in order, and both under the lock. A device that waits for the
    # number without the lock goes on in between, and frees what is still in the list
    # (interval-notifier-remove, Z66).
    WRITE_ONCE(subs, "invalidate_seq", READ_ONCE(subs, "invalidate_seq") + 1)
    _step(ITREE_WRITE, subs)
    deferred = subs.deferred.copy()
    subs.deferred.clear()
    for comes, sub in deferred:
        _file(subs, sub, comes=comes)
    subs.lock.unlock()
    # After the lock is given back, for the tasks that are woken take it at once.
    subs.wq.wake_up_all()


def _file(subs: NotifierSubscriptions, sub: MmuIntervalNotifier, *, comes: bool) -> None:
    """Put `sub` into the list of those who are told, or take it out; needs the lock of the list."""
    WRITE_ONCE(sub, "in_tree", comes)
    _step(ITREE_WRITE, subs)
    if comes:
        subs.itree.append(sub)
    elif sub in subs.itree:
        subs.itree.remove(sub)


def notified(rmap_one: RmapOne) -> RmapOne:
    """`rmap_one`, with an invalidation around it of what it may change: of the page, or of all pages of a huge one."""

    # For each VMA by itself: which page tables a page is in is known only in the walk. And here, not in
    # `rmap_one`: an invalidation may sleep, and `rmap_one` holds a page-table lock for most of its time. rmap
    # locks stand outside of those of the devices (`vm.checks.lock_order`).
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

    Nobody can fault any more, so nothing comes back. A task that reclaims a page of it meanwhile still tells the
    mirrors.
    """
    # Before anything is torn down. A mirror that is not told any more while its pages are still mapped there
    # keeps pages that are freed (notifier-release, Z67).
    mmu_notifier_invalidate_range_start(mm, 0, TASK_SIZE)
    mmu_notifier_invalidate_range_end(mm, 0, TASK_SIZE)


# -- those who mirror it ----------------------------------------------------------------------------------------------


def mmu_interval_notifier_insert(mm: MmStruct, start: int, end: int) -> MmuIntervalNotifier:
    """A device that mirrors ``[start, end)`` from now on; `vm.reverse.all_locks.mmu_notifier_register` comes before."""
    subs = subscriptions_of(mm)
    assert subs is not None, "mmu_notifier_register() comes first"
    assert start < end, (
        "a device mirrors a range of at least a page: no invalidation would ever tell it of none"
    )
    sub = notifier_cache.alloc(GFP_KERNEL | GFP_NOFAIL, mm, subs, start, end)
    assert sub is not None
    subs.lock.lock()
    subs.mirrors.append(sub)
    begin_to_mirror(subs, sub)
    subs.lock.unlock()
    return sub


def begin_to_mirror(subs: NotifierSubscriptions, sub: MmuIntervalNotifier) -> None:
    """Put `sub` in the list, or note it down for the end of the invalidations; needs the lock of the list.

    Which ranges are being invalidated is not written down anywhere, so one of them may be that of `sub`. If no
    other device had to be told of them the number is still even: it is made odd now, and `sub` waits for the end.
    """
    seq = READ_ONCE(subs, "invalidate_seq")
    if not subs.active_invalidate_ranges:
        # An odd number that is over: `mmu_interval_read_begin` must not take it for one that goes on.
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
        # It never was in the list, so nobody uses it; v6.1 does not wait then, as far as we know.
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
    """Sleep until the invalidations of number `seq` are over, and the devices that left meanwhile are out of the
    list.
    """
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
    # If an invalidation has not come to this mirror yet, its own number is still the one of before: then
    # nothing is waited for, and `mmu_interval_read_retry` sees the change.
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
    """What a driver does when it is told: note the number, and drop what it mirrors of the range. Takes the
    driver's lock.
    """
    with sub.driver_lock:
        # The number before the entries, in one section of the driver's lock: a fault of the device that takes
        # the lock next must find that it is too late, or its entry would outlive the invalidation.
        WRITE_ONCE(sub, "invalidate_seq", seq)
        drop(sub, start, end)
