"""exec copies the arguments of the new program to a stack at the top of user space, and moves it down when it knows
where the stack will be. For that the VMA is first made to cover both places, with the page offset of the new one: a
walk then computes the new address of each page, while its entry is still at the old one.

Compaction could come in between. Its first walk replaced an entry before the VMA was widened; its second walk looked at
the new address, found nothing there yet, and left the migration entry behind. exec moved it, touched it, and ran into
the assertion that its page is locked. No lock makes this safe, so since 2.6.35 a stack that is being set up is marked,
and migration leaves its pages alone.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, end, read_back
from sugarbush.vm.objects import PAGE_SIZE, VmArea
from sugarbush.vm.reclaim import compact_zone
from sugarbush.vm.reverse import rmap
from sugarbush.vm.syscalls import STACK_TOP_MAX, bprm_mm_init, setup_arg_pages
from sugarbush.vm.vmas import boot

NEW_TOP = STACK_TOP_MAX - 4 * PAGE_SIZE


@patch(rmap.invalid_migration_vma)
def invalid_migration_vma(_vma: VmArea) -> bool:
    """No VMA was left out."""
    return False


def execve(process: Process) -> None:
    """Move the stack with the arguments, then use it."""
    assert setup_arg_pages(process.mm, NEW_TOP) == 0
    arguments = process.written.pop(STACK_TOP_MAX - PAGE_SIZE)
    process.written[NEW_TOP - PAGE_SIZE] = arguments
    read_back(process)


@bug(
    "exec-stack-migration",
    id="Z05",
    title="the pages of a stack are moved while exec moves the stack",
    year=2010,
    versions="2.6.34 and before, with compaction",
    fix="mm: migration: avoid race between shift_arg_pages() and rmap_walk() during migration by not migrating "
    "temporary stacks",
    evidence="read",
    kind=Kind.BUG_ON,
    check="migration-entry-locked",
    patches=(invalid_migration_vma,),
    tasks=2,
    preemptions=2,
)
def exec_stack_migration() -> None:
    """Move the stack of a new program while all pages are being moved."""
    machine = boot(4)
    process = Process(machine.add_mm("cc1", BASE))
    assert bprm_mm_init(process.mm) == 0
    process.store(STACK_TOP_MAX - PAGE_SIZE, "argv")
    join(spawn(execve, process), spawn(compact_zone, machine.memory))
    end(machine, process)
