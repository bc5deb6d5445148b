"""userfaultfd can protect pages from stores: a monitor that takes a snapshot is asked before each of them
changes. The protection is a bit of the entry of each small page, and a huge entry has one bit for all. So
khugepaged leaves memory alone that has such pages. It looked for them when it chose what to collapse, under
mmap_lock for reading. Then it gave the lock back to allocate the huge page, and afterwards looked at everything
again, but not at these bits. What the monitor protected in between was collapsed into a huge page that anybody
may store to. Peter Xu noticed it in 2023.

The fix looks at the bit once more when the small pages are isolated, with no fault and no monitor around.
MADV_COLLAPSE goes the same way.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, check, join, spawn
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.pages import HEAP, heap, page
from sugarbush.vm.access import user_load, user_store
from sugarbush.vm.faults import userfaultfd_register, userfaultfd_writeprotect
from sugarbush.vm.huge import khugepaged
from sugarbush.vm.objects import PAGE_SIZE, MmStruct, Present
from sugarbush.vm.syscalls import MADV_COLLAPSE, sys_madvise


@patch(khugepaged.is_protected)
def is_protected(_pte: Present) -> bool:
    """Nobody asks again."""
    return False


def protect(mm: MmStruct) -> None:
    """The monitor protects the page before it takes its snapshot."""
    userfaultfd_writeprotect(mm, page(0), page(1), protect=True)


@bug(
    "khugepaged-uffd-wp",
    id="Z78",
    title="a page that userfaultfd protects becomes a part of a huge page that is writable",
    year=2023,
    versions="5.7 to 6.2",
    fix="dd47ac428c3f: mm/khugepaged: check again on anon uffd-wp during isolation",
    evidence="as far as we know",
    kind=Kind.CHECK,
    patches=(is_protected,),
    tasks=2,
    preemptions=2,
)
def khugepaged_uffd_wp() -> None:
    """Have a heap collapsed while a monitor protects a page of it, which it then copies, beside a store to it."""
    machine, process = heap(2)
    mm = process.mm
    userfaultfd_register(mm, HEAP)
    join(
        spawn(sys_madvise, mm, HEAP, 2 * PAGE_SIZE, MADV_COLLAPSE, name="collapse"),
        spawn(protect, mm, name="monitor"),
    )
    store = spawn(user_store, mm, page(0), "late", name="cc1")
    copied = user_load(mm, page(0))
    check(copied == "cc1:0", f"a page that is protected does not change, and it is {copied!r}")
    userfaultfd_writeprotect(mm, page(0), page(1), protect=False)
    join(store)
    process.exit(machine)
