"""Tasks in one address space: faults, migration, brk and munmap beside each other, and what is left at the end."""

from __future__ import annotations

import pytest
from vm_world import HEAP, Beside, assert_clean, assert_invariants, run_alone

from sugarbush.concurrency import check, join, spawn
from sugarbush.concurrency.lowlevel import LeakCheck, LockValidator, Threaded
from sugarbush.stress.cli.built_in import brk_standard
from sugarbush.stress.kit.checks import model_observers
from sugarbush.vm.access.user import Killed, user_load, user_store
from sugarbush.vm.frames.lru import isolate_lru_page
from sugarbush.vm.frames.page_alloc import folio_put
from sugarbush.vm.objects.layout import PAGE_SIZE, VM_DATA_FLAGS
from sugarbush.vm.objects.mm_types import MmStruct
from sugarbush.vm.reclaim.migrate import compact_zone, migrate_folio
from sugarbush.vm.reverse.anon_vma import (
    anon_vma_cache,
    anon_vma_lock_read,
    anon_vma_unlock_read,
    put_anon_vma,
)
from sugarbush.vm.reverse.rmap import folio_get_anon_vma, folio_lock_anon_vma_read
from sugarbush.vm.syscalls.brk import sys_brk
from sugarbush.vm.syscalls.mmap import do_mmap
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import Machine, boot
from sugarbush.vm.vmas.munmap import do_munmap

STRATEGIES = ["pct", "random"]
FRAMES = 12


def started(pages: int, *, filled: bool = True) -> tuple[Machine, MmStruct]:
    machine = boot(FRAMES)
    mm = machine.add_mm("cc1", HEAP)
    sys_brk(mm, HEAP + pages * PAGE_SIZE)
    if filled:
        for number in range(pages):
            user_store(mm, HEAP + number * PAGE_SIZE, f"token {number}")
    return machine, mm


def ended(machine: Machine, mm: MmStruct) -> None:
    exit_mmap(mm)
    machine.remove_mm(mm)
    for folio in machine.memory.mem_map:
        check((folio.refcount, folio.mapcount) == (0, 0), f"{folio.name} is free")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_threads_fault_on_the_same_page(strategy: str) -> None:
    """One of them maps it; what either wrote is there, and the second page is given back."""

    def program() -> None:
        machine, mm = started(2, filled=False)
        join(*(spawn(user_store, mm, HEAP, name, name=name) for name in ("one", "two")))
        check(user_load(mm, HEAP) in ("one", "two"), "a store is seen")
        check(len(machine.memory.free_list) == FRAMES - 1, "one page is in use")
        ended(machine, mm)

    assert_clean(run_alone(program, executions=200, strategy=strategy))


@pytest.mark.parametrize("executions", [60, pytest.param(200, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_threads_fault_on_neighbouring_pages(strategy: str, executions: int) -> None:
    """They share the page-table page and the anon_vma, each of which only one of them can install."""

    def program() -> None:
        machine, mm = started(2, filled=False)
        join(*(spawn(user_store, mm, HEAP + number * PAGE_SIZE, number) for number in (0, 1)))
        check(
            [user_load(mm, HEAP + number * PAGE_SIZE) for number in (0, 1)] == [0, 1], "both stores are seen"
        )
        ended(machine, mm)

    assert_clean(run_alone(program, executions=executions, strategy=strategy))


def test_migration_moves_the_token_to_another_frame() -> None:
    def program() -> None:
        machine, mm = started(3)
        memory = machine.memory
        sources = [folio for folio in memory.mem_map if folio.refcount]
        check(compact_zone(memory) == 3, "all three are moved")
        check([folio.refcount for folio in sources] == [0, 0, 0], "the old frames are free")
        check(
            [user_load(mm, HEAP + n * PAGE_SIZE) for n in range(3)] == [f"token {n}" for n in range(3)],
            "content",
        )
        ended(machine, mm)

    assert_clean(run_alone(program))


def test_a_page_that_somebody_else_refers_to_stays() -> None:
    def pinned() -> None:
        machine, mm = started(1)
        memory = machine.memory
        source = memory.mem_map[0]
        check(isolate_lru_page(memory, source), "it is on the LRU")
        source.refcount += 1
        memory.free_list.remove(memory.mem_map[5])
        memory.mem_map[5].refcount = 1
        check(migrate_folio(memory, source, memory.mem_map[5]) < 0, "a pinned page cannot be moved")
        check(user_load(mm, HEAP) == "token 0", "it is mapped again")
        source.refcount -= 1
        source.lru = True
        folio_put(memory, source)
        ended(machine, mm)

    assert_clean(run_alone(pinned))


@pytest.mark.parametrize("executions", [60, pytest.param(200, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_compaction_beside_faults_brk_and_munmap(strategy: str, executions: int) -> None:
    def grow_and_trim(mm: MmStruct) -> None:
        sys_brk(mm, HEAP + 5 * PAGE_SIZE)
        user_store(mm, HEAP + 4 * PAGE_SIZE, "new")
        sys_brk(mm, HEAP + 2 * PAGE_SIZE)

    def read_below(mm: MmStruct) -> None:
        check(user_load(mm, HEAP) == "token 0", "the first page keeps its content")
        user_store(mm, HEAP + PAGE_SIZE, "second")

    def program() -> None:
        machine, mm = started(3)
        join(
            spawn(grow_and_trim, mm),
            spawn(read_below, mm),
            spawn(compact_zone, machine.memory, name="kcompactd"),
        )
        check(user_load(mm, HEAP + PAGE_SIZE) == "second", "the last store is seen")
        ended(machine, mm)

    assert_clean(run_alone(program, executions=executions, strategy=strategy))


@pytest.mark.parametrize("executions", [60, pytest.param(200, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_exit_beside_compaction(strategy: str, executions: int) -> None:
    """The rmap walks may come while the pages, the page tables and the VMAs go."""

    def program() -> None:
        machine, mm = started(3)
        do_munmap(mm, HEAP + PAGE_SIZE, PAGE_SIZE)
        join(spawn(exit_mmap, mm, name="cc1"), spawn(compact_zone, machine.memory, name="kcompactd"))
        machine.remove_mm(mm)

    assert_clean(run_alone(program, executions=executions, strategy=strategy))


@pytest.mark.parametrize("executions", [60, pytest.param(200, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_munmaps_and_a_fault(strategy: str, executions: int) -> None:
    def touch(mm: MmStruct) -> None:
        try:
            user_store(mm, HEAP + 2 * PAGE_SIZE, "x")
        except Killed:
            check(mm.mmap_lock.free or mm.mmap_lock.exclusive is None, "a fault ends without the lock")

    def program() -> None:
        machine, mm = started(5)
        join(
            spawn(do_munmap, mm, HEAP + PAGE_SIZE, 2 * PAGE_SIZE),
            spawn(do_munmap, mm, HEAP + 2 * PAGE_SIZE, 2 * PAGE_SIZE),
            spawn(touch, mm),
        )
        check(mm.map_count == 2, "two ends are left")
        ended(machine, mm)

    assert_clean(run_alone(program, executions=executions, strategy=strategy))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_many_tasks_with_failing_allocations(strategy: str) -> None:
    def work(mm: MmStruct, number: int) -> None:
        try:
            user_store(mm, HEAP + number * PAGE_SIZE, number)
        except Killed:
            pass
        do_mmap(mm, HEAP + (20 + number) * PAGE_SIZE, 2 * PAGE_SIZE, VM_DATA_FLAGS)
        do_munmap(mm, HEAP + (number + 1) * PAGE_SIZE, PAGE_SIZE)

    def program() -> None:
        machine = boot(FRAMES)
        mm = machine.add_mm("cc1", HEAP)
        sys_brk(mm, HEAP + 4 * PAGE_SIZE)
        join(spawn(work, mm, 0), spawn(work, mm, 1), spawn(compact_zone, machine.memory))
        assert_invariants(machine)
        ended(machine, mm)

    assert_clean(run_alone(program, executions=200, strategy=strategy, faults=6))


@pytest.mark.parametrize("executions", [133, pytest.param(400, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_anon_vma_is_pinned_or_locked_only_while_its_page_is_mapped(
    strategy: str, executions: int
) -> None:
    """The last VMA goes while two tasks look up its anon_vma without holding anything; its memory is used again."""

    def trim(mm: MmStruct) -> None:
        sys_brk(mm, HEAP)
        do_mmap(mm, HEAP + 8 * PAGE_SIZE, PAGE_SIZE, VM_DATA_FLAGS)
        user_store(mm, HEAP + 8 * PAGE_SIZE, "again")

    def lock(machine: Machine) -> None:
        anon_vma = folio_lock_anon_vma_read(machine.memory.mem_map[0])
        if anon_vma is not None:
            check(anon_vma.root.rwsem.held_by_me(), "it comes locked")
            anon_vma_unlock_read(anon_vma)

    def pin(machine: Machine) -> None:
        folio = machine.memory.mem_map[0]
        if isolate_lru_page(machine.memory, folio):
            anon_vma = folio_get_anon_vma(folio)
            if anon_vma is not None:
                anon_vma_lock_read(anon_vma)
                anon_vma_unlock_read(anon_vma)
                put_anon_vma(anon_vma)
            folio_put(machine.memory, folio)

    def program() -> None:
        machine, mm = started(1)
        join(spawn(trim, mm), spawn(lock, machine), spawn(pin, machine))
        ended(machine, mm)

    assert anon_vma_cache.typesafe_by_rcu
    assert_clean(run_alone(program, executions=executions, strategy=strategy))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_model_runs_on_threads(seed: int) -> None:
    runtime = Threaded((LockValidator(), LeakCheck(), *model_observers()), noise=0.1, seed=seed)
    for _ in range(10):
        assert runtime.run(brk_standard.program).failure is None


def test_one_process_on_threads() -> None:
    def program() -> None:
        process = Beside(boot(FRAMES))
        for action in (("move_brk", 8, 0, 0), ("store", 4, 0, 0), ("unmap", 5, 1, 0), ("compact", 0, 0, 0)):
            process.do(action)
        process.read_all()
        process.end()

    assert Threaded((LockValidator(), LeakCheck(), *model_observers())).run(program).failure is None
