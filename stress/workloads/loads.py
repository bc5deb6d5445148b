"""Loads on mappings, after well-known ones, with compaction beside them.

- page_fault1: will-it-scale: map, touch each page, unmap.
- the stressors of stress-ng: mremap (move and resize), fork (and write in both), madvise (drop and fill again).
- a server: threads that read, and a few that map and unmap beside them, all in one address space.
"""

from __future__ import annotations

from collections.abc import Callable

from sugarbush.concurrency import join, spawn
from sugarbush.stress.kit import Process
from sugarbush.stress.workloads.mappings import BASE, end, fill, map_pages, page, read_back, touch
from sugarbush.vm.objects import PAGE_SIZE, PTRS_PER_PTE
from sugarbush.vm.reclaim import compact_zone
from sugarbush.vm.syscalls import MADV_DONTNEED, MREMAP_MAYMOVE, sys_fork, sys_madvise, sys_mremap
from sugarbush.vm.vmas import Machine, boot, do_munmap, exit_mmap

_SPARE = 4
"""Frames beyond those that the load fills, for pages that are being moved or copied."""

Work = Callable[[Machine, Process], None]


def page_fault(processes: int = 2, rounds: int = 1, pages: int = 3, compactions: int = 1) -> None:
    """will-it-scale's page_fault1: map, touch every page, unmap."""

    def work(_machine: Machine, process: Process) -> None:
        for _ in range(rounds):
            map_pages(process, 0, pages)
            fill(process, 0, pages)
            read_back(process)
            unmap(process, 0, pages)

    _run(processes, pages, work, compactions)


def mremap_stressor(processes: int = 1, rounds: int = 2, pages: int = 3, compactions: int = 1) -> None:
    """stress-ng's mremap stressor: a mapping is shrunk and grown where it stands; what is kept stays."""

    def work(_machine: Machine, process: Process) -> None:
        map_pages(process, 0, pages)
        for _ in range(rounds):
            fill(process, 0, pages)
            sys_mremap(process.mm, page(0), pages * PAGE_SIZE, PAGE_SIZE, 0)
            forget(process, 1, pages - 1)
            sys_mremap(process.mm, page(0), PAGE_SIZE, pages * PAGE_SIZE, MREMAP_MAYMOVE)
            read_back(process)

    _run(processes, pages, work, compactions)


def fork_stressor(processes: int = 1, rounds: int = 1, pages: int = 2, compactions: int = 1) -> None:
    """stress-ng's fork stressor: parent and child write to what they share, and each reads its own."""

    def work(machine: Machine, process: Process) -> None:
        map_pages(process, 0, pages)
        fill(process, 0, pages)
        for number in range(rounds):
            mm = sys_fork(machine, process.mm, f"{process.name}.{number}")
            if mm is None:
                continue
            child = Process(mm)
            child.written = dict(process.written)
            task = spawn(_write_and_read, child, pages, name=child.name)
            _write_and_read(process, pages)
            join(task)
            exit_mmap(mm)
            machine.remove_mm(mm)

    _run(processes, pages * 2, work, compactions)


def madvise_stressor(processes: int = 1, rounds: int = 2, pages: int = 3, compactions: int = 1) -> None:
    """stress-ng's madvise stressor: pages are dropped by MADV_DONTNEED and read as zeroes."""

    def work(_machine: Machine, process: Process) -> None:
        map_pages(process, 0, pages)
        for _ in range(rounds):
            fill(process, 0, pages)
            sys_madvise(process.mm, page(1), (pages - 1) * PAGE_SIZE, MADV_DONTNEED)
            forget(process, 1, pages - 1)
            for number in range(pages):
                process.load(page(number))

    _run(processes, pages, work, compactions)


def server(
    readers: int = 3,
    writers: int = 1,
    rounds: int = 1,
    pages: int = 2,
    era: str = "6.1",
    ptrs_per_pte: int = PTRS_PER_PTE,
) -> None:
    """A server: many threads read one address space while a few map and unmap beside them."""
    machine = boot(pages + writers + _SPARE, era, ptrs_per_pte=ptrs_per_pte)
    process = Process(machine.add_mm("server", BASE))
    map_pages(process, 0, pages)
    fill(process, 0, pages)

    def read() -> None:
        for _ in range(rounds):
            for number in range(pages):
                process.load(page(number))

    def write(number: int) -> None:
        place = 2 * pages + 2 * number
        for _ in range(rounds):
            map_pages(process, place, 1)
            touch(process, place)
            do_munmap(process.mm, page(place), PAGE_SIZE)

    tasks = [spawn(read, name=f"reader{number}") for number in range(readers)]
    tasks += [spawn(write, number, name=f"writer{number}") for number in range(writers)]
    join(*tasks)
    end(machine, process)


def unmap(process: Process, number: int, pages: int) -> None:
    """Unmap the pages; what was written there is gone."""
    do_munmap(process.mm, page(number), pages * PAGE_SIZE)
    forget(process, number, pages)


def forget(process: Process, number: int, pages: int) -> None:
    """What was written to the pages is gone."""
    for one in range(number, number + pages):
        process.written.pop(page(one), None)


def _write_and_read(process: Process, pages: int) -> None:
    fill(process, 0, pages)
    read_back(process)


def _run(count: int, frames: int, work: Work, compactions: int) -> None:
    """Run the work in so many processes, with as many rounds of compaction beside them; then end them all."""
    machine = boot(count * frames + _SPARE)
    processes = [Process(machine.add_mm(f"proc{number}", BASE)) for number in range(count)]

    def kcompactd() -> None:
        for _ in range(compactions):
            compact_zone(machine.memory)

    tasks = [spawn(work, machine, process, name=process.name) for process in processes]
    tasks += [spawn(kcompactd, name="kcompactd")] if compactions else []
    join(*tasks)
    end(machine, *processes)
