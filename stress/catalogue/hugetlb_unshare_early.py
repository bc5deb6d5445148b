"""Processes that map the same gigabyte of a file in hugetlbfs share the page-table page that maps it. If one of them
cuts its mapping inside that gigabyte it must leave the shared page first. This was done by vm_ops->may_split(), with
the locks of the file taken and given back, and only later were they taken again to cut the VMA. In between the VMA is
as large as ever. So a fault of another process may share its page-table page anew, or for the first time. Then the VMA
is cut, and a shared page-table page lies across the border of two VMAs: what one of them is about to change belongs to
other processes, too.

The fix calls hugetlb_split() where huge pages are split, in the middle of the cut, with the VMA and the file's mappings
locked for writing. As far as we know Jann Horn found it, and the call in may_split() had come with 6.2, and gone to
stable kernels; before that a cut did not leave the shared page at all.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, check, join, spawn
from sugarbush.stress.kit import Process, bug, patch
from sugarbush.stress.workloads.pages import HEAP
from sugarbush.vm.access import user_load
from sugarbush.vm.files import (
    HugetlbFile,
    fput,
    hstate_file,
    hugetlb_vma_lock_write,
    i_mmap_lock_write,
    i_mmap_unlock_write,
    is_vm_hugetlb_page,
)
from sugarbush.vm.huge import hugetlb_share, hugetlb_unshare_pmds, want_pmd_share
from sugarbush.vm.objects import PAGE_SIZE, VmArea
from sugarbush.vm.syscalls import (
    MADV_DONTFORK,
    MAP_FIXED,
    MAP_SHARED,
    PROT_READ,
    PROT_WRITE,
    sys_madvise,
    sys_mmap,
)
from sugarbush.vm.vmas import adjust, boot


def hugetlb_vm_op_split(vma: VmArea, address: int) -> None:
    """Leave the shared page-table page around `address`, under locks that are given back afterwards."""
    size = vma.vm_mm.pmd_size
    start = address & -size
    if address != start and want_pmd_share(vma, address):
        mapping, lock = hstate_file(vma), hugetlb_vma_lock_write(vma)
        assert lock is not None
        i_mmap_lock_write(mapping)
        hugetlb_unshare_pmds(vma, start, start + size)
        i_mmap_unlock_write(mapping)
        lock.up_write()


@patch(adjust.split_vma)
def split_vma(vma: VmArea, address: int, *, new_below: bool) -> int:
    """Ask the mapping whether it may be cut, and cut it then."""
    if is_vm_hugetlb_page(vma):
        hugetlb_vm_op_split(vma, address)
    result: int = split_vma.original(vma, address, new_below=new_below)
    return result


@patch(hugetlb_share.hugetlb_split)
def hugetlb_split(_vma: VmArea, _address: int) -> None:
    """Nothing is left to do: may_split() has done it."""


@bug(
    "hugetlb-unshare-early",
    id="Z45",
    title="a page table of hugetlb is shared again before the VMA is cut, and lies across the cut",
    year=2025,
    versions="6.2 to 6.15, and stable kernels",
    cve="CVE-2025-38084",
    fix="081056dc00a2: mm/hugetlb: unshare page tables during VMA split, not before",
    evidence="as far as we know",
    kind=Kind.INVARIANT,
    check="shared-in-vma",
    patches=(split_vma, hugetlb_split),
    tasks=2,
    preemptions=1,
)
def hugetlb_unshare_early() -> None:
    """Cut a mapping of huge pages while another process faults in its own mapping of them."""
    machine = boot(4)
    file = HugetlbFile("pool", 2)
    first, second = (Process(machine.add_mm(name, HEAP)) for name in ("postgres", "worker"))
    for process in (first, second):
        sys_mmap(process.mm, HEAP, process.mm.pmd_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file)
    first.store(HEAP, "row")
    join(
        spawn(
            sys_madvise,
            first.mm,
            HEAP + PAGE_SIZE,
            first.mm.pmd_size - PAGE_SIZE,
            MADV_DONTFORK,
            name="madvise",
        ),
        spawn(user_load, second.mm, HEAP, name="worker"),
    )
    first.load(HEAP)
    check(user_load(second.mm, HEAP) == "row", "the file has what was written to it")
    for process in (first, second):
        process.exit(machine)
    fput(machine.memory, file)
