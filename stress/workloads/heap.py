"""Loads on the heap, after well-known ones: what they do to an address space, with compaction beside them.

- brk1: will-it-scale, tests/brk1.c: a page more, a page less, never touched.
- page_test: AIM9: a heap from which 64 KiB are cut and grown back in pages, again and again.
- the brk stressor of stress-ng (stress-brk.c): seven pages more, each touched, the same end once, one page less.

Each process has its own address space and is one task. Where pages are touched, kcompactd moves them meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable

from sugarbush.concurrency import Task, join, spawn
from sugarbush.stress.kit import Process
from sugarbush.vm.objects import PAGE_SIZE
from sugarbush.vm.reclaim import compact_zone
from sugarbush.vm.vmas import Machine, boot, exit_mmap

HEAP = 0x10_0000
_GROWS = 7
_SPARE = 2
"""Frames beyond those that the processes can fill, for the pages that are being moved."""


def grow_and_shrink(process: Process, rounds: int) -> None:
    """brk1: the heap a page larger, a page smaller."""
    for _ in range(rounds):
        process.brk(HEAP + PAGE_SIZE)
        process.brk(HEAP)


def cut_and_regrow(process: Process, rounds: int, pages: int) -> None:
    """page_test: cut `pages` pages off, and let the heap grow back page by page, touching each."""
    process.brk(HEAP + 2 * pages * PAGE_SIZE)
    for number in range(rounds):
        process.brk(HEAP + pages * PAGE_SIZE)
        for page in range(pages, 2 * pages):
            process.brk(HEAP + (page + 1) * PAGE_SIZE)
            process.store(HEAP + page * PAGE_SIZE, f"{process.name}:{number}:{page}")
    for page in range(pages, 2 * pages):
        process.load(HEAP + page * PAGE_SIZE)
    process.check_resident()


def stress_brk(process: Process, rounds: int) -> None:
    """stress-ng's brk: seven pages more, each touched; the same end; one page less."""
    end = HEAP
    for number in range(rounds):
        for _ in range(_GROWS):
            end = process.brk(end + PAGE_SIZE)
            process.store(end - PAGE_SIZE, f"{process.name}:{number}:{end:#x}")
        process.brk(end)
        end = process.brk(end - PAGE_SIZE)
    for address in sorted(process.written):
        process.load(address)
    process.check_resident()


def run_processes(count: int, frames: int, work: Callable[[Process], None], compactions: int) -> None:
    """Run `work` in so many processes, with as many rounds of compaction beside them; then end them all."""
    machine = boot(frames + _SPARE)
    processes = [Process(machine.add_mm(f"proc{number}", HEAP)) for number in range(count)]
    tasks = [spawn(work, process, name=process.name) for process in processes]
    tasks += _compaction(machine, compactions)
    join(*tasks)
    for process in processes:
        exit_mmap(process.mm)
        machine.remove_mm(process.mm)


def _compaction(machine: Machine, rounds: int) -> list[Task]:
    def kcompactd() -> None:
        for _ in range(rounds):
            compact_zone(machine.memory)

    return [spawn(kcompactd, name="kcompactd")] if rounds else []


def brk1(processes: int = 2, rounds: int = 3) -> None:
    """will-it-scale's brk1: heaps that grow and shrink by a page that nobody touches."""
    run_processes(processes, 0, lambda process: grow_and_shrink(process, rounds), 0)


def page_test(processes: int = 1, rounds: int = 2, pages: int = 3, compactions: int = 1) -> None:
    """AIM9's page_test: a heap is cut and grows back page by page, under compaction."""
    frames = processes * 2 * pages
    run_processes(processes, frames, lambda process: cut_and_regrow(process, rounds, pages), compactions)


def brk_stressor(processes: int = 1, rounds: int = 1, compactions: int = 1) -> None:
    """stress-ng's brk stressor: the heap grows by touched pages and shrinks, under compaction."""
    frames = processes * rounds * _GROWS
    run_processes(processes, frames, lambda process: stress_brk(process, rounds), compactions)
