"""A large folio of which a part was unmapped is split later, by a scan that walks all places where it may be mapped. At
one of them another huge page has been mapped since, and is being moved at this moment: the upper entry is a migration
entry. The walk compared the folio of that entry with its own, and took the bits of the migration entry for the
address of a page.

The fix looks first whether the entry is a migration entry, which cannot be of the folio that is being split, since
that is locked. As far as we know the crash was met in 2025 with several huge pages migrating at once.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.pages import heap, migrate_huge, page
from sugarbush.vm.huge import huge_pmd, pmd_folio
from sugarbush.vm.objects import PAGE_SIZE, Folio, Memory, Pmd
from sugarbush.vm.reclaim import deferred_split_folio, deferred_split_scan
from sugarbush.vm.syscalls import MADV_HUGEPAGE, sys_madvise


@patch(huge_pmd.maps)
def maps(memory: Memory, pmd: Pmd, folio: Folio) -> bool:
    """The upper entry maps this folio; what kind of entry it is is not asked."""
    return pmd_folio(memory, pmd) is folio


@bug(
    "pmd-migration-split",
    id="Z48",
    title="a split takes the migration entry of another huge page for a page",
    year=2025,
    versions="before 6.15",
    fix="be6e843fc51a: mm/huge_memory: fix dereferencing invalid pmd migration entry",
    evidence="as far as we know",
    kind=Kind.BUG_ON,
    check="pmd-present",
    patches=(maps,),
    tasks=2,
    preemptions=1,
)
def pmd_migration_split() -> None:
    """Split the huge page that only the child still maps, while the parent's new one is being moved."""
    machine, process = heap(4, frames=12, huge=True)
    memory = machine.memory
    old = memory.mem_map[2]
    child = process.fork(machine, "as")
    assert child is not None
    process.brk(page(2))
    process.brk(page(4))
    sys_madvise(process.mm, page(2), 2 * PAGE_SIZE, MADV_HUGEPAGE)
    process.store(page(2), "new")
    deferred_split_folio(memory, old)
    join(
        spawn(deferred_split_scan, memory, name="shrinker"),
        spawn(migrate_huge, memory, memory.mem_map[4], name="migrate"),
    )
    process.load(page(2))
    child.load(page(2))
    child.exit(machine)
    process.exit(machine)
