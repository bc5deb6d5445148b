"""A monitor that restores a process page by page copies each page to where it belongs (UFFDIO_COPY), and is told of
forks, so that it can restore the child, too. The event is queued after the fork, when mmap_lock has been given back;
the copy took mmap_lock and asked nothing.

So a page that was copied before the monitor read of the fork was in the child if the copy came first, and was not if
the fork did. The monitor could not tell: it took the page for there, and the child found zeroes in its place. Since
4.18 a fork, and whatever else changes the layout, marks the context under mmap_lock, and until the monitor has read the
event a copy gets -EAGAIN.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, end, map_pages, page
from sugarbush.vm.faults import mfill_atomic, uffd_copy, userfaultfd, userfaultfd_read
from sugarbush.vm.objects import EAGAIN, EFAULT, UserfaultfdCtx
from sugarbush.vm.spaces import mmap_read_lock, mmap_read_unlock, vma_lookup
from sugarbush.vm.vmas import boot

IMAGE = {page(0): "image:0"}


@patch(uffd_copy.userfaultfd_copy)
def userfaultfd_copy(ctx: UserfaultfdCtx, address: int, token: object) -> int:
    """Copy whether or not there is something to read."""
    mmap_read_lock(ctx.mm)
    vma = vma_lookup(ctx.mm, address)
    result = EFAULT if vma is None else mfill_atomic(vma, address, token)
    mmap_read_unlock(ctx.mm)
    return result


def restore(ctx: UserfaultfdCtx) -> None:
    """Copy the image to the process; and what it did not have when it forked, to its child."""
    child: UserfaultfdCtx | None = None
    missing = list(IMAGE)
    for address, token in IMAGE.items():
        while uffd_copy.userfaultfd_copy(ctx, address, token) == EAGAIN:
            child = userfaultfd_read(ctx)
        if child is None:
            missing.remove(address)
    if child is None:
        child = userfaultfd_read(ctx)
    for address in missing:
        uffd_copy.userfaultfd_copy(child, address, IMAGE[address])


@bug(
    "uffd-copy-fork",
    id="Z43",
    title="a page is copied to a process that forks, and nobody knows whether the child has it",
    year=2018,
    versions="4.11 to 4.17",
    fix="df2cc96e7701: userfaultfd: prevent non-cooperative events vs mcopy_atomic races",
    evidence="read",
    kind=Kind.CORRUPTION,
    check="private-data",
    patches=(userfaultfd_copy,),
    tasks=2,
    preemptions=1,
)
def uffd_copy_fork() -> None:
    """Restore the memory of a process that forks meanwhile, and of its child."""
    machine = boot(6)
    process = Process(machine.add_mm("criu", BASE))
    map_pages(process, 0, 1)
    process.written.update(IMAGE)
    ctx = userfaultfd(process.mm)
    child, _ = join(
        spawn(process.fork, machine, "child", name="fork"),
        spawn(restore, ctx, name="monitor"),
    )
    assert child is not None
    for one in (process, child):
        one.load(page(0))
    end(machine, child, process)
