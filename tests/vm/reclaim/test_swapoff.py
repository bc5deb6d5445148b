"""Taking the swap area away while pages are in it, beside everything that looks at its slots."""

from __future__ import annotations

import pytest
from vm_world import HEAP, assert_clean, assert_invariants, run_alone

from sugarbush.concurrency import ConcurrencyError, check, join, spawn
from sugarbush.concurrency.lowlevel import quiet
from sugarbush.stress.kit.process import Process
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.access.user import user_store
from sugarbush.vm.faults.uffd import userfaultfd_register, userfaultfd_writeprotect
from sugarbush.vm.frames.page_alloc import alloc_folio, folio_put
from sugarbush.vm.frames.swap import swapon
from sugarbush.vm.objects.errno import EINVAL, ENOMEM
from sugarbush.vm.objects.mm_types import MM_ANONPAGES, MM_SWAPENTS, MmStruct
from sugarbush.vm.objects.pgtable_types import (
    PTE_SOFT_DIRTY,
    PTE_SWP_KEPT,
    PTE_UFFD_WP,
    PageTable,
    Present,
    Swap,
)
from sugarbush.vm.objects.swap_area import SWP_USED, SwapArea
from sugarbush.vm.reclaim.swapping_off import inuse_pages, swapoff
from sugarbush.vm.reclaim.vmscan import kswapd
from sugarbush.vm.reclaim.zswap_writeback import zswap_shrink
from sugarbush.vm.vmas.machine import Machine


def area_of(machine: Machine) -> SwapArea:
    area = machine.memory.swap
    assert area is not None
    return area


def entry(mm: MmStruct, number: int) -> Present | Swap:
    with quiet():
        table = mm.pmds[page(number) // mm.pmd_size]
    assert isinstance(table, PageTable)
    found = table.entries[table.index(page(number))]
    assert isinstance(found, (Present, Swap))
    return found


def read_back(process: Process) -> None:
    for address in sorted(process.written):
        process.load(address)


@pytest.mark.parametrize("era", ["5.19", "6.1", "6.6"])
@pytest.mark.parametrize("how", ["", "synchronous", "zswap"])
def test_all_that_was_in_it_is_there_afterwards(era: str, how: str) -> None:
    def program() -> None:
        machine, process = heap(3, slots=8, era=era, synchronous=how == "synchronous", zswap=how == "zswap")
        child = process.fork(machine, "as")
        assert child is not None
        process.store(page(2), "own")
        check(kswapd(machine.memory, 4) == 4, "all four pages are out")
        child.load(page(0))  # and one is back, and cached
        check(swapoff(machine.memory) == 0, "gone")
        for one in (process, child):
            check((one.mm.rss[MM_ANONPAGES], one.mm.rss[MM_SWAPENTS]) == (3, 0), "all are present")
        check(area_of(machine).flags == 0, "nothing is left of it")
        check(machine.memory.mmlist == [], "nobody need be looked through")
        assert_invariants(machine)
        check(swapoff(machine.memory) == EINVAL, "there is none")
        check(kswapd(machine.memory, 4) == 0, "nothing can go out")
        swapon(machine.memory, 4)
        check(kswapd(machine.memory, 4) == 4, "now it can")
        for one in (process, child):
            read_back(one)
            one.exit(machine)
        check(inuse_pages(area_of(machine)) == 0, "nothing is left in the new one")

    assert_clean(run_alone(program))


def test_the_bits_of_an_entry_outlive_it_and_it_is_neither_accessed_nor_writable() -> None:
    def program() -> None:
        machine, process = heap(2, slots=4)
        userfaultfd_register(process.mm, HEAP)
        userfaultfd_writeprotect(process.mm, page(0), page(1), protect=True)
        kswapd(machine.memory, 2)
        for number, bits in ((0, PTE_UFFD_WP), (1, PTE_SOFT_DIRTY)):
            before = entry(process.mm, number)
            assert isinstance(before, Swap)
            table = process.mm.pmds[page(number) // process.mm.pmd_size]
            assert isinstance(table, PageTable)
            table.entries[table.index(page(number))] = Swap(before.slot, before.bits | bits)
        check(swapoff(machine.memory) == 0, "gone")
        for number, bits in ((0, PTE_UFFD_WP), (1, PTE_SOFT_DIRTY)):
            after = entry(process.mm, number)
            check(isinstance(after, Present) and after.bits & PTE_SWP_KEPT == bits, f"{after}")
            check(after.bits & ~PTE_SWP_KEPT == 1, "it may be read, and nothing else is said")
        userfaultfd_writeprotect(process.mm, page(0), page(1), protect=False)
        free = len(machine.memory.free_list)
        process.store(page(0), "new")
        check(len(machine.memory.free_list) == free, "the page is its process's alone, so it is not copied")
        read_back(process)
        process.exit(machine)

    assert_clean(run_alone(program))


def test_a_page_that_two_have_stays_shared() -> None:
    def program() -> None:
        machine, process = heap(1, slots=4)
        child = process.fork(machine, "as")
        assert child is not None
        kswapd(machine.memory, 1)
        swapoff(machine.memory)
        child.store(page(0), "child's")
        for one in (process, child):
            read_back(one)
            one.exit(machine)

    assert_clean(run_alone(program))


def test_without_memory_it_stays_and_nothing_is_lost() -> None:
    def program() -> None:
        machine, process = heap(3, frames=3, slots=4)
        kswapd(machine.memory, 3)
        taken = [alloc_folio(machine.memory) for _ in range(2)]
        check(swapoff(machine.memory) == ENOMEM, "one frame for three pages")
        area = area_of(machine)
        check(bool(area.flags & SWP_USED) and inuse_pages(area) == 2, "two are still in it")
        for folio in taken:
            assert folio is not None
            folio_put(machine.memory, folio)
        check(kswapd(machine.memory, 1) == 1, "slots are given away again")
        read_back(process)
        check(swapoff(machine.memory) == 0, "now there is room")
        read_back(process)
        process.exit(machine)

    assert_clean(run_alone(program))


def test_a_second_area_is_refused_in_words() -> None:
    def program() -> None:
        machine, process = heap(1, slots=4)
        with pytest.raises(ConcurrencyError, match="swapoff"):
            swapon(machine.memory, 4)
        process.exit(machine)

    assert_clean(run_alone(program))


@pytest.mark.parametrize("strategy", ["pct", "random"])
@pytest.mark.parametrize("how", ["", "synchronous", "zswap"])
def test_beside_faults_forks_exits_zaps_and_reclaim(strategy: str, how: str) -> None:
    def program() -> None:
        machine, process = heap(2, slots=4, synchronous=how == "synchronous", zswap=how == "zswap")
        child = process.fork(machine, "as")
        assert child is not None
        kswapd(machine.memory, 2)

        def use() -> None:
            process.store(page(0), "new")
            kswapd(machine.memory, 1)
            another = process.fork(machine, "ld")
            if another is not None:
                read_back(another)
                another.exit(machine)

        def leave() -> None:
            child.dontneed(page(1), 1)
            child.exit(machine)

        def off() -> None:
            result = swapoff(machine.memory)
            check(result in (0, ENOMEM), f"{result}")

        others = [spawn(zswap_shrink, machine.memory)] if how == "zswap" else []
        join(spawn(use), spawn(leave), spawn(off), *others)
        read_back(process)
        process.exit(machine)
        check(machine.memory.mmlist == [], "those who have ended are not looked through")

    assert_clean(run_alone(program, executions=15, strategy=strategy))


def test_two_at_once_take_it_away_once() -> None:
    results: list[int] = []

    def program() -> None:
        machine, process = heap(1, slots=2)
        kswapd(machine.memory, 1)
        both = join(*(spawn(swapoff, machine.memory) for _ in range(2)))
        results.append(sum(both))
        read_back(process)
        process.exit(machine)

    assert_clean(run_alone(program, executions=15, strategy="pct"))
    assert set(results) == {EINVAL}


def test_large_folios_come_back_from_the_swap_cache_page_by_page() -> None:
    def program() -> None:
        machine, process = heap(2, slots=4, huge=True, thp_swap=True)
        kswapd(machine.memory, 2)
        check(isinstance(entry(process.mm, 1), Swap), "it went out whole")
        join(spawn(swapoff, machine.memory), spawn(user_store, process.mm, page(1), "new"))
        process.written[page(1)] = "new"
        read_back(process)
        process.exit(machine)

    assert_clean(run_alone(program, executions=15))
