"""A writer of mmap_lock unlocks all the VMAs that it has locked at once, by letting the number mm_lock_seq go on. When
faults began to take the locks of VMAs, in v6.4, that was a plain increment, and the readers' look at the number was a
plain read. So the processor might make the new number known before the stores that it stands for: a fault found the
VMA unlocked, and what it read in it was of before the change.

Jann Horn found it by reading; on x86 only the compiler could have done it. Since v6.5 the number is stored with release
and loaded with acquire semantics. The patch takes the release away, which is one half of it. It needs weak memory:
under sequential consistency nothing is wrong.
"""

from __future__ import annotations

from contextlib import suppress

from sugarbush.concurrency import READ_ONCE, WRITE_ONCE, Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, READ, end, fill, map_pages, page, read_back
from sugarbush.vm.access import Killed
from sugarbush.vm.objects import PAGE_SIZE, MmStruct
from sugarbush.vm.spaces import PerVmaLocks, vma_lock
from sugarbush.vm.syscalls import sys_mprotect
from sugarbush.vm.vmas import boot


@patch(vma_lock.PerVmaLocks.end_write_all)
def end_write_all(_locks: PerVmaLocks, mm: MmStruct) -> None:
    """The number goes on by a store without an order."""
    mm.mmap_lock.assert_held_write()
    WRITE_ONCE(mm, "mm_lock_seq", READ_ONCE(mm, "mm_lock_seq") + 1)


def store(process: Process) -> None:
    """Write to a fresh page, unless that is not permitted any more."""
    with suppress(Killed):
        process.store(page(1), "new")


@bug(
    "mm-lock-seq-order",
    id="Z23",
    title="the VMAs are unlocked before what was changed in them is visible",
    year=2023,
    versions="v6.4",
    fix="mm: fix memory ordering for mm_lock_seq and vm_lock_seq",
    evidence="as far as we know",
    kind=Kind.INVARIANT,
    check="rights",
    patches=(end_write_all,),
    tasks=2,
    preemptions=1,
    era="6.6",
    memory="weak",
)
def mm_lock_seq_order() -> None:
    """Forbid writing to a mapping while another thread writes to a fresh page of it; then unmap a part."""
    machine = boot(6, "6.6")
    process = Process(machine.add_mm("java", BASE))
    map_pages(process, 0, 2)
    fill(process, 0)
    process.dontneed(page(0), 1)
    join(spawn(sys_mprotect, process.mm, BASE, 2 * PAGE_SIZE, READ), spawn(store, process))
    process.munmap(page(0), 1)
    read_back(process)
    end(machine, process)
