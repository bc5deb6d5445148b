"""A fault that meets the migration entry of a huge page waits until the page has been moved. To do so it remembers the
page, drops the lock of the upper entry, and sleeps on the page's lock. In between nothing keeps the page: whoever
moves it sees no reference but its own, finishes, and frees the page, so the fault sleeps on a page that is nobody's,
or that belongs to somebody else by now.

The fix takes a reference before the lock is dropped. Migration counts it, finds that somebody else has the page, and
puts everything back; the fault goes on then.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.pages import heap, migrate_huge, page
from sugarbush.vm.frames import pfn_swap_entry_to_page, pmdp_get
from sugarbush.vm.huge import huge_fault
from sugarbush.vm.objects import Migration, MmStruct, folio_wait_locked


@patch(huge_fault.pmd_migration_entry_wait)
def pmd_migration_entry_wait(mm: MmStruct, address: int) -> None:
    """Sleep on the page of the entry, without a reference."""
    with mm.page_table_lock:
        pmd = pmdp_get(mm, address)
        folio = pfn_swap_entry_to_page(mm.memory, pmd) if isinstance(pmd, Migration) else None
    if folio is not None:
        folio_wait_locked(folio)


@bug(
    "pmd-migration-wait",
    id="Z47",
    title="a fault waits on a huge page that nothing keeps",
    year=2017,
    versions="before 4.12",
    fix="3c226c637b69: take a reference before waiting on the page of a migrating huge entry",
    evidence="read",
    kind=Kind.BUG_ON,
    check="refcount",
    patches=(pmd_migration_entry_wait,),
    tasks=2,
    preemptions=1,
)
def pmd_migration_wait() -> None:
    """Store to a huge page while it is being moved."""
    machine, process = heap(2, huge=True)
    join(
        spawn(process.store, page(0), "late", name="cc1"),
        spawn(migrate_huge, machine.memory, machine.memory.mem_map[0], name="migrate"),
    )
    process.load(page(0))
    process.load(page(1))
    process.exit(machine)
