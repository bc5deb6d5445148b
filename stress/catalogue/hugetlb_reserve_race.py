"""Which huge pages of a file are reserved stands in a map of the file, how many of the pool are in a counter.
Both mmap() and a fault looked at the map first, to see by how much the counter would have to change, changed
it, and entered their pages into the map last: between the two there was no lock. So two of them could count one
page. Then HugePages_Rsvd stayed too high for ever, and a page that nobody was promised could not be had. Mike
Kravetz found it while he prepared fallocate() for hugetlbfs in 2015.

The fix compares the number of pages that came into the map with the one that was expected. If it is smaller
somebody else was faster, and what was counted too much is given back.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, check, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.pages import HEAP
from sugarbush.vm.files import HugetlbFile, fput
from sugarbush.vm.huge import (
    hugetlb_acct_memory,
    hugetlb_report_meminfo,
    hugetlb_reserve,
    region_add,
    region_chg,
)
from sugarbush.vm.objects import PAGE_SIZE, VM_NORESERVE, VM_SHARED, VmArea
from sugarbush.vm.syscalls import MAP_FIXED, MAP_NORESERVE, MAP_SHARED, PROT_READ, PROT_WRITE, sys_mmap
from sugarbush.vm.vmas import boot

RIGHTS = PROT_READ | PROT_WRITE


@patch(hugetlb_reserve.adjust_for_reservation_race)
def adjust_for_reservation_race(_file: HugetlbFile) -> None:
    """A fault does not look at what came into the map."""


@patch(hugetlb_reserve.hugetlb_reserve_pages)
def hugetlb_reserve_pages(file: HugetlbFile, first: int, end: int, vma: VmArea) -> bool:
    """Reserve the pages of the file; what came into the map is what was missing in it before, as far as we
    know.
    """
    if vma.vm_flags & VM_NORESERVE or not vma.vm_flags & VM_SHARED:
        return bool(hugetlb_reserve_pages.original(file, first, end, vma))
    if not hugetlb_acct_memory(file, region_chg(file.resv_map, first, end)):
        return False
    region_add(file.resv_map, first, end)
    return True


@bug(
    "hugetlb-reserve-race",
    id="Z76",
    title="mmap and a fault both count the reservation of one huge page",
    year=2015,
    versions="2.6.24 (or before) to 4.1",
    fix="33039678c8da: mm/hugetlb: handle races in alloc_huge_page and hugetlb_reserve_pages",
    evidence="as far as we know",
    kind=Kind.CHECK,
    patches=(adjust_for_reservation_race, hugetlb_reserve_pages),
    tasks=2,
    preemptions=1,
)
def hugetlb_reserve_race() -> None:
    """Map a file while another process, whose mapping has no reservations, uses the first page of it."""
    machine = boot(4)
    file = HugetlbFile("pool", 2)
    first, second = (Process(machine.add_mm(name, HEAP)) for name in ("postgres", "worker"))
    sys_mmap(first.mm, HEAP, PAGE_SIZE, RIGHTS, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, file)
    join(
        spawn(first.store, HEAP, "row", name="postgres"),
        spawn(sys_mmap, second.mm, HEAP, PAGE_SIZE, RIGHTS, MAP_SHARED | MAP_FIXED, file, name="worker"),
    )
    for process in (first, second):
        process.exit(machine)
    fput(machine.memory, file)
    free, reserved = hugetlb_report_meminfo(file)
    check(
        (free, reserved) == (2, 0),
        f"HugePages_Free is {free}, HugePages_Rsvd {reserved}: nobody has any of 2",
    )
