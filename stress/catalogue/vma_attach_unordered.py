"""A VMA whose memory was another one's a moment ago becomes visible to readers when its count becomes 1: whoever
has an old pointer to it may take a reference from then on, and looks whether it is the VMA that he meant. So
everything that says what it is must be visible with the count. refcount_set() orders nothing, since nobody else was
supposed to know an object whose count is set for the first time. vma_mark_attached() used it in the first versions
of the series.

The review found it: where the memory may be used again, "all stores to initialize the object should happen *before*
refcount initialization". v6.15 has refcount_set_release() for this, and an acquire where the reference is taken. No
machine has crashed by it. Here the race detector says so: nothing orders the stores and the look.
"""

from __future__ import annotations

from contextlib import suppress

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.concurrency.lowlevel import perform
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, end, fill, map_pages, page
from sugarbush.vm.access import Killed, user_load
from sugarbush.vm.objects import REFCOUNT_SET, VmArea
from sugarbush.vm.spaces import vma_lock_refcnt
from sugarbush.vm.vmas import boot


@patch(vma_lock_refcnt.vma_mark_attached)
def vma_mark_attached(vma: VmArea) -> None:
    """Readers may come, whether or not they can see what `vma` is."""
    perform(REFCOUNT_SET, vma.vm_refcnt, 1)


def read(process: Process, number: int) -> None:
    """Read a page, unless it has been unmapped."""
    with suppress(Killed):
        user_load(process.mm, page(number))


def replace(process: Process) -> None:
    """Unmap memory and map some elsewhere."""
    process.munmap(page(0), 2)
    map_pages(process, 8, 2)


@bug(
    "vma-attach-unordered",
    id="Z88",
    title="readers may come to a VMA before they can see what it is",
    year=2025,
    versions="none; first versions of the series that became v6.15",
    fix="7f8ceea0c580: refcount: provide ops for cases when object's memory can be reused",
    evidence="read",
    kind=Kind.DATA_RACE,
    check="data-race",
    patches=(vma_mark_attached,),
    tasks=2,
    preemptions=1,
    era="6.15",
)
def vma_attach_unordered() -> None:
    """Unmap memory and map some elsewhere while a thread reads there."""
    machine = boot(8, "6.15")
    process = Process(machine.add_mm("java", BASE))
    map_pages(process, 0, 2)
    fill(process, 0)
    join(spawn(read, process, 1, name="fault"), spawn(replace, process, name="main"))
    end(machine, process)
