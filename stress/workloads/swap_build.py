"""A swapping build: the load under which the crash of July 2022 was met, boiled down.

A make forks compilers. Each compiler grows its heap, writes tokens, reads them back, trims the heap, and exits. There
are fewer frames than pages, so kswapd swaps out; kcompactd moves pages, small and huge; khugepaged makes rows of them
huge, and the deferred split takes such apart again. A compiler that reads back what it did not write is a failure
(corruption: the compiler that was killed); one that finds no memory at all is killed, as by the OOM killer, and that is
none.
"""

from __future__ import annotations

from sugarbush.concurrency import join, spawn
from sugarbush.stress.kit import Process
from sugarbush.vm.access import Killed
from sugarbush.vm.frames import swapon
from sugarbush.vm.huge import collapse_huge_page
from sugarbush.vm.objects import PAGE_SIZE, PTRS_PER_PTE, MmStruct
from sugarbush.vm.reclaim import compact_zone, deferred_split_scan, kswapd
from sugarbush.vm.syscalls import MADV_HUGEPAGE, sys_fork, sys_madvise
from sugarbush.vm.vmas import Machine, boot, exit_mmap

HEAP = 0x10_0000


class _Build:
    """What the make knows: the address spaces of its compilers, which live as long as khugepaged may look at them."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.mms: list[MmStruct] = []


def swap_build(
    compilers: int = 2,
    pages: int = 6,
    units: int = 1,
    frames: int = 14,
    slots: int = 24,
    rounds: int = 3,
    ptrs_per_pte: int = PTRS_PER_PTE,
) -> None:
    """Compilers grow and trim their heaps while pages are swapped, moved, made huge and split.

    A huge page has `ptrs_per_pte` pages; a heap of less than two of them has none.
    """
    machine = boot(frames, ptrs_per_pte=ptrs_per_pte)
    swapon(machine.memory, slots)
    build = _Build(machine)
    make = Process(machine.add_mm("make", HEAP))
    make.brk(HEAP + PAGE_SIZE)
    make.store(HEAP, "make:rules")
    daemons = [
        spawn(_reclaim, build, rounds, name="kswapd"),
        spawn(_compact, build, rounds, name="kcompactd"),
        spawn(_collapse, build, rounds, name="khugepaged"),
    ]
    tasks = [
        spawn(_compile, build, make, number, pages, units, name=f"cc{number}") for number in range(compilers)
    ]
    join(*tasks, *daemons)
    make.load(HEAP)
    exit_mmap(make.mm)
    for mm in [*build.mms, make.mm]:
        machine.remove_mm(mm)


def _compile(build: _Build, make: Process, number: int, pages: int, units: int) -> None:
    """One compiler: fork, then compile unit after unit, then exit."""
    mm = sys_fork(build.machine, make.mm, f"cc{number}")
    if mm is None:
        return
    build.mms.append(mm)
    compiler = Process(mm)
    compiler.written = dict(make.written)
    try:
        for unit in range(units):
            _compile_unit(compiler, unit, pages)
    except Killed:
        pass
    exit_mmap(mm)


def _compile_unit(compiler: Process, unit: int, pages: int) -> None:
    """Grow the heap and fill it, its first half with small pages; read it back; trim it twice, and read what is left.

    The first cut is a page, so it may go through a huge one.
    """
    advised = (HEAP & -compiler.mm.pmd_size) + compiler.mm.pmd_size
    end = compiler.brk(HEAP + pages * PAGE_SIZE)
    for page in range(1, pages):
        if page == pages // 2 + 1 and advised < end:
            sys_madvise(compiler.mm, advised, end - advised, MADV_HUGEPAGE)
        compiler.store(HEAP + page * PAGE_SIZE, f"{compiler.name}:{unit}:{page}")
    for kept in (pages, pages - 1, pages // 2):
        compiler.brk(HEAP + kept * PAGE_SIZE)
        for page in range(kept):
            compiler.load(HEAP + page * PAGE_SIZE)
    compiler.store(HEAP, f"{compiler.name}:{unit}:rules")


def _reclaim(build: _Build, rounds: int) -> None:
    for _ in range(rounds):
        kswapd(build.machine.memory, len(build.machine.memory.mem_map) // 2)


def _compact(build: _Build, rounds: int) -> None:
    """Move pages, in every second round the huge ones, too."""
    for number in range(rounds):
        compact_zone(build.machine.memory, alloc_contig=bool(number % 2))


def _collapse(build: _Build, rounds: int) -> None:
    """Collapse the heaps of the compilers that run, and split what nobody needs whole."""
    for number in range(rounds):
        for mm in list(build.mms):
            collapse_huge_page(mm, (HEAP & -mm.pmd_size) + (1 + number % 2) * mm.pmd_size)
        deferred_split_scan(build.machine.memory)
