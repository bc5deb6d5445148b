"""What workloads on UFFDIO_MOVE begin with: a heap that was written to, and as much room elsewhere for its pages."""

from __future__ import annotations

from sugarbush.stress.kit import Process
from sugarbush.stress.workloads.pages import heap
from sugarbush.vm.faults import userfaultfd
from sugarbush.vm.objects import PAGE_SIZE, VM_ACCOUNT, VM_DATA_FLAGS, UserfaultfdCtx
from sugarbush.vm.syscalls import do_mmap, userfaultfd_move
from sugarbush.vm.vmas import Machine

ROOM = 0x40_0000


def room(number: int) -> int:
    """The address of a page of the room."""
    return ROOM + number * PAGE_SIZE


def heap_and_room(
    pages: int, *, slots: int = 0, huge: bool = False
) -> tuple[Machine, Process, UserfaultfdCtx]:
    """A process as of `heap`, room for as many pages, and what its collector moves them with."""
    machine, process = heap(pages, slots=slots, huge=huge)
    assert do_mmap(process.mm, ROOM, pages * PAGE_SIZE, VM_DATA_FLAGS | VM_ACCOUNT) == ROOM
    return machine, process, userfaultfd(process.mm)


def move(process: Process, ctx: UserfaultfdCtx, source: int, target: int, pages: int = 1) -> int:
    """Move pages of `process`, which knows from then on where what it wrote is; gives how many bytes were moved."""
    moved = userfaultfd_move(ctx, target, source, pages * PAGE_SIZE)
    for offset in range(0, max(0, moved), PAGE_SIZE):
        if source + offset in process.written:
            process.written[target + offset] = process.written.pop(source + offset)
    return moved
