"""Trimming a heap while its pages are being moved: the load of the mail of July 2022, boiled down.

Three tasks: a process trims its heap by brk, kcompactd moves every page once, and a page-cache reader takes and
gives back frames, so that a frame that was freed soon belongs to somebody else.
"""

from __future__ import annotations

from sugarbush.concurrency import join, spawn
from sugarbush.stress.kit import Process
from sugarbush.vm.files import filemap_read, invalidate_mapping_page
from sugarbush.vm.objects import PAGE_SIZE, PTRS_PER_PTE, AddressSpace, Memory
from sugarbush.vm.reclaim import compact_zone
from sugarbush.vm.vmas import boot, exit_mmap

HEAP = 0x10_0000
PAGES = 4
KEPT = 1
FRAMES = 9
READS = 2


def trim(process: Process) -> None:
    """Trim the heap, then look at all that is left of it."""
    process.brk(HEAP + KEPT * PAGE_SIZE)
    for page in range(KEPT):
        process.load(HEAP + page * PAGE_SIZE)
    process.check_resident()


def read_file(memory: Memory) -> None:
    """Read a file through the page cache, page by page, dropping each page afterwards."""
    file = AddressSpace("input.c")
    for index in range(READS):
        filemap_read(memory, file, index, lambda index: f"{file.name}:{index}")
        invalidate_mapping_page(memory, file, index)


def trim_under_compaction(era: str = "6.1", ptrs_per_pte: int = PTRS_PER_PTE) -> None:
    """The program: a heap of four pages, of which three are cut off; `era` names the kernel.

    A page-table page has `ptrs_per_pte` entries.
    """
    machine = boot(FRAMES, era, ptrs_per_pte=ptrs_per_pte)
    process = Process(machine.add_mm("cc1", HEAP))
    process.brk(HEAP + PAGES * PAGE_SIZE)
    for page in range(PAGES):
        process.store(HEAP + page * PAGE_SIZE, f"cc1:{page}")
    join(
        spawn(trim, process, name="cc1"),
        spawn(compact_zone, machine.memory, name="kcompactd"),
        spawn(read_file, machine.memory, name="reader"),
    )
    exit_mmap(process.mm)
    machine.remove_mm(process.mm)
