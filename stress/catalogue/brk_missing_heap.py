"""The brk() of the maple tree series looked up the VMA of the heap and asserted that there is one. But a process may
unmap its heap by munmap(), all of it or a part, and call brk() then: the process that the kernel must believe least of
all decided whether the assertion held.

No second task is needed. Found in July 2022, while the series was in linux-next; the fix leaves the heap as it is and
says no, as kernels did before.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, bug_on
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.mappings import BASE, end, page
from sugarbush.vm.objects import PAGE_SIZE, MmStruct
from sugarbush.vm.spaces import vma_find
from sugarbush.vm.syscalls import brk
from sugarbush.vm.vmas import boot, do_munmap


@patch(brk.shrink_brk)
def shrink_brk(mm: MmStruct, brk_: int, newbrk: int, oldbrk: int) -> int:
    """The heap is taken to be there."""
    vma = vma_find(mm, newbrk, oldbrk)
    bug_on(vma is None, "kernel BUG at mm/mmap.c: brk(): BUG_ON(brkvma == NULL)")
    assert vma is not None
    origin, mm.brk = mm.brk, brk_
    result = brk.do_brk_munmap(mm, vma, newbrk, oldbrk)
    if result < 0:
        mm.brk = origin
    return result


@bug(
    "brk-missing-heap",
    id="Z51",
    title="brk takes the heap to be there",
    year=2022,
    versions="linux-next, v10 of the maple tree series",
    fix="mmap: do not BUG_ON missing brk mapping, because userspace can unmap it",
    evidence="read",
    kind=Kind.BUG_ON,
    patches=(shrink_brk,),
    tasks=1,
    preemptions=0,
)
def brk_missing_heap() -> None:
    """Unmap the upper part of a heap by munmap, then trim it by brk."""
    machine = boot(4)
    process = Process(machine.add_mm("cc1", BASE))
    process.brk(page(3))
    process.store(page(0), "kept")
    assert do_munmap(process.mm, page(1), 2 * PAGE_SIZE) == 0
    process.brk(page(1))
    process.load(page(0))
    end(machine, process)
