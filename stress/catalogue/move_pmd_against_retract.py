"""mremap moves a whole page-table page by its upper entry if it can. It read that entry first, without a lock, decided
by what it saw, and took the rmap locks only afterwards. Another process that maps the same file could make khugepaged
retract the page-table page in between, which since v6.6 needs no mmap_lock of the owner. mremap then took the empty
entry out, and put it back at the new place as if it named a page-table page.

Found by Jann Horn in 2024. The fix reads the entry again under the locks.
"""

from __future__ import annotations

from sugarbush.concurrency import READ_ONCE, Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.pages import HEAP
from sugarbush.vm.files import fput, i_mmap_lock_read, i_mmap_unlock_read, vma_interval_tree_foreach
from sugarbush.vm.frames import flush_tlb_range, pmd_page_table, pmdp_get, set_pmd
from sugarbush.vm.huge import collapse_and_free_pmd, khugepaged
from sugarbush.vm.objects import PAGE_SHIFT, AddressSpace, PageTable, VmArea
from sugarbush.vm.spaces import vma_address
from sugarbush.vm.syscalls import MAP_FIXED, MAP_SHARED, PROT_READ, sys_mmap
from sugarbush.vm.vmas import boot, drop_rmap_locks, move, take_rmap_locks


@patch(khugepaged.retract_page_tables)
def retract_page_tables(mapping: AddressSpace, index: int) -> int:
    """Free the page-table pages of those who map the file, as since v6.6: with the rmap locks, without mmap_lock."""
    freed = 0
    i_mmap_lock_read(mapping)
    for vma in vma_interval_tree_foreach(mapping, index, index):
        mm, address = vma.vm_mm, vma_address(vma, index)
        if address is None or READ_ONCE(vma, "anon_vma") is not None or vma.vm_end < address + mm.pmd_size:
            continue
        if isinstance(pmdp_get(mm, address), PageTable):
            freed += collapse_and_free_pmd(mm, address)
    i_mmap_unlock_read(mapping)
    return freed


@patch(move.move_normal_pmd)
def move_normal_pmd(vma: VmArea, old: int, new: int) -> bool:
    """Move a whole page-table page by its upper entry; the caller has seen that there is one."""
    mm = vma.vm_mm
    if pmdp_get(mm, new) is not None:
        return False
    take_rmap_locks(vma)
    with mm.page_table_lock:
        pmd = pmdp_get(mm, old)
        set_pmd(mm, old, None)
        set_pmd(mm, new, pmd_page_table(pmd))
        flush_tlb_range(mm, old, old + mm.pmd_size)
    drop_rmap_locks(vma)
    return True


@bug(
    "move-pmd-against-retract",
    id="Z26",
    title="mremap moves a page-table page that another process has had retracted",
    year=2024,
    versions="6.6 to 6.11",
    cve="CVE-2024-50066",
    fix="mm/mremap: fix move_normal_pmd/retract_page_tables race",
    evidence="as far as we know",
    kind=Kind.BUG_ON,
    check="bad-pmd",
    patches=(retract_page_tables, move_normal_pmd),
    tasks=2,
    preemptions=1,
)
def move_pmd_against_retract() -> None:
    """Move a mapping of a file while its page-table page is retracted."""
    machine = boot(6)
    file = AddressSpace("lib.so")
    process = Process(machine.add_mm("cc1", HEAP))
    sys_mmap(process.mm, HEAP, process.mm.pmd_size, PROT_READ, MAP_SHARED | MAP_FIXED, file)
    process.load(HEAP)
    pages = process.mm.pmd_size >> PAGE_SHIFT
    process.dontneed(HEAP, pages)
    join(
        spawn(process.mremap, HEAP, pages, HEAP + 4 * process.mm.pmd_size, name="cc1"),
        spawn(lambda: khugepaged.retract_page_tables(file, 0), name="khugepaged"),
    )
    process.load(HEAP + 4 * process.mm.pmd_size)
    process.exit(machine)
    fput(machine.memory, file)
