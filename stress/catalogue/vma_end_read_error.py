"""When readers of a VMA became a count, vma_start_read() got a third answer: -EAGAIN, for a VMA that has left the
tree since it was found. The caller then asks the tree again. Before, it had got the lock, seen a flag `detached`,
and given the lock back. When the patch was taken over onto another version of the code, in linux-next of February
2025, that line stayed: so the lock was given back that nobody had, of a VMA whose address is -EAGAIN.

syzbot met it within days: "general protection fault in lock_vma_under_rcu". The fix was folded into the patch
before v6.15. What is a general protection fault there is an uncaught exception here.
"""

from __future__ import annotations

from contextlib import suppress

from sugarbush.concurrency import READ_ONCE, Kind, join, rcu_read_lock, rcu_read_unlock, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, end, fill, map_pages, page
from sugarbush.vm.access import Killed, user_load
from sugarbush.vm.objects import EAGAIN, MmStruct, VmArea
from sugarbush.vm.spaces import vma_is_anonymous, vma_lock_refcnt
from sugarbush.vm.vmas import boot


@patch(vma_lock_refcnt.lock_vma_under_rcu)
def lock_vma_under_rcu(mm: MmStruct, address: int) -> VmArea | None:
    """What was not locked is unlocked."""
    mas = mm.mm_mt.cursor(address)
    rcu_read_lock()
    while (found := mas.walk()) is not None:
        vma = vma_lock_refcnt.vma_start_read(mm, found)
        if vma == EAGAIN:
            vma_lock_refcnt.vma_end_read(vma)  # type: ignore[arg-type]
            mas.set_range(address, address)
            continue
        if not isinstance(vma, VmArea):
            break
        inside = vma.vm_start <= address < vma.vm_end
        if inside and READ_ONCE(vma, "anon_vma") is not None and vma_is_anonymous(vma):
            rcu_read_unlock()
            return vma
        vma_lock_refcnt.vma_end_read(vma)
        break
    rcu_read_unlock()
    return None


def read(process: Process, number: int) -> None:
    """Read a page, unless it has been unmapped."""
    with suppress(Killed):
        user_load(process.mm, page(number))


@bug(
    "vma-end-read-error",
    id="Z86",
    title="a fault unlocks a VMA that it could not lock",
    year=2025,
    versions="linux-next of February 2025",
    fix="mm: fix a crash due to vma_end_read() that should have been removed (folded into f35ab95ca0af)",
    evidence="read",
    kind=Kind.EXCEPTION,
    patches=(lock_vma_under_rcu,),
    tasks=2,
    preemptions=1,
    era="6.15",
)
def vma_end_read_error() -> None:
    """Unmap memory while a thread reads there."""
    machine = boot(8, "6.15")
    process = Process(machine.add_mm("java", BASE))
    map_pages(process, 0, 2)
    fill(process, 0)
    join(
        spawn(read, process, 1, name="fault"),
        spawn(process.munmap, page(0), 2, name="munmap"),
    )
    end(machine, process)
