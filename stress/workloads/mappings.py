"""What the workloads on mappings share: making them, filling them, and going away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sugarbush.concurrency.lowlevel import active
from sugarbush.stress.kit import Process
from sugarbush.vm.access import user_load
from sugarbush.vm.objects import PAGE_SIZE, AddressSpace, MmStruct
from sugarbush.vm.spaces import mmap_write_lock, mmap_write_unlock, vma_lookup
from sugarbush.vm.syscalls import MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, MAP_SHARED, sys_mmap
from sugarbush.vm.vmas import Machine, adjust, exit_mmap

BASE = 0x10_0000
"""Where the workloads map things."""
READ = 1
READ_WRITE = 3


def page(number: int) -> int:
    """The address of a page, counted from `BASE`."""
    return BASE + number * PAGE_SIZE


def map_pages(process: Process, number: int, pages: int, *, prot: int = READ_WRITE, extra: int = 0) -> None:
    """Map so much private memory there, whatever was there before; `extra` are further MAP_ flags."""
    flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | extra
    result = sys_mmap(process.mm, page(number), pages * PAGE_SIZE, prot, flags)
    assert result == page(number)


def map_file(
    process: Process, file: AddressSpace, number: int, pages: int, *, first: int = 0, shared: bool = False
) -> None:
    """Map so many pages of `file` there, from page `first` of it on."""
    flags = (MAP_SHARED if shared else MAP_PRIVATE) | MAP_FIXED
    result = sys_mmap(process.mm, page(number), pages * PAGE_SIZE, READ_WRITE, flags, file, first * PAGE_SIZE)
    assert result == page(number)


def fill(process: Process, number: int, pages: int = 1) -> None:
    """Write to the pages, each something else."""
    for one in range(number, number + pages):
        process.store(page(one), f"{process.name}:{one}")


def read_back(process: Process) -> None:
    """Look at all that was written."""
    for address in sorted(process.written):
        process.load(address)


def touch(process: Process, number: int, pages: int = 1) -> None:
    """Read the pages, whatever is in them."""
    for one in range(number, number + pages):
        user_load(process.mm, page(one))


def swallow(mm: MmStruct, lower: int, upper: int) -> None:
    """Map what lies between the VMAs at two pages: the lower one grows over the gap, and over the upper one.

    If the two have pages of their own already they stay two, as any caller of vma_expand() sees to.
    """
    mmap_write_lock(mm)
    below, above = vma_lookup(mm, page(lower)), vma_lookup(mm, page(upper))
    assert below is not None
    assert above is not None
    if below.anon_vma is None or below.anon_vma is above.anon_vma:
        adjust.vma_expand(below, below.vm_start, above.vm_end, below.vm_pgoff, above)
    mmap_write_unlock(mm)


@contextmanager
def plenty() -> Iterator[None]:
    """No allocation fails by choice inside: what may fail is what a workload is about. For when no other task runs."""
    rt = active.runtime
    if rt is None:
        yield
        return
    kept, rt.faults = rt.faults, 0
    try:
        yield
    finally:
        rt.faults = kept


def end(machine: Machine, *processes: Process) -> None:
    """The processes exit."""
    for process in processes:
        exit_mmap(process.mm)
        machine.remove_mm(process.mm)
