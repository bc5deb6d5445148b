"""Dirty COW. Writing to a read-only private mapping through ptrace or /proc/self/mem breaks the sharing first: a fault
makes a private copy of the page. Since the mapping stays read-only, the entry does too, so the kernel remembered that
the copy had been made by no longer asking for write access when it looked the page up again. A MADV_DONTNEED in
between dropped the copy; the next fault, asked for read access only, mapped the page of the file itself, and the write
went to that. Any user could so write to any file that he could read.

The first repair of 2005 had the same idea and was undone a few days later for other reasons. The fix of 2016 keeps
asking for write access and marks that the copy was made, which counts only while the page is still such a copy.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.pages import HEAP
from sugarbush.vm.access import access_remote_vm, follow_page, gup, handle_mm_fault
from sugarbush.vm.files import fput
from sugarbush.vm.frames import pmdp_get, ptep_get
from sugarbush.vm.objects import (
    EFAULT,
    PAGE_SIZE,
    VM_WRITE,
    AddressSpace,
    Folio,
    MmStruct,
    PageTable,
    Present,
    folio_get,
)
from sugarbush.vm.spaces import vma_lookup
from sugarbush.vm.syscalls import MAP_FIXED, MAP_PRIVATE, PROT_READ, sys_mmap
from sugarbush.vm.vmas import boot


def _follow_read(mm: MmStruct, address: int) -> Folio | None:
    table = pmdp_get(mm, address)
    if not isinstance(table, PageTable):
        return None
    with table.ptl:
        pte = ptep_get(table, address)
        if not isinstance(pte, Present):
            return None
        page = mm.memory.mem_map[pte.pfn]
        folio_get(page)
        return page


@patch(gup.get_user_page)
def get_user_page(mm: MmStruct, address: int, *, force: bool = False, pin: bool = False) -> Folio | int:
    """The page at `address`; once a fault has broken the sharing, write access is asked for no more."""
    vma = vma_lookup(mm, address)
    if vma is None:
        return EFAULT
    write = True
    while True:
        page = follow_page(vma, address, force=False, pin=pin) if write else _follow_read(mm, address)
        if page is not None:
            return page
        error = handle_mm_fault(mm, vma, address, write=write)
        if error:
            return error
        if write and force and not vma.vm_flags & VM_WRITE:
            write = False


@bug(
    "dirty-cow",
    id="Z35",
    title="a write to a private copy goes to the file, after MADV_DONTNEED has dropped the copy",
    year=2016,
    versions="2.6.22 to 4.8",
    cve="CVE-2016-5195",
    fix="19be0eaffa3a: mm: remove gup_flags FOLL_WRITE games from __get_user_pages()",
    evidence="as far as we know",
    kind=Kind.CORRUPTION,
    check="private-data",
    patches=(get_user_page,),
    tasks=2,
    preemptions=1,
)
def dirty_cow() -> None:
    """Write to a read-only private mapping of a file, dropping the copy meanwhile; another process reads the file."""
    machine = boot(6)
    file = AddressSpace("passwd")
    processes = [Process(machine.add_mm(name, HEAP)) for name in ("attacker", "login")]
    for process in processes:
        sys_mmap(process.mm, HEAP, PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_FIXED, file)
    attacker, login = processes
    join(
        spawn(access_remote_vm, attacker.mm, HEAP, "forged", name="writer"),
        spawn(attacker.dontneed, HEAP, 1, name="madvise"),
    )
    login.load(HEAP)
    for process in processes:
        process.exit(machine)
    fput(machine.memory, file)
