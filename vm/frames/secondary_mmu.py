"""The page tables of devices that mirror an address space: which there are, and what they have.

`vm.frames.mmu_notifier` says how they are told of changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sugarbush.concurrency import (
    Failure,
    Kind,
    KmemCache,
    Mutex,
    Once,
    Shared,
    Spinlock,
    Unshared,
    WaitQueue,
    trace,
)
from sugarbush.concurrency.lowlevel import Operation, checked, peek, perform, poke
from sugarbush.vm.frames.zero_page import pfn_to_page
from sugarbush.vm.objects import PAGE_SIZE, Folio, MmStruct, Present, Subscriptions


class NotifierSubscriptions(Subscriptions):
    """The devices that mirror an address space. Kernel: struct mmu_notifier_subscriptions.

    `invalidate_seq` is odd while ranges that somebody mirrors are being invalidated, `active_invalidate_ranges`
    of them. While it is odd `itree` stays as it is: the devices that want to enter or leave it stand in
    `deferred`. All of it is under `lock`. `mirrors` is for the invariants: every device that may have a copy of
    an entry, in the list or not.
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


def subscriptions_of(mm: MmStruct) -> NotifierSubscriptions | None:
    """The devices that mirror `mm`; None if there was never one."""
    subs = mm.notifier_subscriptions
    assert subs is None or isinstance(subs, NotifierSubscriptions)
    return subs


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


def _drop(sub: MmuIntervalNotifier, _task: Any, arg: tuple[int, int]) -> None:
    start, end = arg
    for page in [page for page in sub.sptes if start <= page < end]:
        pte = sub.sptes.pop(page)
        folio = pfn_to_page(sub.mm.memory, pte.pfn)
        # Of a page that was freed in between nothing is to be kept: that it was still mirrored is another
        # check's to say.
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
    # No kernel could see this: the device writes into somebody else's page.
    if folio.generation != pte.generation and checked("secondary-mmu"):
        raise Failure(
            Kind.INVARIANT,
            f"secondary-mmu: a device that mirrors {sub.mm.name} accesses {address:#x} in {folio.name}, which is free",
            check="secondary-mmu",
        )
    return folio


def _device_load(sub: MmuIntervalNotifier, _task: Any, address: int) -> tuple[bool, object]:
    # In one step with the look at the table: a device needs no lock of the kernel's to go by its own entries.
    folio = _device_page(sub, address, write=False)
    return (False, None) if folio is None else (True, peek(folio, "token"))


def _device_store(sub: MmuIntervalNotifier, _task: Any, arg: tuple[int, object]) -> bool:
    address, token = arg
    folio = _device_page(sub, address, write=True)
    if folio is None:
        return False
    poke(folio, "token", token)
    return True


# All but one come to the page as well, and not only to the table of the device: so they are not local to it.
SPTE_DROP = Operation("spte_drop", effect=_drop)
SPTE_SET = Operation("spte_set", effect=_install)
DEVICE_LOAD = Operation("device_load", effect=_device_load)
DEVICE_STORE = Operation("device_store", effect=_device_store)


def drop(sub: MmuIntervalNotifier, start: int, end: int) -> None:
    """Let the device have nothing of ``[start, end)`` any more, not in its own translations either. Needs the
    driver's lock.
    """
    perform(SPTE_DROP, sub, (start, end))


def install(sub: MmuIntervalNotifier, page: int, pte: Present) -> None:
    """Let the device use the page as `pte` says; needs the driver's lock."""
    perform(SPTE_SET, sub, (page, pte))
    trace("spte_set", mm=sub.mm.name, addr=hex(page), pte=pte)


def stale_mirrors(mms: Iterable[MmStruct], folio: Folio) -> str | None:
    """No device mirrors a page that was freed a moment ago."""
    for mm in mms:
        subs = subscriptions_of(mm)
        # All who may have something, not only those who are told: one that has left with its entries is the
        # fault that is looked for (interval-notifier-remove, Z66).
        for sub in [] if subs is None else subs.mirrors:
            for address, pte in sub.sptes.items():
                if pte.pfn == folio.pfn and pte.generation < folio.generation:
                    return (
                        f"{folio.name} is freed while a device mirrors {mm.name}:{address:#x}, which shows it"
                    )
    return None
