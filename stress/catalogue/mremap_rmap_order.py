"""A walk that must find every entry of a page goes from VMA to VMA in the order of the rmap tree. mremap()
moves entries from one VMA to another meanwhile; if the walk comes to the source first, it meets each entry
there or later at the destination. But where the destination became a part of an older VMA, it may stand before
the source: the walk looks there while it is empty, the entry moves, and the walk looks at the source when that
is empty too.

mremap() knows when that can happen, and takes the locks of rmap for it. For a huge page it did not, up to v3.14: the
split of the page then found it mapped still after it had unmapped it everywhere.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, end, map_pages, page, read_back
from sugarbush.vm.frames import flush_tlb_range, folio_put, pmdp_get, set_pmd
from sugarbush.vm.huge import huge_pmd, huge_split_pmd, is_leaf, maps, split_huge_pmd_locked
from sugarbush.vm.objects import PAGE_SIZE, Folio, Memory, Present, VmArea, folio_try_get
from sugarbush.vm.reclaim import split_huge_page
from sugarbush.vm.syscalls import MADV_HUGEPAGE, MREMAP_FIXED, MREMAP_MAYMOVE, sys_madvise, sys_mremap
from sugarbush.vm.vmas import boot, move

MOVE = MREMAP_MAYMOVE | MREMAP_FIXED
AWAY = 8


@patch(move.move_huge_pmd)
def move_huge_pmd(vma: VmArea, old: int, new: int, _need_rmap_locks: bool) -> bool:
    """The entry moves without the locks of rmap, wherever the destination stands."""
    mm = vma.vm_mm
    with mm.page_table_lock:
        pmd = pmdp_get(mm, old)
        moved = is_leaf(pmd) and pmdp_get(mm, new) is None
        if moved:
            set_pmd(mm, old, None)
            set_pmd(mm, new, pmd)
            huge_pmd.deposit(mm, new, huge_pmd.withdraw(mm, old))
            flush_tlb_range(mm, old, old + mm.pmd_size)
    return moved


@patch(huge_split_pmd.split_huge_pmd)
def split_huge_pmd(vma: VmArea, address: int, *, freeze: bool = False, folio: Folio | None = None) -> None:
    """Where no entry is, the walk of then took no lock."""
    mm = vma.vm_mm
    start = address & -mm.pmd_size
    if not is_leaf(pmdp_get(mm, start)):
        return
    with mm.page_table_lock:
        pmd = pmdp_get(mm, start)
        if is_leaf(pmd) and (folio is None or maps(mm.memory, pmd, folio)):
            split_huge_pmd_locked(vma, start, freeze=freeze)


def split(memory: Memory, folio: Folio) -> None:
    """Split a large folio, as reclaim does."""
    if folio_try_get(folio):
        folio.lock.lock()
        split_huge_page(memory, folio)
        folio.lock.unlock()
        folio_put(memory, folio)


@bug(
    "mremap-rmap-order",
    id="Z06",
    title="a huge page moves against the order in which walks go",
    year=2014,
    versions="v3.7 to v3.14",
    fix="mm, thp: close race between mremap() and split_huge_page()",
    evidence="read",
    kind=Kind.BUG_ON,
    check="unmap-folio",
    patches=(move_huge_pmd, split_huge_pmd),
    tasks=2,
    preemptions=1,
)
def mremap_rmap_order() -> None:
    """Move a huge page back to where it came from while it is split."""
    machine = boot(8)
    process = Process(machine.add_mm("java", BASE))
    map_pages(process, 0, 4)
    sys_madvise(process.mm, page(0), 4 * PAGE_SIZE, MADV_HUGEPAGE)
    process.store(page(0), "below")
    process.store(page(2), "moved")
    assert sys_mremap(
        process.mm, page(2), process.mm.pmd_size, process.mm.pmd_size, MOVE, page(AWAY)
    ) == page(AWAY)
    pmd = process.mm.pmds[page(AWAY) // process.mm.pmd_size]
    assert isinstance(pmd, Present)
    folio = machine.memory.mem_map[pmd.pfn]
    join(
        spawn(sys_mremap, process.mm, page(AWAY), process.mm.pmd_size, process.mm.pmd_size, MOVE, page(2)),
        spawn(split, machine.memory, folio),
    )
    read_back(process)
    end(machine, process)
