"""Processes that map the same gigabyte of a file in hugetlbfs share the page-table page that maps it. Who leaves it
has it no longer, but get_user_pages_fast() may have found it just before: that walks page tables with nothing but
interrupts off. For the last one who is left the table is one of his own from then on. He may unmap a part of the
file and map something private there, and the walk of the other process goes on, and pins his page. Jann Horn found
it; he knew of no way to corrupt memory with it, "but it is really weird".

The fix sends an interrupt to all who walk page tables, and waits, before the table is left. In the kernel the shared
table is one level higher than here, where the walk looks at the entry of the page again, but not at what led to it;
so that look is taken out of the walk as well. In the fixed form it is there, and makes no difference.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, atomic_add_return, check, join, spawn, trace
from sugarbush.concurrency.lowlevel import perform
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.pages import HEAP, page
from sugarbush.vm.access import gup, lockless_page_from_mm
from sugarbush.vm.files import HugetlbFile, fput, hstate_file
from sugarbush.vm.frames import folio_put, pmdp_get, ptep_get, set_pmd
from sugarbush.vm.huge import PTS_ADD, hugetlb_share, ptdesc_pmd_pts_count
from sugarbush.vm.objects import PAGE_SIZE, Folio, MmStruct, PageTable, Present, VmArea, folio_try_get
from sugarbush.vm.syscalls import (
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_PRIVATE,
    MAP_SHARED,
    PROT_READ,
    PROT_WRITE,
    sys_mmap,
)
from sugarbush.vm.vmas import boot, do_munmap

RIGHTS = PROT_READ | PROT_WRITE


@patch(hugetlb_share.huge_pmd_unshare)
def huge_pmd_unshare(vma: VmArea, address: int) -> bool:
    """Leave the page-table page to the others, whoever is still walking it."""
    hstate_file(vma).i_mmap_rwsem.assert_held_write()
    mm = vma.vm_mm
    with mm.page_table_lock:
        table = pmdp_get(mm, address)
        if not isinstance(table, PageTable) or not ptdesc_pmd_pts_count(table):
            return False
        set_pmd(mm, address, None)
        perform(PTS_ADD, table, -1)
    trace("huge_pmd_unshare", mm=mm.name, addr=hex(address))
    return True


@patch(gup.gup_pte_range)
def gup_pte_range(mm: MmStruct, address: int) -> Folio | None:
    """Pin the page that a writable entry names, if the entry is the same afterwards. Interrupts must be off."""
    table = pmdp_get(mm, address)
    pte = ptep_get(table, address) if isinstance(table, PageTable) else None
    if not isinstance(pte, Present) or not pte.write:
        return None
    assert isinstance(table, PageTable)
    found = mm.memory.mem_map[pte.pfn]
    if not folio_try_get(found.head):
        return None
    atomic_add_return(found.head, "pincount", 1)
    again = ptep_get(table, address)
    if not isinstance(again, Present) or again.pfn != pte.pfn or not again.write:
        atomic_add_return(found.head, "pincount", -1)
        folio_put(mm.memory, found)
        return None
    trace("gup_fast", mm=mm.name, addr=hex(address), page=found.name)
    return found


def pin(mm: MmStruct) -> None:
    """A device pins the first page of the mapping, if it can be pinned without locks, and looks at it."""
    found = lockless_page_from_mm(mm, HEAP)
    if found is not None:
        token = found.token
        atomic_add_return(found.head, "pincount", -1)
        folio_put(mm.memory, found)
        check(token == "row", f"a page of the file was pinned, not one with {token!r}")


def leave_and_use(first: Process, second: Process) -> None:
    """One process unmaps the file; the other unmaps the first page of it, and maps a page of its own there."""
    do_munmap(first.mm, HEAP, first.mm.pmd_size)
    do_munmap(second.mm, HEAP, PAGE_SIZE)
    sys_mmap(second.mm, HEAP, PAGE_SIZE, RIGHTS, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)
    second.store(HEAP, "a key")


@bug(
    "hugetlb-unshare-gup",
    id="Z62",
    title="GUP-fast walks a shared page table that its process has left, and pins a page of another one",
    year=2025,
    versions="2.6.20 to 6.15, and stable kernels",
    cve="CVE-2025-38085",
    fix="1013af4f585f: mm/hugetlb: fix huge_pmd_unshare() vs GUP-fast race",
    evidence="read",
    kind=Kind.CHECK,
    patches=(huge_pmd_unshare, gup_pte_range),
    tasks=2,
    preemptions=1,
)
def hugetlb_unshare_gup() -> None:
    """Pin a page of a file while the process unmaps it, and another one that shares the page table goes on."""
    machine = boot(6)
    file = HugetlbFile("pool", 2)
    first, second = (Process(machine.add_mm(name, HEAP)) for name in ("postgres", "worker"))
    for process in (first, second):
        sys_mmap(process.mm, HEAP, process.mm.pmd_size, RIGHTS, MAP_SHARED | MAP_FIXED, file)
        process.store(HEAP, "row")
        process.store(page(1), "row")
    join(
        spawn(pin, first.mm, name="device"),
        spawn(leave_and_use, first, second, name="worker"),
    )
    for process in (first, second):
        process.exit(machine)
    fput(machine.memory, file)
