"""fork makes the parent's pages read-only, shares them, and flushes the parent's translations once, at the end. That
is right as long as no write fault of the parent comes in between, which mmap_lock saw to. Since v6.4 a fault needs
only the lock of its VMA, and fork did not take those. So a thread of the parent could fault and copy a page that
another thread was still storing to through its old translation; that store was lost when the flush came.

A fault that copies flushes the page that it replaces, as in the kernel. So the store must come while the copy is
being made, which takes a preemption; fork itself may be left where it offers its CPU, with mmap_lock held, after each
page-table page. The fix locks each VMA of the parent before its pages are copied. Nobody measured more than a few per
cent on a machine that does nothing but fork, and a kernel build did not notice.
"""

from __future__ import annotations

from sugarbush.concurrency import Completion, Kind, join, spawn
from sugarbush.stress.catalogue.uffd_wp_copy import populate
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.mappings import fill, map_pages
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.frames import flush_tlb_mm
from sugarbush.vm.objects import ENOMEM, VM_DONTCOPY, MmStruct
from sugarbush.vm.spaces import mmap_write_lock, mmap_write_lock_nested, mmap_write_unlock
from sugarbush.vm.syscalls import dup_vma, fork

PAGES = 4
OTHERS = (16, 20)
"""Where the process has mapped something else, which fork copies between the heap and the flush."""


@patch(fork.dup_mmap)
def dup_mmap(mm: MmStruct, oldmm: MmStruct) -> int:
    """Copy the VMAs and pages of `oldmm`, with mmap_lock and no lock of a VMA."""
    mmap_write_lock(oldmm)
    mmap_write_lock_nested(mm)
    result = ENOMEM if oldmm.ended else 0
    walk = oldmm.mm_mt.cursor()
    while result == 0 and (vma := walk.find()) is not None:
        if not vma.vm_flags & VM_DONTCOPY:
            result = dup_vma(mm, vma)
    mmap_write_unlock(mm)
    flush_tlb_mm(oldmm)
    mmap_write_unlock(oldmm)
    return result


def begin_and_populate(mm: MmStruct, started: Completion) -> None:
    """A thread that says that it is there, and makes the pages writable: MADV_POPULATE_WRITE."""
    started.complete()
    populate(mm, PAGES)


@bug(
    "fork-without-vma-locks",
    id="Z19",
    title="a store is lost to a page that a fault copies in the middle of fork",
    year=2023,
    versions="6.4-rc",
    fix="fb49c455323f: fork: lock VMAs of the parent process when forking",
    evidence="read",
    kind=Kind.CORRUPTION,
    check="private-data",
    patches=(dup_mmap,),
    tasks=3,
    preemptions=1,
    era="6.6",
)
def fork_without_vma_locks() -> None:
    """Fork while one thread stores to pages and another faults on them."""
    machine, process = heap(PAGES, frames=24, era="6.6")
    for number in OTHERS:
        map_pages(process, number, 1)
        fill(process, number)
    forking = spawn(process.fork, machine, "as", name="fork")
    started = Completion("started")
    helper = spawn(begin_and_populate, process.mm, started, name="populate")
    started.wait()
    for number in range(PAGES):
        process.store(page(number), "late")
    join(helper)
    for number in range(PAGES):
        process.load(page(number))
    (child,) = join(forking)
    child.exit(machine)
    process.exit(machine)
