"""Migration was taught to move pages in batches, so that their flushes can be shared: it locked as many folios as it
could get, and waited for the next one, or for its writeback, with all of them held. Writeback puts page after page into
one request before it sends it. So migration held one page and waited for the writeback of another, which was in a
request that waited for the first. Hugh Dickins and Pengfei Xu met this within days of the release candidate.

Folio locks have no order among each other, so with one held, another may only be tried. The fix tries; what it does not
get it moves later, one folio at a time, holding nothing else.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.pages import HEAP, page
from sugarbush.vm.files import folio_wait_writeback, fput, write_cache_pages
from sugarbush.vm.objects import PAGE_SIZE, AddressSpace, Folio
from sugarbush.vm.reclaim import migrate, migrate_pages
from sugarbush.vm.syscalls import MAP_FIXED, MAP_SHARED, PROT_READ, PROT_WRITE, sys_mmap
from sugarbush.vm.vmas import boot


@patch(migrate.lock_batch)
def lock_batch(folios: list[Folio]) -> tuple[list[Folio], list[Folio]]:
    """Lock all of `folios`, waiting for each, and for its writeback."""
    for folio in folios:
        folio.lock.lock()
        folio_wait_writeback(folio)
    return folios, []


@bug(
    "migrate-batch",
    id="Z40d",
    title="migration waits for a page with the locks of others held",
    year=2023,
    versions="6.3-rc",
    fix="fb3592c41a44: migrate_pages: fix deadlock in batched migration",
    evidence="read",
    kind=Kind.DEADLOCK,
    check=None,
    patches=(lock_batch,),
    tasks=2,
    preemptions=1,
    without=("lockdep", "lock-order"),
)
def migrate_batch() -> None:
    """Move two pages of a file while they are written back in the other order."""
    machine = boot(8)
    memory = machine.memory
    file = AddressSpace("object.o")
    process = Process(machine.add_mm("as", HEAP))
    sys_mmap(process.mm, HEAP, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file)
    for number in range(2):
        process.store(page(number), f"as:{number}")
    pages = [file.pages[number] for number in range(2)]
    join(
        spawn(migrate_pages, memory, pages, name="kcompactd"),
        spawn(write_cache_pages, memory, file, pages[::-1], name="writeback"),
    )
    for number in range(2):
        process.load(page(number))
    process.exit(machine)
    fput(memory, file)
