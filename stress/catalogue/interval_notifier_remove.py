"""A driver that mirrors a range of an address space is in a list of those who are told of changes. While a change is
under way the list stays as it is, and who wants to leave it is noted down, to be taken out at the end of the change. So
mmu_interval_notifier_remove() waits until the number of the change goes on. It looked at the number without the lock;
but the number goes on first, and the list is put in order after that, under the lock. In between the driver was told
that all was over, and freed what was still in the list. Alistair Popple met it in stress tests of his own.

The fix looks at the number with the lock held.
"""

from __future__ import annotations

from sugarbush.concurrency import READ_ONCE, Kind, join, spawn
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.mirrors import mirror
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.access import device_close
from sugarbush.vm.frames import (
    NotifierSubscriptions,
    mmu_notifier,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
)
from sugarbush.vm.objects import MmStruct
from sugarbush.vm.spaces import mmap_read_lock, mmap_read_unlock


@patch(mmu_notifier.wait_for_invalidations)
def wait_for_invalidations(subs: NotifierSubscriptions, seq: int) -> None:
    """Sleep until the number goes on, whatever is done afterwards by whoever let it go on."""
    subs.wq.wait_event(lambda: READ_ONCE(subs, "invalidate_seq") != seq)


def change(mm: MmStruct) -> None:
    """Some changes of the range: those who mirror it are told of the beginning and of the end of each."""
    mmap_read_lock(mm)
    for _ in range(4):
        mmu_notifier_invalidate_range_start(mm, page(0), page(1))
        mmu_notifier_invalidate_range_end(mm, page(0), page(1))
    mmap_read_unlock(mm)


@bug(
    "interval-notifier-remove",
    id="Z66",
    title="a driver that stops mirroring frees what is still in the list",
    year=2022,
    versions="5.5 to 5.17",
    fix="319561669a59: mm/mmu_notifier.c: fix race in mmu_interval_notifier_remove()",
    evidence="read",
    kind=Kind.USE_AFTER_FREE,
    check="use-after-free",
    patches=(wait_for_invalidations,),
    tasks=2,
    preemptions=3,
)
def interval_notifier_remove() -> None:
    """Devices stop mirroring a range while it is being changed."""
    machine, process = heap(1)
    devices = [mirror(process.mm, page(0), 1) for _ in range(2)]
    join(
        spawn(change, process.mm, name="madvise"),
        *[spawn(device_close, sub, name="driver") for sub in devices],
    )
    process.exit(machine)
