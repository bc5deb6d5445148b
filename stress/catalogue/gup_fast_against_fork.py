"""get_user_pages_fast() pins a page without any lock: it reads the entry, pins the page, and reads the entry again.
fork asks whether a page is pinned, and copies it at once if so; else it makes the entry read-only and shares the
page. If the pin comes after fork has asked, and the second look before fork has changed the entry, both go ahead. A
device now writes to a page that the process shares with its child, and the next store of the process moves to a copy:
the two no longer see each other.

The fix is a sequence count of the address space that is odd while fork copies entries. A pin that was taken meanwhile
is given up, and tried again with mmap_lock.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, local_irq_restore, local_irq_save, spawn
from sugarbush.concurrency.lowlevel import perform
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.access import WALK_BEGIN, WALK_END, gup, gup_pte_range, pin_user_page, unpin_user_page
from sugarbush.vm.objects import Folio, MmStruct


@patch(gup.lockless_page_from_mm)
def lockless_page_from_mm(mm: MmStruct, address: int) -> Folio | None:
    """Pin the page at `address`, if it is mapped writable; whether a fork copies it meanwhile is not asked."""
    flags = local_irq_save()
    perform(WALK_BEGIN, mm.memory)
    found = gup_pte_range(mm, address)
    perform(WALK_END, mm.memory)
    local_irq_restore(flags)
    return found


def use(mm: MmStruct) -> None:
    """A device: it has the page for a while."""
    found = pin_user_page(mm, page(0))
    if not isinstance(found, int):
        unpin_user_page(mm.memory, found)


@bug(
    "gup-fast-against-fork",
    id="Z36",
    title="fork shares a page that is being pinned without a lock",
    year=2020,
    versions="5.9 and 5.10",
    fix="57efa1fe5957: mm/gup: prevent gup_fast from racing with COW during fork",
    evidence="as far as we know",
    kind=Kind.BUG_ON,
    check="pinned-exclusive",
    patches=(lockless_page_from_mm,),
    tasks=2,
    preemptions=1,
)
def gup_fast_against_fork() -> None:
    """Pin a page while the process forks."""
    machine, process = heap(1)
    child, _ = join(
        spawn(process.fork, machine, "as", name="cc1"),
        spawn(use, process.mm, name="device"),
    )
    child.exit(machine)
    process.exit(machine)
