"""Compaction moves large folios whole or in parts, and reclaim swaps them out page by page; who holds one keeps it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from vm_world import HEAP, assert_clean, run_alone

from sugarbush.concurrency import check, join, spawn
from sugarbush.stress.kit.process import Process
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.access.gup import pin_user_page, unpin_user_page
from sugarbush.vm.access.user import user_load
from sugarbush.vm.frames.page_alloc import folio_put
from sugarbush.vm.objects.folio import folio_get
from sugarbush.vm.objects.pgtable_types import PageTable, Present, Swap
from sugarbush.vm.reclaim.huge_split import deferred_split_scan, split_huge_page
from sugarbush.vm.reclaim.migrate import compact_zone
from sugarbush.vm.reclaim.vmscan import kswapd
from sugarbush.vm.vmas.machine import Machine

STRATEGIES = ["pct", "random"]


@pytest.fixture(params=[2, 4])
def ptrs(request: pytest.FixtureRequest) -> int:
    """How many pages a huge page has."""
    size: int = request.param
    return size


def started(ptrs: int, *, frames: int = 8, slots: int = 8, thp_swap: bool = False) -> tuple[Machine, Process]:
    """Two huge pages, the first on a machine with room for `frames` of them."""
    return heap(
        2 * ptrs,
        frames=frames * ptrs,
        slots=slots * ptrs,
        huge=True,
        thp_swap=thp_swap,
        ptrs_per_pte=ptrs,
    )


def ended(machine: Machine, *processes: Process) -> None:
    """What was written is read back, and nothing is left of the processes."""
    for process in processes:
        for address in sorted(process.written):
            process.load(address)
        process.check_resident()
    for process in processes:
        process.exit(machine)
    check(len(machine.memory.free_list) == len(machine.memory.mem_map), "all frames are free")
    area = machine.memory.swap
    check(area is None or all(slot.free for slot in area.slots), "all slots are free")


def test_compaction_leaves_them_alone_unless_it_is_for_more_still(ptrs: int) -> None:
    def program() -> None:
        machine, process = started(ptrs)
        check(compact_zone(machine.memory) == 0, "as v6.1 does")
        check(compact_zone(machine.memory, alloc_contig=True) == 2, "both")
        pmds = [process.mm.pmds[index] for index in sorted(process.mm.pmds)]
        check(
            [pmd.pfn for pmd in pmds if isinstance(pmd, Present)] == [7 * ptrs, 6 * ptrs],
            "to the highest frames",
        )
        ended(machine, process)

    assert_clean(run_alone(program))


def test_where_no_row_of_frames_is_free_it_moves_in_parts(ptrs: int) -> None:
    def program() -> None:
        machine, process = started(ptrs, frames=4)
        other = Process(machine.add_mm("cc2", HEAP))
        other.brk(page(2 * ptrs))
        for number in range(2 * ptrs):
            other.store(page(number), "in the way")
        other.dontneed(page(1), ptrs - 1)
        other.dontneed(page(ptrs + 1), ptrs - 1)
        check(compact_zone(machine.memory, alloc_contig=True) > 1, "page by page")
        check(isinstance(process.mm.pmds[HEAP // process.mm.pmd_size], PageTable), "so it is huge no more")
        ended(machine, process, other)

    assert_clean(run_alone(program))


def test_one_that_is_mapped_in_parts_moves_whole(ptrs: int) -> None:
    def program() -> None:
        machine, process = started(ptrs)
        process.dontneed(page(1), 1)
        folio = machine.memory.mem_map[0]
        check(folio.order > 0 and isinstance(process.mm.pmds[HEAP // process.mm.pmd_size], PageTable), "cut")
        check(compact_zone(machine.memory, alloc_contig=True) == 2, "both")
        check(folio.refcount == 0, "moved")
        ended(machine, process)

    assert_clean(run_alone(program))


def test_it_stays_while_somebody_else_refers_to_it(ptrs: int) -> None:
    def program() -> None:
        machine, process = started(ptrs)
        memory = machine.memory
        folio = memory.mem_map[0]
        folio_get(folio)
        check(compact_zone(memory, alloc_contig=True) == 1, "only the other one")
        check(kswapd(memory, 2 * ptrs) == ptrs, "only the other one")
        check(folio.order > 0 and folio.entire_mapcount == 1, "it is as it was")
        folio_put(memory, folio)
        check(kswapd(memory, ptrs) == ptrs, "now it goes")
        ended(machine, process)

    assert_clean(run_alone(program))


def test_swapped_out_page_by_page_and_read_back(ptrs: int) -> None:
    def program() -> None:
        machine, process = started(ptrs)
        check(kswapd(machine.memory, 2 * ptrs) == 2 * ptrs, "all of it")
        for pmd in process.mm.pmds.values():
            check(isinstance(pmd, PageTable) and all(isinstance(pte, Swap) for pte in pmd.entries), "swapped")
        ended(machine, process)

    assert_clean(run_alone(program))


def test_swapped_out_whole_where_a_row_of_slots_is_free(ptrs: int) -> None:
    def program() -> None:
        machine, process = started(ptrs, thp_swap=True, slots=1)
        check(kswapd(machine.memory, 2 * ptrs) == ptrs, "the second finds no slot")
        area = machine.memory.swap
        assert area is not None
        check([slot.count for slot in area.slots] == [1] * ptrs, "the first has all of them")
        ended(machine, process)

    assert_clean(run_alone(program))


def test_one_in_the_swap_cache_is_split_and_its_pages_keep_their_slots(ptrs: int) -> None:
    def program() -> None:
        machine, process = started(ptrs, thp_swap=True)
        memory = machine.memory
        folio = memory.mem_map[0]
        tails = folio.pages[1:]
        folio_get(folio)
        check(kswapd(memory, 2 * ptrs) == ptrs, "only the other one goes")
        folio_put(memory, folio)
        check(
            folio.order > 0 and all(page.swap is not None for page in folio.pages), "it is whole, and cached"
        )
        process.load(page(0))
        folio_get(folio)
        folio.lock.lock()
        check(split_huge_page(memory, folio) == 0, "split")
        folio.lock.unlock()
        folio_put(memory, folio)
        check(all(tail.swap is not None and tail.swap.folio is tail for tail in tails), "each in its slot")
        ended(machine, process)

    assert_clean(run_alone(program))


def test_a_pin_keeps_it_and_fork_copies_it(ptrs: int) -> None:
    def program() -> None:
        machine, process = started(ptrs)
        pinned = pin_user_page(process.mm, page(1))
        assert not isinstance(pinned, int)
        child = process.fork(machine, "as")
        assert child is not None
        compact_zone(machine.memory, alloc_contig=True)
        kswapd(machine.memory, 4 * ptrs)
        pinned.token = process.written[page(1)] = "device"
        unpin_user_page(machine.memory, pinned)
        ended(machine, process, child)

    assert_clean(run_alone(program))


def contig(machine: Machine) -> None:
    for _ in range(2):
        compact_zone(machine.memory, alloc_contig=True)


@pytest.mark.parametrize("executions", [30, pytest.param(150, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("thp_swap", [False, True])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_beside_fork_stores_reclaim_and_splits(
    ptrs: int, strategy: str, executions: int, *, thp_swap: bool
) -> None:
    def store(process: Process) -> None:
        process.store(page(0), "early")
        process.store(page(2 * ptrs - 1), "late")
        process.dontneed(page(1), 1)
        process.load(page(0))

    def fork(machine: Machine, process: Process) -> Process:
        child = process.fork(machine, "as")
        assert child is not None
        child.load(page(ptrs))
        child.store(page(ptrs), "child")
        child.load(page(ptrs))
        return child

    def program() -> None:
        machine, process = started(ptrs, thp_swap=thp_swap)
        join(
            spawn(store, process, name="cc1"),
            spawn(contig, machine, name="cma"),
            spawn(kswapd, machine.memory, ptrs, name="kswapd"),
            spawn(deferred_split_scan, machine.memory, name="shrinker"),
        )
        child, *_ = join(
            spawn(fork, machine, process, name="make"),
            spawn(contig, machine, name="cma"),
            spawn(kswapd, machine.memory, ptrs, name="kswapd"),
        )
        ended(machine, process, child)

    assert_clean(run_alone(program, executions=executions, strategy=strategy))


def pin_and_unpin(machine: Machine, process: Process) -> None:
    found = pin_user_page(process.mm, page(1))
    assert not isinstance(found, int)
    found.token = "device"
    found.head.dirty = True
    unpin_user_page(machine.memory, found)


@pytest.mark.parametrize("executions", [30, pytest.param(120, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    "other", [contig, lambda machine: kswapd(machine.memory, 2)], ids=["moved", "reclaimed"]
)
def test_a_pin_beside_a_fork(
    ptrs: int, strategy: str, other: Callable[[Machine], object], executions: int
) -> None:
    """The device's store is in the parent's page, wherever that has gone, and the child keeps a page of its own."""

    def program() -> None:
        machine, process = started(ptrs)
        child, *_ = join(
            spawn(process.fork, machine, "as", name="make"),
            spawn(pin_and_unpin, machine, process, name="device"),
            spawn(other, machine, name="other"),
        )
        process.written[page(1)] = "device"
        assert child is not None
        child.written[page(1)] = user_load(child.mm, page(1))
        check(child.written[page(1)] in ("cc1:1", "device"), "of before or after the device's store")
        ended(machine, process, child)

    assert_clean(run_alone(program, executions=executions, strategy=strategy))
