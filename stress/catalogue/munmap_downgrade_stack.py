"""munmap() takes VMAs out of the tree under mmap_lock for writing, and empties their pages under the lock downgraded
to reading, since v4.20. In kernels up to v6.0 a stack grew under the lock for reading too. So a fault just below a
stack could let it grow into a range that was out of the tree but not yet emptied, and put a page there; then munmap
came to that page and took it away, or freed the page table that it was in.

Jann Horn found it. Since v5.8 munmap keeps the lock for writing if the mapping above the hole can grow down, or the
one below can grow up. The workload's thread looks first whether the range is free, as one may in /proc/self/maps.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, end, map_pages, page, read_back
from sugarbush.vm.objects import PAGE_SIZE, VmArea
from sugarbush.vm.spaces import mmap_read_lock, mmap_read_unlock, vma_lookup
from sugarbush.vm.syscalls import MAP_GROWSDOWN, PROT_NONE
from sugarbush.vm.vmas import boot, do_munmap, munmap


@patch(munmap.may_downgrade)
def may_downgrade(_after: VmArea | None) -> bool:
    """The lock was always downgraded."""
    return True


def use_stack(process: Process) -> None:
    """Go one page deeper on the stack, if that page is free."""
    mm = process.mm
    mmap_read_lock(mm)
    free = vma_lookup(mm, page(1)) is None
    mmap_read_unlock(mm)
    if free:
        process.store(page(1), "a frame of the stack")


@bug(
    "munmap-downgrade-stack",
    id="Z11",
    title="a stack grows into a range that munmap has not emptied yet",
    year=2020,
    versions="v4.20 to v5.7",
    cve="CVE-2020-29369",
    fix="mm/mmap.c: close race between munmap() and expand_upwards()/downwards()",
    evidence="as far as we know",
    kind=Kind.CORRUPTION,
    check="private-data",
    patches=(may_downgrade,),
    tasks=2,
    preemptions=1,
    era="5.19",
)
def munmap_downgrade_stack() -> None:
    """Unmap the page below a stack while another thread goes deeper on the stack."""
    machine = boot(6, "5.19")
    process = Process(machine.add_mm("java", BASE))
    map_pages(process, 0, 1, prot=PROT_NONE)
    map_pages(process, 1, 1)
    map_pages(process, 2, 1, extra=MAP_GROWSDOWN)
    process.store(page(2), "the top of the stack")
    join(spawn(do_munmap, process.mm, page(1), PAGE_SIZE), spawn(use_stack, process))
    read_back(process)
    end(machine, process)
