"""A VMA without pages that grows over one with pages inherits its anon_vma first, and is linked to it afterwards, which
takes memory. When faults began to take the lock of one VMA instead of mmap_lock, in v6.4, that was done before the VMA
was locked. A fault that came in between found an anon_vma, as a fault under the VMA's lock must, and mapped a page into
it that no walk could find: the VMA was not linked yet. If there was no memory for the link, it never was.

Since v6.5 dup_anon_vma() locks the VMA before it gives it an anon_vma. As in vma-expand-no-lock, the workload calls
vma_expand() itself.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, end, fill, map_pages, page, read_back, swallow
from sugarbush.vm.objects import VmArea
from sugarbush.vm.reverse import anon_vma_clone
from sugarbush.vm.vmas import adjust, boot


@patch(adjust.inherit_anon_vma)
def inherit_anon_vma(importer: VmArea, exporter: VmArea, _inherited: list[VmArea] | None = None) -> bool:
    """`importer` is not locked."""
    if exporter.anon_vma is None or importer.anon_vma is not None:
        return True
    importer.anon_vma = exporter.anon_vma
    return anon_vma_clone(importer, exporter)


@bug(
    "vma-inherits-unlocked",
    id="Z22",
    title="a VMA gets an anon_vma without being locked",
    year=2023,
    versions="v6.4",
    fix="mm: lock VMA in dup_anon_vma() before setting ->anon_vma",
    evidence="as far as we know",
    kind=Kind.INVARIANT,
    check="coverage",
    patches=(inherit_anon_vma,),
    tasks=2,
    preemptions=1,
    era="6.6",
)
def vma_inherits_unlocked() -> None:
    """Fill the gap between two mappings while another thread writes to the lower one."""
    machine = boot(6, "6.6")
    process = Process(machine.add_mm("java", BASE))
    map_pages(process, 2, 1)
    fill(process, 2)
    map_pages(process, 0, 1)
    join(spawn(swallow, process.mm, 0, 2), spawn(process.store, page(0), "new"))
    read_back(process)
    end(machine, process)
