"""Since v6.15 the memory of a VMA may be used again at once, for a VMA of any address space (SLAB_TYPESAFE_BY_RCU).
A fault finds its VMA in the tree under RCU and no lock, so by the time that it looks at it, it may be somebody
else's, or nobody's. vma_start_read() compared the number in the VMA with that of the VMA's own address space,
`vma->vm_mm`. Of a VMA that has been freed that is a pointer to whatever address space had it last, and if that
process has ended, to memory that is free.

The series that let the memory be used again has a patch for that, right before: the number is that of the address
space in which the fault is, and once the VMA is locked it is looked at whether it is a VMA of that. So no release
was without. Here both halves are missing.
"""

from __future__ import annotations

from contextlib import suppress

from sugarbush.concurrency import (
    READ_ONCE,
    Kind,
    join,
    rcu_read_lock,
    rcu_read_unlock,
    smp_load_acquire,
    spawn,
)
from sugarbush.concurrency.lowlevel import perform
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, end, fill, map_pages, page
from sugarbush.vm.access import Killed, user_load
from sugarbush.vm.objects import EAGAIN, INC_NOT_ZERO_LIMITED_ACQUIRE, MmStruct, VmArea
from sugarbush.vm.spaces import vma_is_anonymous, vma_lock_refcnt
from sugarbush.vm.vmas import Machine, boot


def start_read(vma: VmArea) -> VmArea | int | None:
    """Try to lock `vma`, by the number of whoever it belongs to."""
    if READ_ONCE(vma, "vm_lock_seq") == READ_ONCE(vma.vm_mm, "mm_lock_seq"):
        return None
    taken = perform(INC_NOT_ZERO_LIMITED_ACQUIRE, vma.vm_refcnt)
    if not taken:
        return EAGAIN if taken is None else None
    if READ_ONCE(vma, "vm_lock_seq") == smp_load_acquire(vma.vm_mm, "mm_lock_seq"):
        vma_lock_refcnt.vma_refcount_put(vma)
        return None
    return vma


@patch(vma_lock_refcnt.lock_vma_under_rcu)
def lock_vma_under_rcu(mm: MmStruct, address: int) -> VmArea | None:
    """Nobody looks whose the VMA is."""
    mas = mm.mm_mt.cursor(address)
    rcu_read_lock()
    while (found := mas.walk()) is not None:
        vma = start_read(found)
        if isinstance(vma, int):
            mas.set_range(address, address)
            continue
        if vma is None:
            break
        inside = vma.vm_start <= address < vma.vm_end
        if inside and READ_ONCE(vma, "anon_vma") is not None and vma_is_anonymous(vma):
            rcu_read_unlock()
            return vma
        vma_lock_refcnt.vma_end_read(vma)
        break
    rcu_read_unlock()
    return None


def read(process: Process) -> None:
    """Read a page, unless it has been unmapped."""
    with suppress(Killed):
        user_load(process.mm, page(1))


def unmap_and_start(machine: Machine, process: Process) -> None:
    """Unmap it; then another process starts, maps something, and ends."""
    process.munmap(page(0), 2)
    other = Process(machine.add_mm("true", BASE))
    map_pages(other, 0, 1)
    other.exit(machine)


@bug(
    "vma-start-read-mm",
    id="Z85",
    title="a fault looks at the address space of a VMA that is not its own any more",
    year=2025,
    versions="none; the series that became v6.15",
    fix="e49510bf00de: mm: prepare lock_vma_under_rcu() for vma reuse possibility",
    evidence="read",
    kind=Kind.USE_AFTER_FREE,
    check="use-after-free",
    patches=(lock_vma_under_rcu,),
    tasks=2,
    preemptions=1,
    era="6.15",
    without=("data-race",),
)
def vma_start_read_mm() -> None:
    """Unmap memory and start a process while a thread reads there."""
    machine = boot(8, "6.15")
    process = Process(machine.add_mm("java", BASE))
    map_pages(process, 0, 2)
    fill(process, 0)
    join(spawn(read, process, name="fault"), spawn(unmap_and_start, machine, process, name="main"))
    end(machine, process)
