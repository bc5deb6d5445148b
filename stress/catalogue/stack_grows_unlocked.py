"""Since v6.4 a fault in anonymous memory holds the lock of its VMA and not mmap_lock. Since v6.4.1 stacks grow under
mmap_lock for writing, but the VMA itself was not locked. So a thread may fault in the stack while another one lets it
grow: vm_start is new and vm_pgoff still of before when the fault works out which page of the stack its address is. The
page is then filed under a number at which nobody looks for it: reclaim and migration go past it.

The fix locks the VMA before it is expanded; as far as we know it came with v6.4.3, after v6.4.1 had changed how stacks
grow. That these are the fields that go apart is our reading of the fix, which says only that faults must be kept out.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, end, map_pages, page, read_back
from sugarbush.vm.faults import expand_stack, stack
from sugarbush.vm.objects import VmArea
from sugarbush.vm.syscalls import MAP_GROWSDOWN
from sugarbush.vm.vmas import boot


@patch(stack.expand_stack_locked)
def expand_stack_locked(vma: VmArea, address: int) -> int:
    """The stack grows, and faults in it are not kept out."""
    return expand_stack(vma, address)


@bug(
    "stack-grows-unlocked",
    id="Z60",
    title="a stack grows under mmap_lock while a fault holds its VMA",
    year=2023,
    versions="v6.4.1 and v6.4.2",
    fix="c137381f71ae: mm: lock a vma before stack expansion",
    evidence="read",
    kind=Kind.INVARIANT,
    check="coverage",
    patches=(expand_stack_locked,),
    tasks=2,
    preemptions=1,
    era="6.6",
    without=("data-race",),
)
def stack_grows_unlocked() -> None:
    """One thread goes deeper on a stack, another one uses a page of it for the first time."""
    machine = boot(6, "6.6")
    process = Process(machine.add_mm("java", BASE))
    map_pages(process, 4, 2, extra=MAP_GROWSDOWN)
    process.store(page(5), "the top of the stack")
    join(
        spawn(process.store, page(3), "a frame", name="deeper"),
        spawn(process.store, page(4), "another frame", name="fault"),
    )
    read_back(process)
    end(machine, process)
