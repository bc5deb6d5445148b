"""When a VMA that nobody has written to swallows pages of a neighbour, it gets the neighbour's anon_vma first, and is
put into its trees. Then memory for the tree of VMAs is reserved. If there was none, the merge was given up, and the VMA
kept the anon_vma, as if it had been written to.

Nothing breaks at once. But a VMA with an anon_vma becomes one with no VMA that has another one, so a process that got
over the shortage goes on with more VMAs than it needs, of which it may have only so many; and a VMA that is moved keeps
the page offset of the old place. With the fix whoever fails takes back what was inherited. The workload asks for that,
with memory that is short for one moment.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, check
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, READ, end, fill, map_pages, page, plenty, read_back
from sugarbush.vm.objects import ENOMEM, PAGE_SIZE, VmArea
from sugarbush.vm.syscalls import sys_mprotect, sys_mremap
from sugarbush.vm.vmas import adjust, boot


@patch(adjust.give_back_anon_vma)
def give_back_anon_vma(_inherited: list[VmArea]) -> None:
    """It stays."""


@bug(
    "merge-leaves-anon-vma",
    id="Z74",
    title="a merge that fails leaves an anon_vma with a VMA that nobody has written to",
    year=2023,
    versions="6.1 to 6.5",
    fix="824135c46b00: mmap: fix error paths with dup_anon_vma()",
    evidence="as far as we know",
    kind=Kind.CHECK,
    patches=(give_back_anon_vma,),
    tasks=1,
    preemptions=0,
    faults=1,
)
def merge_leaves_anon_vma() -> None:
    """Grow a mapping up to the next one while memory is short, then make it like the one before it."""
    machine = boot(6)
    process = Process(machine.add_mm("java", BASE))
    mm = process.mm
    with plenty():
        for number in (0, 3):
            map_pages(process, number, 1)
            fill(process, number)
        assert sys_mprotect(mm, page(0), PAGE_SIZE, READ) == 0
        map_pages(process, 1, 1)
    if sys_mremap(mm, page(1), PAGE_SIZE, 2 * PAGE_SIZE, 0) == ENOMEM:
        with plenty():
            assert sys_mprotect(mm, page(1), PAGE_SIZE, READ) == 0
            check(mm.map_count == 2, "what nobody has written to becomes one with the VMA below it")
    with plenty():
        read_back(process)
        end(machine, process)
