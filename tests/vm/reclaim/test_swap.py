"""Pages that go to swap and come back, beside everything else that may happen to them."""

from __future__ import annotations

import pytest
from vm_world import HEAP, assert_clean, run_alone

from sugarbush.concurrency import Settings, check, explore, join, spawn
from sugarbush.stress.kit.checks import model_observers
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.access.user import user_load, user_store
from sugarbush.vm.frames.swap import swapon
from sugarbush.vm.objects.layout import PAGE_SIZE
from sugarbush.vm.objects.mm_types import MM_ANONPAGES, MM_SWAPENTS, Memory, MmStruct
from sugarbush.vm.reclaim.migrate import compact_zone
from sugarbush.vm.reclaim.vmscan import kswapd
from sugarbush.vm.syscalls.brk import sys_brk
from sugarbush.vm.syscalls.fork import sys_fork
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import Machine, boot

PAGES = 2
FRAMES = 10
STRATEGIES = ["pct", "random"]


def started(*, slots: int = 4, synchronous: bool = False) -> tuple[Machine, MmStruct]:
    machine = boot(FRAMES)
    swapon(machine.memory, slots, synchronous=synchronous)
    mm = machine.add_mm("cc1", HEAP)
    sys_brk(mm, HEAP + PAGES * PAGE_SIZE)
    for number in range(PAGES):
        user_store(mm, HEAP + number * PAGE_SIZE, f"token {number}")
    return machine, mm


def ended(machine: Machine, *mms: MmStruct) -> None:
    for mm in mms:
        exit_mmap(mm)
        machine.remove_mm(mm)
    area = machine.memory.swap
    assert area is not None
    check(all(slot.count == 0 for slot in area.slots), "no entry names a slot any more")


def contents(mm: MmStruct) -> list[object]:
    return [user_load(mm, HEAP + number * PAGE_SIZE) for number in range(PAGES)]


@pytest.mark.parametrize("synchronous", [False, True])
def test_a_page_goes_out_and_comes_back(synchronous: bool) -> None:
    def program() -> None:
        machine, mm = started(synchronous=synchronous)
        check(kswapd(machine.memory, PAGES) == PAGES, "both are freed")
        check(len(machine.memory.free_list) == FRAMES, "nothing is in memory")
        check((mm.rss[MM_ANONPAGES], mm.rss[MM_SWAPENTS]) == (0, PAGES), "both are counted as swapped out")
        user_store(mm, HEAP, "new")
        check(contents(mm) == ["new", "token 1"], "both are there again")
        check(mm.rss[MM_SWAPENTS] == 0, "none is swapped out")
        ended(machine, mm)

    assert_clean(run_alone(program))


@pytest.mark.parametrize(("slots", "kept"), [(4, True), (3, False)])
def test_a_page_that_was_read_keeps_its_slot_unless_slots_are_scarce(slots: int, kept: bool) -> None:
    def program() -> None:
        machine, mm = started(slots=slots)
        kswapd(machine.memory, PAGES)
        check(user_load(mm, HEAP) == "token 0", "the page is there again")
        area = machine.memory.swap
        assert area is not None
        check(
            area.slots[0].has_cache is kept,
            "it is in the swap cache if no more than half of the slots are taken",
        )
        ended(machine, mm)

    assert_clean(run_alone(program))


def test_without_a_free_slot_pages_stay() -> None:
    def program() -> None:
        machine, mm = started(slots=1)
        check(kswapd(machine.memory, PAGES) == 1, "one finds a slot")
        check(contents(mm) == ["token 0", "token 1"], "both can be read")
        ended(machine, mm)

    assert_clean(run_alone(program))


def test_fork_shares_what_is_in_swap() -> None:
    def program() -> None:
        machine, mm = started()
        kswapd(machine.memory, PAGES)
        child = sys_fork(machine, mm, "as")
        assert child is not None
        user_store(child, HEAP, "child")
        check(contents(mm) == ["token 0", "token 1"], "the parent does not see the child's store")
        user_store(mm, HEAP + PAGE_SIZE, "parent")
        check(contents(child) == ["child", "token 1"], "nor the child the parent's")
        ended(machine, mm, child)

    assert_clean(run_alone(program))


def reclaim_twice(memory: Memory) -> None:
    kswapd(memory, PAGES)
    kswapd(memory, PAGES)


@pytest.mark.parametrize("executions", [40, pytest.param(120, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("synchronous", [False, True])
def test_reclaim_beside_stores_and_compaction(strategy: str, synchronous: bool, executions: int) -> None:
    def use(mm: MmStruct) -> None:
        user_store(mm, HEAP, "one")
        check(user_load(mm, HEAP) == "one", "a thread reads back what it wrote")
        user_store(mm, HEAP, "two")

    def program() -> None:
        machine, mm = started(synchronous=synchronous)
        join(
            spawn(use, mm),
            spawn(user_load, mm, HEAP),
            spawn(reclaim_twice, machine.memory, name="kswapd"),
            spawn(compact_zone, machine.memory, name="kcompactd"),
        )
        check(contents(mm) == ["two", "token 1"], "the last stores are there")
        ended(machine, mm)

    assert_clean(run_alone(program, executions=executions, strategy=strategy))


@pytest.mark.parametrize("executions", [40, pytest.param(120, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_reclaim_beside_fork_and_trimming(strategy: str, executions: int) -> None:
    def program() -> None:
        machine, mm = started()
        child, _, _ = join(
            spawn(sys_fork, machine, mm, "as"),
            spawn(reclaim_twice, machine.memory, name="kswapd"),
            spawn(sys_brk, mm, HEAP + PAGE_SIZE),
        )
        check(user_load(mm, HEAP) == user_load(child, HEAP) == "token 0", "both have the page")
        user_store(child, HEAP, "child")
        check(user_load(mm, HEAP) == "token 0", "the parent does not see the child's store")
        ended(machine, mm, child)

    assert_clean(run_alone(program, executions=executions, strategy=strategy))


@pytest.mark.parametrize("executions", [40, pytest.param(120, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_processes_swap_one_page_in(strategy: str, executions: int) -> None:
    def program() -> None:
        machine, mm = started()
        child = sys_fork(machine, mm, "as")
        assert child is not None
        kswapd(machine.memory, PAGES)
        join(
            spawn(user_store, mm, HEAP, "parent"),
            spawn(user_store, child, HEAP, "child"),
            spawn(kswapd, machine.memory, PAGES),
        )
        check((user_load(mm, HEAP), user_load(child, HEAP)) == ("parent", "child"), "each has its own")
        ended(machine, mm, child)

    assert_clean(run_alone(program, executions=executions, strategy=strategy))


@pytest.mark.parametrize("strategy", ["pct", "random"])
def test_under_the_lock_of_the_vma_a_fault_on_a_swapped_page_starts_again_with_mmap_lock(
    strategy: str,
) -> None:
    def program() -> None:
        machine, process = heap(2, slots=4, era="6.6")
        kswapd(machine.memory, 1)
        join(*[spawn(process.load, page(0), name=name) for name in ("one", "two")])
        process.exit(machine)

    settings = Settings(observers=model_observers)
    assert_clean(explore(program, strategy=strategy, executions=150, settings=settings))
