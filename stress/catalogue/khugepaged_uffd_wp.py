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

from concurrency import Kind, check, join, spawn
from stress.bug import bug
from stress.patch import patch
from stress.workloads.pages import HEAP, heap, page
from vm import khugepaged
from vm.layout import PAGE_SIZE
from vm.madvise import sys_madvise
from vm.mm import MmStruct
from vm.mman import MADV_COLLAPSE
from vm.pgtable import Present
from vm.uffd import userfaultfd_register, userfaultfd_writeprotect
from vm.user import user_load, user_store


@patch(khugepaged.is_protected)
def is_protected(_pte: Present) -> bool:
    """Nobody asks again."""
    return False


def snapshot(mm: MmStruct) -> None:
    """Protect the page, copy it, and let it go; it must be the same for all of that time."""
    userfaultfd_writeprotect(mm, page(0), page(1), protect=True)
    copied = user_load(mm, page(0))
    again = user_load(mm, page(0))
    check(again == copied, f"a page that is protected does not change: {copied!r}, then {again!r}")
    userfaultfd_writeprotect(mm, page(0), page(1), protect=False)


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
    tasks=3,
    preemptions=2,
)
def khugepaged_uffd_wp() -> None:
    """Take a snapshot of a page that one thread stores to, while another has the heap collapsed."""
    machine, process = heap(2)
    userfaultfd_register(process.mm, HEAP)
    join(
        spawn(sys_madvise, process.mm, HEAP, 2 * PAGE_SIZE, MADV_COLLAPSE, name="collapse"),
        spawn(snapshot, process.mm, name="monitor"),
        spawn(user_store, process.mm, page(0), "late", name="cc1"),
    )
    process.exit(machine)
