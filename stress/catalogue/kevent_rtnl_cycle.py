"""mbind(), move_pages() and migrate_pages() first see to it that all pages are on the LRU (migrate_prep). The batches
of other CPUs are emptied by work on the shared queue of kernel threads, so they wait for that queue. mbind() did so
with mmap_sem held for writing.

On the same queue the network core handles a link that goes up or down, and takes the rtnl lock for that. And whoever
configures the network holds the rtnl lock while its arguments are read from user memory, and may fault. So the one
waits for the queue, the queue for the rtnl lock, and its holder for mmap_sem: three parties, of which no two have
anything to do with each other. The fix moves migrate_prep() out from under mmap_sem.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, end, fill, map_pages, page
from sugarbush.vm.access import Rtnl, dev_ioctl, linkwatch_event
from sugarbush.vm.objects import EINVAL, ESRCH, PAGE_SIZE, MmStruct, page_align
from sugarbush.vm.reclaim import (
    Workqueue,
    destroy_workqueue,
    lru_add_drain_all,
    mempolicy,
    move_range,
    queue_work,
    worker_thread,
)
from sugarbush.vm.spaces import mmap_write_lock, mmap_write_unlock
from sugarbush.vm.vmas import boot


@patch(mempolicy.do_mbind)
def do_mbind(mm: MmStruct, kevent: Workqueue, start: int, length: int) -> int:
    """The queue is waited for with mmap_lock held."""
    if start & (PAGE_SIZE - 1):
        return EINVAL
    mmap_write_lock(mm)
    lru_add_drain_all(kevent)
    result = ESRCH if mm.ended else move_range(mm, start, start + page_align(length))
    mmap_write_unlock(mm)
    return result


@bug(
    "kevent-rtnl-cycle",
    id="Z40g",
    title="mbind waits for a work queue with mmap_lock held, the queue for rtnl, and rtnl for mmap_lock",
    year=2008,
    versions="2.6.27 and before",
    fix="0aedadf91a70: mm: move migrate_prep out from under mmap_sem",
    evidence="read",
    kind=Kind.DEADLOCK,
    patches=(do_mbind,),
    tasks=3,
    preemptions=1,
)
def kevent_rtnl_cycle() -> None:
    """Bind memory to a node and configure the network in one process, while a link goes up."""
    machine = boot(6)
    kevent, rtnl = Workqueue(), Rtnl()
    process = Process(machine.add_mm("ifconfig", BASE))
    map_pages(process, 0, 1)
    fill(process, 0)
    map_pages(process, 4, 1)
    worker = spawn(worker_thread, kevent, name="events")
    queue_work(kevent, lambda: linkwatch_event(rtnl))
    join(
        spawn(mempolicy.do_mbind, process.mm, kevent, page(0), PAGE_SIZE, name="mbind"),
        spawn(dev_ioctl, rtnl, process.mm, page(4), name="ioctl"),
    )
    destroy_workqueue(kevent)
    join(worker)
    process.load(page(0))
    end(machine, process)
