"""To move a range of a process into the memory of a device, the kernel takes the entries out of the page table: that an
entry is dirty means that its page has to be written before it may be dropped. migrate_vma took the entry out and forgot
that bit. A page that stayed where it was then looked clean, though it had been stored to. If a copy of it was still in
the swap area, from before the store, reclaim dropped the page without writing it, and the copy came back: the store was
lost. Peter Xu and Huang Ying worked this out over another patch to the same function in August 2022.

The fix hands the bit on to the page, as every other place does that clears an entry. The model keeps the bit in the
migration entry, as since v6.1; the kernels before could not.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn, trace
from sugarbush.stress.catalogue.migrate_vma_flush import migrate_range
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.frames import folio_put, make_migration_entry, ptep_get, ptep_get_and_clear, set_pte
from sugarbush.vm.objects import (
    PAGE_SIZE,
    PTE_DIRTY,
    PTE_SWP_EXCLUSIVE,
    Folio,
    PageTable,
    Present,
    VmArea,
    folio_get,
    folio_maybe_dma_pinned,
    folio_test_anon,
)
from sugarbush.vm.reclaim import kswapd, migrate_device
from sugarbush.vm.reverse import folio_remove_rmap


@patch(migrate_device.collect_entries)
def collect_entries(vma: VmArea, table: PageTable, start: int, end: int, pages: list[Folio]) -> int:
    """Turn the entries into migration entries; whether they were dirty nobody remembers."""
    memory = vma.vm_mm.memory
    unmapped = 0
    for address in range(start, end, PAGE_SIZE):
        pte = ptep_get(table, address)
        found = memory.mem_map[pte.pfn] if isinstance(pte, Present) else None
        if found is None or found.head.order or not folio_test_anon(found) or not found.anon_exclusive:
            continue
        if folio_maybe_dma_pinned(found) or not found.lock.trylock():
            continue
        folio_get(found)
        pte = ptep_get_and_clear(table, address)
        assert isinstance(pte, Present)
        found.anon_exclusive = False
        set_pte(table, address, make_migration_entry(found, pte.bits & ~PTE_DIRTY | PTE_SWP_EXCLUSIVE))
        folio_remove_rmap(found)
        folio_put(memory, found)
        pages.append(found)
        unmapped += 1
        trace("migrate_vma_collect", mm=vma.vm_mm.name, addr=hex(address), page=found.name)
    return unmapped


@bug(
    "migrate-vma-dirty",
    id="Z61",
    title="migrate_vma forgets that a page is dirty, and reclaim drops it",
    year=2022,
    versions="4.14 to 6.0",
    fix="fd35ca3d12cc: mm/migrate_device.c: copy pte dirty bit to page",
    evidence="read",
    kind=Kind.CORRUPTION,
    check="private-data",
    patches=(collect_entries,),
    tasks=3,
    preemptions=0,
)
def migrate_vma_dirty() -> None:
    """A page comes back from swap and is stored to; a driver collects it; memory is short again."""
    machine, process = heap(1, slots=4)
    kswapd(machine.memory, 1)
    process.load(page(0))
    driver = spawn(migrate_range, process.mm, name="driver")
    reclaim = spawn(kswapd, machine.memory, 1, name="kswapd")
    process.store(page(0), "new")
    join(driver, reclaim)
    process.load(page(0))
    process.exit(machine)
