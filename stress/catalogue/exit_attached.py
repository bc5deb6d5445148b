"""Since v6.15 a VMA that is in a tree has a reference of its own, and the memory of a VMA that is freed may be used
again at once. A task of another process that has an old pointer to that memory is kept out by the count being 0.
munmap() sees to that: it detaches each VMA before it frees it. The end of a process did not. Nobody of that process
was left who could find the VMAs, so there was no need before.

The series that brought the count has a patch for it, so no release was without. Without it the VMA is freed with a
count of 1, and whoever comes by with an old pointer gets a reference to free memory. The kernel asserts that it is
0.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, end, fill, map_pages
from sugarbush.vm.objects import MmStruct
from sugarbush.vm.vmas import boot, tear_down_as_reader_first
from sugarbush.vm.vmas import exit as vm_exit


@patch(vm_exit.tear_down_and_detach)
def tear_down_and_detach(mm: MmStruct) -> None:
    """As before v6.15."""
    tear_down_as_reader_first(mm)


@bug(
    "exit-attached",
    id="Z87",
    title="the VMAs of a process that ends are freed while they are attached",
    year=2025,
    versions="none; the series that became v6.15",
    fix="fe605930f074: mm: mark vmas detached upon exit",
    evidence="as far as we know",
    kind=Kind.BUG_ON,
    check="vma-refcount",
    patches=(tear_down_and_detach,),
    tasks=1,
    preemptions=0,
    era="6.15",
)
def exit_attached() -> None:
    """A process maps something and ends."""
    machine = boot(8, "6.15")
    process = Process(machine.add_mm("true", BASE))
    map_pages(process, 0, 1)
    fill(process, 0)
    end(machine, process)
