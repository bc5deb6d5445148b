"""How a device fills its page table from that of a process. Kernel: mm/hmm.c, and the drivers that call it, v6.1."""

from __future__ import annotations

from sugarbush.concurrency.lowlevel import perform
from sugarbush.vm.access.page_fault import access_error, handle_mm_fault
from sugarbush.vm.access.user import Killed
from sugarbush.vm.frames import (
    DEVICE_LOAD,
    DEVICE_STORE,
    MmuIntervalNotifier,
    drop,
    install,
    mmu_interval_notifier_remove,
    mmu_interval_read_begin,
    mmu_interval_read_retry,
    notifier_cache,
    pmdp_get,
    pte_index,
    ptep_get,
)
from sugarbush.vm.objects import EFAULT, PAGE_SIZE, PTE_READ, MmStruct, PageTable, Present
from sugarbush.vm.spaces import mmap_read_lock, mmap_read_unlock, vma_lookup


def device_load(sub: MmuIntervalNotifier, address: int) -> object:
    """What the device reads at `address`; raises `Killed` where the process itself could not read."""
    while True:
        there, token = perform(DEVICE_LOAD, sub, address)
        if there:
            return token
        _device_fault(sub, address, write=False)


def device_store(sub: MmuIntervalNotifier, address: int, token: object) -> None:
    """Let the device write `token` over the page of `address`; raises `Killed` where the process could not."""
    while not perform(DEVICE_STORE, sub, (address, token)):
        _device_fault(sub, address, write=True)


def device_close(sub: MmuIntervalNotifier) -> None:
    """The device stops: it drops what it has, and is told nothing any more. Nobody may use it meanwhile."""
    # Before it leaves the list: what it kept after that nobody would tell it to drop.
    with sub.driver_lock:
        drop(sub, sub.start, sub.end)
    mmu_interval_notifier_remove(sub)
    notifier_cache.free(sub)


def _device_fault(sub: MmuIntervalNotifier, address: int, *, write: bool) -> None:
    error = device_fault(sub, address & -PAGE_SIZE, write=write)
    if error:
        raise Killed(f"a device that mirrors {sub.mm.name}: fault at {address:#x} (error {error})")


def device_fault(sub: MmuIntervalNotifier, page: int, *, write: bool) -> int:
    """Mirror one page, which is faulted in if need be; 0, -EFAULT or -ENOMEM. Takes mmap_lock and the driver's lock.

    What was seen may have changed by the time that it can be written down: then all begins anew.
    """
    while True:
        # Before the first look at the page tables; asked again under the driver's lock, which every
        # invalidation takes. So an invalidation is either seen, or comes after the entry, and drops it.
        seq = mmu_interval_read_begin(sub)
        mmap_read_lock(sub.mm)
        found = hmm_range_fault(sub.mm, page, write=write)
        mmap_read_unlock(sub.mm)
        if isinstance(found, int):
            return found
        with sub.driver_lock:
            if not mmu_interval_read_retry(sub, seq):
                install(sub, page, found)
                return 0


def hmm_range_fault(mm: MmStruct, page: int, *, write: bool) -> Present | int:
    """The entry of `page`, once it permits the access; -EFAULT or -ENOMEM. Needs mmap_lock. No reference is taken.

    Entries are read without their lock: what is seen need not be true any more, which `mmu_interval_read_retry` finds.
    """
    vma = None if mm.ended else vma_lookup(mm, page)
    if vma is None or access_error(vma, write=write):
        return EFAULT
    while True:
        # No reference and no lock: the number that was read before says whether it still holds.
        pmd = pmdp_get(mm, page)
        entry = ptep_get(pmd, page) if isinstance(pmd, PageTable) else pmd
        if isinstance(entry, Present) and entry.bits & PTE_READ and (entry.write or not write):
            if isinstance(pmd, PageTable):
                return entry
            tail = mm.memory.mem_map[entry.pfn + pte_index(mm, page)]
            return Present(tail.pfn, tail.generation, entry.bits)
        error = handle_mm_fault(mm, vma, page, write=write)
        if error:
            return error if error < 0 else EFAULT
