"""When a mapping is moved so that it ends where a mapping of the same file begins, the mapping grows down
over it (case 3 of the drawing above vma_merge()). The mapping then begins with an earlier page of the file, so
vm_pgoff goes down, too. v6.3 had rewritten the merge, and forgot that: the mapping covered the new addresses, but
with the number of its first page as it was. All of the file appeared shifted, and rpm, which moves mappings of its
database about, segfaulted on build machines. Jiri Slaby bisected it to the rewrite.

The fix takes the pages that the mapping grows by off its vm_pgoff, in case 8 as well, where that changes nothing.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, check
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, end, map_file, page
from sugarbush.vm.access import user_load
from sugarbush.vm.files import fput
from sugarbush.vm.objects import AddressSpace, VmArea
from sugarbush.vm.vmas import boot, inherit_anon_vma, merge, vma_adjust


@patch(merge._grow_down)
def grow_down(following: VmArea, current: VmArea | None, start: int, pgoff: int) -> VmArea | None:
    """`following` grows down to `start`, but begins with the page of the file with which it began before."""
    if current is not None and not inherit_anon_vma(following, current):
        return None
    removed = () if current is None else (current,)
    if current is None:
        pgoff = following.vm_pgoff
    error = vma_adjust(following, start, following.vm_end, pgoff, removed=removed)
    return None if error else following


@bug(
    "merge-pgoff",
    id="Z63",
    title="a file mapping grows down, and shows the file shifted",
    year=2023,
    versions="v6.3 to v6.3.2",
    fix="7e7757876f25: mm/mremap: fix vm_pgoff in vma_merge() case 3",
    evidence="read",
    kind=Kind.CHECK,
    patches=(grow_down,),
    tasks=1,
    preemptions=0,
    era="6.6",
)
def merge_pgoff() -> None:
    """Map a file in two parts, move the first one to right below the second, and read all of it."""
    machine = boot(6, "6.6")
    process = Process(machine.add_mm("rpm", BASE))
    file = AddressSpace("Packages.db", 4)
    map_file(process, file, 8, 4, shared=True)
    for number in range(4):
        process.store(page(8 + number), f"record {number}")
    map_file(process, file, 2, 2, first=2, shared=True)
    map_file(process, file, 16, 2, shared=True)
    process.mremap(page(16), 2, page(0))
    for number in range(4):
        record = user_load(process.mm, page(number))
        check(record == f"record {number}", f"page {number} of the mapping shows page {number} of the file")
    end(machine, process)
    fput(machine.memory, file)
