"""UFFDIO_MOVE takes a huge page apart if it does not fit the new place as a whole. Before, it looks whether others
have the page, too, since then it is not moved at all. The lock of the entry was held, and that the entry means a
huge page was known; but it may be one that is being migrated. Such an entry holds the number of a frame in another
form than one that is present, so the look went to a page that does not exist, and the kernel crashed.

The fix looks at the page only if the entry is present. One that is being migrated is split, and then waited for.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.moves import heap_and_room, move, room
from sugarbush.stress.workloads.pages import migrate_huge, page
from sugarbush.vm.huge import pmd_folio
from sugarbush.vm.objects import Memory, Pmd
from sugarbush.vm.syscalls import uffd_move


@patch(uffd_move.is_shared_huge)
def is_shared_huge(memory: Memory, pmd: Pmd) -> bool:
    """The entry is a huge one, so it has a page."""
    return not pmd_folio(memory, pmd).anon_exclusive


@bug(
    "uffd-move-migration",
    id="Z84h",
    title="a huge page that is being migrated is looked at while it is moved",
    year=2025,
    versions="6.8 to 6.16",
    fix="aba6faec0103: userfaultfd: fix a crash in UFFDIO_MOVE when PMD is a migration entry",
    evidence="as far as we know",
    kind=Kind.BUG_ON,
    check="pmd-present",
    patches=(is_shared_huge,),
    tasks=2,
    preemptions=1,
)
def uffd_move_migration() -> None:
    """Move a part of a huge page while all of it is migrated."""
    machine, process, ctx = heap_and_room(2, huge=True)
    join(
        spawn(move, process, ctx, page(0), room(0), name="gc"),
        spawn(migrate_huge, machine.memory, machine.memory.mem_map[0], name="migrate"),
    )
    process.load(page(1))
    process.exit(machine)
