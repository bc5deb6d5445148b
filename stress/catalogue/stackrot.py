"""StackRot. In RCU mode a store to the maple tree leaves the old node as it is, marks it dead, and frees it after a
grace period. A stack still grew under mmap_lock for reading, so another reader of mmap_lock could be in that node; and
to hold mmap_lock is not to be an RCU reader. The grace period did not wait for it, and it went on in a freed node.

Ruihan Li found it and showed that it gives root. The fix, merged for v6.5 and brought to v6.1.37, v6.3.11 and v6.4.1,
takes mmap_lock for writing whenever a stack grows. A node is replaced only where the stack reaches its neighbour, and
the gap between them is gone.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.catalogue.stack_grows_in_place import lock_mm_and_find_vma, writer
from sugarbush.stress.kit import Process, bug
from sugarbush.stress.workloads.mappings import BASE, end, map_pages, page, read_back
from sugarbush.vm.objects import PAGE_SIZE
from sugarbush.vm.syscalls import MADV_DONTNEED, MAP_GROWSDOWN, PROT_NONE, sys_madvise
from sugarbush.vm.vmas import boot


@bug(
    "stackrot",
    id="Z13",
    title="a stack grows under mmap_lock for reading, and a reader goes on in a freed node",
    year=2023,
    versions="v6.1 to v6.4",
    cve="CVE-2023-3269",
    fix="mm: always expand the stack with the mmap write lock held",
    evidence="read",
    kind=Kind.USE_AFTER_FREE,
    check="use-after-free",
    patches=(lock_mm_and_find_vma, writer),
    tasks=2,
    preemptions=1,
    era="6.6",
    without=("data-race",),
)
def stackrot() -> None:
    """A thread goes deeper on its stack while another one gives memory back."""
    machine = boot(6, "6.6")
    process = Process(machine.add_mm("java", BASE))
    map_pages(process, 0, 1, prot=PROT_NONE)
    map_pages(process, 2, 1, extra=MAP_GROWSDOWN)
    process.store(page(2), "the top of the stack")
    join(
        spawn(process.store, page(1), "deeper"),
        spawn(sys_madvise, process.mm, page(0), PAGE_SIZE, MADV_DONTNEED),
    )
    read_back(process)
    end(machine, process)
