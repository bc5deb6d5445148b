"""Who maps a file in hugetlbfs privately is promised a page for each of his own, so that his stores do not
fail. If a child of a fork has taken what there was, the parent takes the page that both have away from the
child. For that a fault gives back the mutex that keeps two faults on one page apart, unmaps the page there, and
takes the mutex again. It did so with the page of the file locked, which it had looked at to see whether its own
page came from there. Another fault on that place, by whoever maps the file, has the mutex, and waits for the
page. Syzkaller found it, and Gavin Guo wrote the first fix in 2025; Oscar Salvador then took away the lock
altogether.

Since then the page is not locked any more while the mutex is taken. In the model the fault gives everything
back, and is made again.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.pages import HEAP
from sugarbush.vm.files import HugetlbFile, fput, hstate_file, hugetlb_vma_lock, hugetlb_vma_lock_read
from sugarbush.vm.huge import hugetlb_cow, unmap_ref_private
from sugarbush.vm.objects import PAGE_SIZE, Folio, PageTable, Present, VmArea
from sugarbush.vm.spaces import linear_page_index
from sugarbush.vm.syscalls import MAP_FIXED, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE, sys_mmap
from sugarbush.vm.vmas import boot


@patch(hugetlb_cow.hugetlb_wp)
def hugetlb_wp(
    vma: VmArea, table: PageTable, address: int, pte: Present, cached: Folio | None
) -> int | Folio:
    """Break the sharing of a page; whoever has it without a promise loses it, with the page of the file locked."""
    file = hstate_file(vma)
    mutex = file.fault_mutexes[linear_page_index(vma, address) % len(file.fault_mutexes)]
    while isinstance(result := hugetlb_wp.original(vma, table, address, pte, cached), Folio):
        lock = hugetlb_vma_lock(vma)
        if lock is not None:
            lock.up_read()
        mutex.unlock()
        unmap_ref_private(vma, result, address)
        mutex.lock()
        hugetlb_vma_lock_read(vma)
    return int(result)


@bug(
    "hugetlb-cow-deadlock",
    id="Z79",
    title="a fault takes the mutex of its page with the page of the file locked",
    year=2025,
    versions="4.1 (or before) to 6.16",
    fix="mm/hugetlb: fix a deadlock with pagecache_folio and hugetlb_fault_mutex_table (mail of May 2025)",
    evidence="as far as we know",
    kind=Kind.DEADLOCK,
    check=None,
    patches=(hugetlb_wp,),
    tasks=2,
    preemptions=1,
    without=("lockdep", "lock-order"),
)
def hugetlb_cow_deadlock() -> None:
    """A parent stores to what it shares with its child, and there are no pages left; another process reads the
    file.
    """
    machine = boot(6)
    file = HugetlbFile("pool", 2)
    reader, parent = (Process(machine.add_mm(name, HEAP)) for name in ("reader", "parent"))
    sys_mmap(reader.mm, HEAP, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file)
    reader.store(HEAP, "row")
    sys_mmap(parent.mm, HEAP, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file)
    parent.store(HEAP, "own")
    child = parent.fork(machine, "child")
    assert child is not None
    reader.dontneed(HEAP, 1)
    reader.written[HEAP] = "row"
    join(
        spawn(parent.store, HEAP, "new", name="parent"),
        spawn(reader.load, HEAP, name="reader"),
    )
    parent.load(HEAP)
    for process in (child, parent, reader):
        process.exit(machine)
    fput(machine.memory, file)
