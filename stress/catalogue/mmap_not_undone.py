"""A driver or file system is asked when a file of its is mapped (f_op->mmap), and what it sets up for the mapping
it gives back when it is told of the end (vm_ops->close). After it was asked, nodes for the tree of VMAs had to be
had, and where memory was missing mmap() failed and freed the VMA, without a word to the driver. syzbot found the
reservation map of a file in hugetlbfs that nobody freed (hugetlb_reserve_pages()).

The fix called close() on that way out. It was one of many ways out of mmap_region() that had to undo what hooks had
done, and after several more such bugs v6.12 went the other way (5de195060b2e, CVE-2024-53096): all memory is had
before the driver is asked, so that nothing fails afterwards. The model is as v6.12; the patch asks first.
"""

from __future__ import annotations

from sugarbush.concurrency import Kind, KmemCache
from sugarbush.lockdep.model import GFP_KERNEL
from sugarbush.stress.kit import bug, patch
from sugarbush.stress.workloads.mappings import plenty
from sugarbush.tree import NoMemory
from sugarbush.vm.files import fput
from sugarbush.vm.objects import (
    ENOMEM,
    PAGE_SIZE,
    AddressSpace,
    FileOperations,
    MmStruct,
    VmArea,
    VmOperations,
)
from sugarbush.vm.syscalls import MAP_SHARED, PROT_READ, mmap, sys_mmap, undo_mmap, vma_link_reserved
from sugarbush.vm.vmas import boot, exit_mmap, mmap_file


@patch(mmap.mmap_new_file_vma)
def mmap_new_file_vma(mm: MmStruct, vma: VmArea, _flags: int) -> int:
    """The driver is asked first; then memory is had, or the VMA freed."""
    file = vma.vm_file
    assert file is not None
    error = mmap_file(file, vma)
    if error:
        undo_mmap(mm, vma)
        return error
    mas = mm.mm_mt.cursor(vma.vm_start, vma.vm_end - 1)
    try:
        mas.preallocate(vma, GFP_KERNEL)
    except NoMemory:
        undo_mmap(mm, vma)
        return ENOMEM
    vma_link_reserved(mas, vma)
    return 0


class Reservation:
    """The pages that a file system keeps for one mapping."""


reservation_cache = KmemCache("resv_map", Reservation)


def reserve(vma: VmArea) -> int:
    """The hook of the file system: as hugetlbfs_file_mmap(), it keeps something for the mapping until its end."""
    made = reservation_cache.alloc(GFP_KERNEL)
    if made is None:
        return ENOMEM
    vma.vm_ops = VmOperations(close=lambda _: reservation_cache.free(made))
    return 0


@bug(
    "mmap-not-undone",
    id="Z82m",
    title="what a file system has reserved for a mapping that fails is not given back",
    year=2022,
    versions="up to 6.1-rc2",
    fix="5789151e48ac: mm/mmap: undo ->mmap() when mas_preallocate() fails",
    evidence="read",
    kind=Kind.LEAK,
    check="leak",
    patches=(mmap_new_file_vma,),
    tasks=1,
    preemptions=0,
    faults=1,
)
def mmap_not_undone() -> None:
    """Map a file whose file system keeps something for each mapping, while memory is short."""
    with plenty():
        machine = boot(2)
        mm = machine.add_mm("cc1", 0x10_0000)
        file = AddressSpace("hugetlbfs", 1)
        file.f_op = FileOperations(reserve)
    sys_mmap(mm, 0, PAGE_SIZE, PROT_READ, MAP_SHARED, file)
    with plenty():
        exit_mmap(mm)
        machine.remove_mm(mm)
        fput(machine.memory, file)
