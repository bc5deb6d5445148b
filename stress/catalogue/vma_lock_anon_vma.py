"""Since v6.4 a fault takes the lock of one VMA instead of mmap_lock. Then it must not go to anon_vma_prepare(), which
looks at the neighbouring VMAs, and those may go away meanwhile. So a VMA without an anon_vma is left to mmap_lock.
That was tested before the VMA was locked.

mremap() with MREMAP_DONTUNMAP takes the pages out of a VMA, and unlinks it from its anon_vma. If it came between the
test and the lock, the fault went on with a VMA without an anon_vma, and looked at neighbours that nothing protected.
Jann Horn found it; since v6.5 the test comes after the lock.
"""

from __future__ import annotations

from sugarbush.concurrency import READ_ONCE, Kind, join, rcu_read_lock, rcu_read_unlock, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, end, fill, map_pages, page
from sugarbush.vm.access import user_store
from sugarbush.vm.objects import PAGE_SIZE, MmStruct, VmArea
from sugarbush.vm.spaces import vma_end_read, vma_is_anonymous, vma_lock, vma_start_read
from sugarbush.vm.syscalls import MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE, sys_mremap
from sugarbush.vm.vmas import boot

MOVE = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP


@patch(vma_lock.lock_vma_under_rcu)
def lock_vma_under_rcu(mm: MmStruct, address: int) -> VmArea | None:
    """Whether there is an anon_vma is tested before the VMA is locked."""
    mas = mm.mm_mt.cursor(address)
    rcu_read_lock()
    while True:
        vma = mas.walk()
        if vma is None:
            break
        if vma_is_anonymous(vma) and READ_ONCE(vma, "anon_vma") is None:
            break
        if not vma_start_read(vma):
            break
        if not vma.vm_start <= address < vma.vm_end:
            vma_end_read(vma)
            break
        if not READ_ONCE(vma, "detached"):
            rcu_read_unlock()
            return vma
        vma_end_read(vma)
        mas.set_range(address, address)
    rcu_read_unlock()
    return None


@bug(
    "vma-lock-anon-vma",
    id="Z20",
    title="a fault looks for an anon_vma before it locks the VMA",
    year=2023,
    versions="v6.4",
    fix="657b5146955e: mm: lock_vma_under_rcu() must check vma->anon_vma under vma lock",
    cve="CVE-2024-1312",
    evidence="read",
    kind=Kind.RCU,
    patches=(lock_vma_under_rcu,),
    tasks=2,
    preemptions=3,
    era="6.6",
)
def vma_lock_anon_vma() -> None:
    """Move the pages out of a mapping while another thread stores to it: a read would need no anon_vma."""
    machine = boot(8, "6.6")
    process = Process(machine.add_mm("java", BASE))
    map_pages(process, 0, 2)
    fill(process, 0)
    join(
        spawn(sys_mremap, process.mm, BASE, 2 * PAGE_SIZE, 2 * PAGE_SIZE, MOVE, page(8)),
        spawn(user_store, process.mm, page(1), "late"),
    )
    end(machine, process)
