"""When brk() was made to shrink the heap under a downgraded mmap_lock, in v4.20, the new end of the heap had to be
stored before the downgrade, and put back if the unmapping failed. A comment in the code says so. This is what happens
without: the store is done under the lock for reading, beside others who read the end of the heap under the same lock
(/proc, prctl()) and who may store it too.

As far as we know no release had this bug; the comment tells that somebody thought of it. Whoever gets the lock after
the downgrade finds the heap cut off and its end unmoved. With that check off, the race detector sees the store and a
read that nothing orders.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, end, page, read_back
from sugarbush.vm.objects import EINVAL, MmStruct
from sugarbush.vm.spaces import mmap_read_lock, mmap_read_unlock, vma_find
from sugarbush.vm.syscalls import brk
from sugarbush.vm.vmas import boot


@patch(brk.shrink_brk)
def shrink_brk(mm: MmStruct, brk_: int, newbrk: int, oldbrk: int) -> int:
    """The end of the heap is stored when everything else is done."""
    vma = vma_find(mm, newbrk, oldbrk)
    if vma is None:
        return EINVAL
    result = brk.do_brk_munmap(mm, vma, newbrk, oldbrk)
    if result >= 0:
        mm.brk = brk_
    return result


def show_stat(mm: MmStruct) -> int:
    """What /proc/PID/stat says of the end of the heap."""
    mmap_read_lock(mm)
    end_of_heap = mm.brk
    mmap_read_unlock(mm)
    return end_of_heap


@bug(
    "brk-after-downgrade",
    id="Z12",
    title="brk stores the end of the heap under mmap_lock for reading",
    year=2018,
    versions="none: a hazard that the code warns of",
    fix="mm: brk: downgrade mmap_sem to read when shrinking: mm->brk is stored before the downgrade",
    evidence="as far as we know",
    kind=Kind.INVARIANT,
    check="brk",
    patches=(shrink_brk,),
    tasks=2,
    preemptions=1,
)
def brk_after_downgrade() -> None:
    """Trim a heap while somebody looks at where it ends."""
    machine = boot(6)
    process = Process(machine.add_mm("cc1", BASE))
    process.brk(page(3))
    process.store(page(0), "kept")
    process.store(page(2), "cut off")
    join(spawn(process.brk, page(1)), spawn(show_stat, process.mm))
    read_back(process)
    end(machine, process)
