"""mprotect() of a whole VMA, whose upper neighbour has the wanted rights already, makes one VMA of the two. Up to v4.8
the lower one was kept and grew over the upper: it still had its own vm_page_prot then, and got the right one only after
the locks of the merge were dropped.

The second walk of a migration reads vm_page_prot without mmap_lock. If it came in between, in the part that had been
the upper VMA, it put an entry there with the rights of the lower one, and mprotect() went on to correct only the range
that it was called for. The result was segfaults, and worse, under mprotect and compaction. Since v4.9 the VMA that
already has the right properties is the one that grows: that is case 8 of vma_merge().
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, end, fill, map_pages, page
from sugarbush.vm.objects import PAGE_SIZE, VmArea
from sugarbush.vm.reclaim import compact_zone
from sugarbush.vm.syscalls import PROT_NONE, sys_mprotect
from sugarbush.vm.vmas import boot, inherit_anon_vma, merge, vma_adjust


@patch(merge._grow_down)
def grow_down(following: VmArea, current: VmArea | None, start: int, pgoff: int) -> VmArea | None:
    """Of the two VMAs the lower one is kept, whatever it may do yet."""
    if current is None:
        error = vma_adjust(following, start, following.vm_end, pgoff)
        return None if error else following
    if not inherit_anon_vma(current, following):
        return None
    error = vma_adjust(current, start, following.vm_end, current.vm_pgoff, removed=(following,))
    return None if error else current


@bug(
    "merge-page-prot",
    id="Z08",
    title="a VMA grows over a neighbour before it has the neighbour's rights",
    year=2016,
    versions="up to v4.8",
    fix="mm: vma_merge: fix vm_page_prot SMP race condition against rmap_walk",
    evidence="read",
    kind=Kind.INVARIANT,
    check="rights",
    patches=(grow_down,),
    tasks=2,
    preemptions=1,
)
def merge_page_prot() -> None:
    """Take all rights from the lower half of a mapping, whose upper half has none, while pages are being moved."""
    machine = boot(5)
    process = Process(machine.add_mm("java", BASE))
    map_pages(process, 0, 2)
    fill(process, 1)
    assert sys_mprotect(process.mm, page(1), PAGE_SIZE, PROT_NONE) == 0
    join(
        spawn(sys_mprotect, process.mm, page(0), PAGE_SIZE, PROT_NONE),
        spawn(compact_zone, machine.memory),
    )
    end(machine, process)
