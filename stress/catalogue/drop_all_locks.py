"""The first one who mirrors an address space takes all of its locks for a moment, so that nobody is in the middle of
a change. Since v6.4 that includes the locks of all VMAs. They have no unlocking of their own: a VMA that is locked
stays so until mmap_lock is given back. But mm_drop_all_locks() let go of them all, with mmap_lock still held by its
caller. If that one had locked a VMA before, and relied on it, faults came in again. Jann Horn found it by reading:
the only caller that he could think of, a mapping of SGX memory that is cut in the middle of an munmap(), "luckily"
cannot come there.

So no kernel has crashed by this; the workload is a driver as it might have been written. The fix takes the call away,
and says in a comment who may make it.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, check, join, spawn
from sugarbush.concurrency.lowlevel import domain
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.access import user_load
from sugarbush.vm.frames import pte_offset_map, ptep_get
from sugarbush.vm.objects import PAGE_SIZE, MmStruct
from sugarbush.vm.reverse import AllLocks, all_locks, mmu_notifier_register_locked
from sugarbush.vm.spaces import mmap_write_lock, mmap_write_unlock, vma_lookup, vma_start_write
from sugarbush.vm.vmas import zap_page_range


@patch(all_locks.mm_drop_all_locks)
def mm_drop_all_locks(mm: MmStruct) -> None:
    """Give back the rmap locks, and let go of all VMAs."""
    locks = domain(AllLocks)
    while locks.held:
        locks.held.pop().up_write()
    mm.era.vma_locks.end_write_all(mm)
    locks.mutex.unlock()


def take_over(mm: MmStruct) -> None:
    """A driver takes a range over: nobody may fault in it while it is emptied and the device is registered."""
    mmap_write_lock(mm)
    vma = vma_lookup(mm, page(0))
    assert vma is not None
    vma_start_write(vma)
    mmu_notifier_register_locked(mm)
    zap_page_range(vma, page(0), page(0) + PAGE_SIZE)
    table = pte_offset_map(mm, page(0))
    check(table is None or ptep_get(table, page(0)) is None, "nobody faults in a VMA that is locked")
    mmap_write_unlock(mm)


@bug(
    "drop-all-locks",
    id="Z68",
    title="registering a notifier unlocks the VMAs that its caller has locked",
    year=2023,
    versions="6.4 and 6.5",
    fix="mm: don't drop VMA locks in mm_drop_all_locks() (20230720193436.454247-1-jannh@google.com)",
    evidence="read",
    kind=Kind.CHECK,
    patches=(mm_drop_all_locks,),
    tasks=2,
    preemptions=1,
    era="6.6",
)
def drop_all_locks() -> None:
    """A driver takes a range over while a thread of the process reads there."""
    machine, process = heap(1, era="6.6")
    join(
        spawn(take_over, process.mm, name="driver"),
        spawn(user_load, process.mm, page(0), name="java"),
    )
    process.exit(machine)
