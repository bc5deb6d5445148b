"""Processes that map the same gigabyte of a file in hugetlbfs share the page-table page that maps it. That is
possible only where a VMA covers the whole gigabyte. But a VMA that was cut inside of it, by mprotect() or by
userfaultfd, kept the page-table page: it then lay across the border of two VMAs, and whoever wanted to leave it
looked for whole gigabytes in his VMA, and found none. So protecting one half against stores changed the entries of
the other processes, too, or warned and changed nothing. James Houghton met the warning when he tested userfaultfd.

The fix leaves the shared page before a cut that lies inside of it. It was done too early, and that became a bug of
its own ([hugetlb-unshare-early](hugetlb-unshare-early.md)). Its text names 5.13, the notes of the later fix say that
it should go all the way back.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, check, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.pages import HEAP
from sugarbush.vm.access import user_load
from sugarbush.vm.files import HugetlbFile, fput
from sugarbush.vm.huge import hugetlb_share
from sugarbush.vm.objects import PAGE_SIZE, VmArea
from sugarbush.vm.syscalls import MAP_FIXED, MAP_SHARED, PROT_READ, PROT_WRITE, sys_mmap, sys_mprotect
from sugarbush.vm.vmas import boot


@patch(hugetlb_share.hugetlb_split)
def hugetlb_split(_vma: VmArea, _address: int) -> None:
    """A shared page-table page is left when a VMA goes or changes as a whole, not when it is cut."""


@bug(
    "hugetlb-split-shared",
    id="Z64",
    title="a mapping of huge pages is cut inside a page table that other processes share",
    year=2023,
    versions="5.13 (or before) to 6.1",
    fix="b30c14cd6102: hugetlb: unshare some PMDs when splitting VMAs",
    evidence="read",
    kind=Kind.INVARIANT,
    check="shared-in-vma",
    patches=(hugetlb_split,),
    tasks=2,
    preemptions=0,
)
def hugetlb_split_shared() -> None:
    """Make one page of a mapping of huge pages read-only while another process uses its own mapping of them."""
    machine = boot(4)
    file = HugetlbFile("pool", 2)
    first, second = (Process(machine.add_mm(name, HEAP)) for name in ("postgres", "worker"))
    for process in (first, second):
        sys_mmap(process.mm, HEAP, process.mm.pmd_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file)
    first.store(HEAP, "row")
    join(
        spawn(sys_mprotect, first.mm, HEAP, PAGE_SIZE, PROT_READ, name="postgres"),
        spawn(user_load, second.mm, HEAP, name="worker"),
    )
    first.load(HEAP)
    check(user_load(second.mm, HEAP) == "row", "the file has what was written to it")
    for process in (first, second):
        process.exit(machine)
    fput(machine.memory, file)
