"""To map a file by huge pages, khugepaged frees the page-table pages of those who map it. A mapping with private copies
must be left alone; whether there are any is asked by looking for an anon_vma, before mmap_lock is tried. A fault in
between gave the mapping an anon_vma and a private copy in that page-table page. It was freed with the copy in it,
while walks by way of the anon_vma could still come to it. Found by Jann Horn.

The fix asks again once mmap_lock is held. A companion takes the rmap locks for the retraction, too.
"""

from __future__ import annotations

from sugarbush.concurrency import READ_ONCE, Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.pages import HEAP
from sugarbush.vm.files import fput, i_mmap_lock_read, i_mmap_unlock_read, vma_interval_tree_foreach
from sugarbush.vm.huge import collapse_and_free_pmd, khugepaged
from sugarbush.vm.objects import PAGE_SHIFT, AddressSpace
from sugarbush.vm.spaces import mmap_write_unlock, vma_address
from sugarbush.vm.syscalls import MAP_FIXED, MAP_PRIVATE, PROT_READ, PROT_WRITE, sys_mmap
from sugarbush.vm.vmas import boot


@patch(khugepaged.retract_page_tables)
def retract_page_tables_once(mapping: AddressSpace, index: int) -> int:
    """Free the page-table pages of those who map the file; for private copies is looked only before the lock."""
    freed = 0
    i_mmap_lock_read(mapping)
    for vma in vma_interval_tree_foreach(mapping, index, index):
        if READ_ONCE(vma, "anon_vma") is not None:
            continue
        mm, address = vma.vm_mm, vma_address(vma, index)
        if address is None or address % mm.pmd_size or vma.vm_end < address + mm.pmd_size:
            continue
        if mm.mmap_lock.down_write_trylock():
            freed += collapse_and_free_pmd(mm, address)
            mmap_write_unlock(mm)
    i_mmap_unlock_read(mapping)
    return freed


@bug(
    "khugepaged-anon-vma",
    id="Z27",
    title="khugepaged frees a page-table page that has got a private copy meanwhile",
    year=2023,
    versions="before 6.2",
    fix="023f47a8250c: mm/khugepaged: fix ->anon_vma race",
    evidence="as far as we know",
    kind=Kind.BUG_ON,
    check="page-tables",
    patches=(retract_page_tables_once,),
    tasks=2,
    preemptions=1,
)
def khugepaged_anon_vma() -> None:
    """Store to a private file mapping while its page-table page is retracted."""
    machine = boot(6)
    file = AddressSpace("lib.so")
    process = Process(machine.add_mm("cc1", HEAP))
    sys_mmap(process.mm, HEAP, process.mm.pmd_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file)
    process.load(HEAP)
    process.dontneed(HEAP, process.mm.pmd_size >> PAGE_SHIFT)
    join(
        spawn(lambda: khugepaged.retract_page_tables(file, 0), name="khugepaged"),
        spawn(process.store, HEAP, "private", name="cc1"),
    )
    process.load(HEAP)
    process.exit(machine)
    fput(machine.memory, file)
