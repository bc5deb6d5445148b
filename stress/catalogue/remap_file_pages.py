"""remap_file_pages() lets a mapping show the pages of a file in an order of its own. A VMA that it was called
for leaves the interval tree of the file, since the tree cannot say any more where a page is, and hangs in a
list. Only the part that the call was for is emptied; the rest of the VMA keeps its entries, and they are where
they were.

A migration whose first walk met such an entry while the VMA was in the tree, and whose second walk came after it had
left, did not look at the list. The migration entry stayed, and whoever touched the page later met it. Found by trinity;
since v3.15 the second walk looks at the VMAs of the list too, and since v4.0 there are none.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, end, map_file, page, touch
from sugarbush.vm.files import fput
from sugarbush.vm.objects import PAGE_SIZE, AddressSpace, Folio
from sugarbush.vm.reclaim import compact_zone, nonlinear, remap_file_pages
from sugarbush.vm.reverse import RmapOne
from sugarbush.vm.vmas import boot


@patch(nonlinear.walk_nonlinear)
def walk_nonlinear(_folio: Folio, _mapping: AddressSpace, _rmap_one: RmapOne) -> None:
    """Nobody looked at the list."""


@bug(
    "remap-file-pages",
    id="Z07",
    title="a migration passes over a mapping whose order has become its own",
    year=2014,
    versions="up to v3.14",
    fix="mm: fix swapops.h:131 bug if remap_file_pages raced migration",
    evidence="read",
    kind=Kind.BUG_ON,
    check="migration-entry-locked",
    patches=(walk_nonlinear,),
    tasks=2,
    preemptions=1,
)
def remap_file_pages_() -> None:
    """Show one page of a mapped file twice while another one is being moved."""
    machine = boot(6)
    process = Process(machine.add_mm("db", BASE))
    file = AddressSpace("table")
    map_file(process, file, 0, 2, shared=True)
    touch(process, 0)
    join(
        spawn(remap_file_pages, process.mm, page(1), PAGE_SIZE, 0),
        spawn(compact_zone, machine.memory),
    )
    touch(process, 0, 2)
    end(machine, process)
    fput(machine.memory, file)
