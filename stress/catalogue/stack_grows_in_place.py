"""A stack grows by a page fault, and in v6.1 that fault held mmap_lock for reading only. The maple tree was not in RCU
mode then: a store rewrites a node in place. Another reader of mmap_lock that walked the same node could combine the
old borders with the new entries, and find a VMA where there is none, or none where there is one.

syzbot found it. RCU mode, which copies a node instead, became the default in v6.3, and cost 15 to 20 per cent of a
benchmark that does nothing but brk; since v6.5 a stack grows under the lock for writing.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.concurrency.lowlevel import step
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, end, map_pages, page, read_back
from sugarbush.tree.core import WRITE_TREE, Guarded, guard
from sugarbush.vm.access import user_load
from sugarbush.vm.faults import fault_lock, grow_under_read_lock
from sugarbush.vm.objects import Hold, MmStruct
from sugarbush.vm.syscalls import MAP_GROWSDOWN
from sugarbush.vm.vmas import boot


@patch(fault_lock.lock_mm_and_find_vma)
def lock_mm_and_find_vma(mm: MmStruct, address: int) -> Hold | None:
    """A stack grows under mmap_lock for reading."""
    return grow_under_read_lock(mm, address)


@patch(guard.writer)
def writer(tree: Guarded) -> None:
    """A writer of the tree had to hold its lock, in whatever mode."""
    tree.lock.assert_held()
    step(WRITE_TREE, tree)


@bug(
    "stack-grows-in-place",
    id="Z14",
    title="a stack grows under mmap_lock for reading, in a tree that is written in place",
    year=2023,
    versions="v6.1 to v6.2",
    fix="mm: enable maple tree RCU mode by default",
    evidence="read",
    kind=Kind.DATA_RACE,
    check="data-race",
    patches=(lock_mm_and_find_vma, writer),
    tasks=2,
    preemptions=1,
)
def stack_grows_in_place() -> None:
    """A thread goes deeper on its stack while another one touches fresh memory."""
    machine = boot(6)
    process = Process(machine.add_mm("java", BASE))
    map_pages(process, 0, 1)
    map_pages(process, 600, 1, extra=MAP_GROWSDOWN)
    process.store(page(600), "the top of the stack")
    join(spawn(process.store, page(599), "deeper"), spawn(user_load, process.mm, page(0)))
    read_back(process)
    end(machine, process)
