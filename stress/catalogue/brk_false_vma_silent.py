"""The same function as in `brk-false-vma`, and what Hugh Dickins suspected behind a compiler that was killed after
seven hours: between the second walk of the migration, which leaves the entry behind, and the zap that meets it, the
frame is given to somebody else, who holds its page lock at that moment. The kernel asserts that the page is locked,
which it is, and goes on as if it were the page that the entry once meant.

He called it a guess, and nobody has shown that it happened that day. What is shown here is that it can: three tasks,
with the assertion of the kernel and the check of the cause switched off, and the generation of the frame, which no
kernel has, to tell the two pages apart.
"""

from __future__ import annotations

from sugarbush.concurrency import Completion, Kind, join, spawn
from sugarbush.stress.catalogue.brk_false_vma import do_brk_munmap
from sugarbush.stress.kit import bug
from sugarbush.stress.workloads.pages import compact_page, heap, page
from sugarbush.vm.files import filemap_read, invalidate_mapping_page
from sugarbush.vm.objects import AddressSpace


@bug(
    "brk-false-vma-silent",
    id="Z01s",
    title="the stale entry of brk's false VMA is taken for a page of the frame's next owner",
    year=2022,
    versions="linux-next, v9 to v11 of the maple tree series",
    fix="v12 of the series: do_brk_munmap() calls do_mas_align_munmap()",
    evidence="read",
    kind=Kind.BUG_ON,
    check="migration-entry-owner",
    patches=(do_brk_munmap,),
    tasks=3,
    preemptions=3,
    without=("coverage", "migration-entry-locked", "rss", "private-data"),
)
def brk_false_vma_silent() -> None:
    """Trim a heap while one of its pages is being moved, and a file is read into the frame that it leaves."""
    machine, process = heap(3, frames=6)
    memory = machine.memory
    file, io = AddressSpace("input.c"), Completion("bio")
    compaction = spawn(compact_page, memory, memory.mem_map[1], name="kcompactd")

    def read(index: int) -> object:
        io.wait()
        return index

    def read_file() -> None:
        join(compaction)
        filemap_read(memory, file, 0, read)

    reader = spawn(read_file, name="reader")
    join(spawn(process.brk, page(1), name="cc1"))
    io.complete()
    join(reader)
    process.load(page(0))
    invalidate_mapping_page(memory, file, 0)
    process.exit(machine)
