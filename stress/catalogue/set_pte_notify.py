"""When a write fault copies a page, the new page is put into the page table, and a guest that mirrors the old one
gets the new one as well. The two were done in this order: first the process had the new page, then the guest lost the
old one. In between another thread of the process stores to the new page, and the guest reads from the old one, what
was there before: memory is not the same for both. Xiao Guangrong found it in 2012.

The fix let the guest have the new page first. Today nobody is given a page in advance: an invalidation begins before
the entry changes and ends after it, and in between a guest that wants the page waits.
"""

from __future__ import annotations

from sugarbush.concurrency import READ_ONCE, Kind, check, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mirrors import mirror
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.access import device_close, device_load, handle_user_fault
from sugarbush.vm.faults import cow
from sugarbush.vm.frames import (
    MmuIntervalNotifier,
    alloc_folio,
    folio_put,
    free_page_and_swap_cache,
    maybe_mkwrite,
    mk_pte,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
    ptep_clear_flush,
    ptep_get,
    set_pte,
)
from sugarbush.vm.objects import (
    ENOMEM,
    PAGE_SIZE,
    PTE_DIRTY,
    PTE_YOUNG,
    Folio,
    MmStruct,
    PageTable,
    Present,
    VmArea,
)
from sugarbush.vm.reverse import anon_vma_prepare, folio_add_new_anon_rmap, folio_remove_rmap


@patch(cow.wp_page_copy)
def wp_page_copy(vma: VmArea, table: PageTable, address: int, pte: Present, old: Folio) -> int:
    """Map a copy of `old`, and tell those who mirror it afterwards. Anonymous pages only."""
    mm = vma.vm_mm
    new = alloc_folio(mm.memory) if anon_vma_prepare(vma) else None
    if new is None:
        folio_put(mm.memory, old)
        return ENOMEM
    new.token = READ_ONCE(old, "token")
    with table.ptl:
        copied = ptep_get(table, address) == pte
        if copied:
            ptep_clear_flush(mm, table, address)
            folio_add_new_anon_rmap(new, vma, address)
            new.lru = True
            set_pte(
                table, address, mk_pte(new, vma.vm_page_prot | maybe_mkwrite(vma) | PTE_DIRTY | PTE_YOUNG)
            )
            folio_remove_rmap(old)
    mmu_notifier_invalidate_range_start(mm, address, address + PAGE_SIZE)
    mmu_notifier_invalidate_range_end(mm, address, address + PAGE_SIZE)
    if copied:
        free_page_and_swap_cache(mm.memory, old)
    else:
        folio_put(mm.memory, new)
    folio_put(mm.memory, old)
    return 0


def populate(mm: MmStruct) -> None:
    """Make the page writable without storing to it."""
    handle_user_fault(mm, page(0), write=True)


def store_and_ask(process: Process, sub: MmuIntervalNotifier) -> None:
    """Store to the page, and ask the guest what it reads there."""
    process.store(page(0), "new")
    check(device_load(sub, page(0)) == "new", "the guest reads what the process has written")


@bug(
    "set-pte-notify",
    id="Z69",
    title="a guest reads the old page after the process has written to its copy",
    year=2012,
    versions="before 3.7, as far as we know",
    fix="mm: mmu_notifier: fix inconsistent memory between secondary MMU and host",
    evidence="read",
    kind=Kind.CHECK,
    patches=(wp_page_copy,),
    tasks=2,
    preemptions=1,
)
def set_pte_notify() -> None:
    """One thread makes a page that is shared with a child writable, another one stores to it and asks the guest."""
    machine, process = heap(1)
    child = process.fork(machine, "as")
    assert child is not None
    sub = mirror(process.mm, page(0), 1)
    device_load(sub, page(0))
    join(
        spawn(populate, process.mm, name="populate"),
        spawn(store_and_ask, process, sub, name="vcpu"),
    )
    device_close(sub)
    child.exit(machine)
    process.exit(machine)
