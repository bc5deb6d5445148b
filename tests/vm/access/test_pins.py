"""Pinned pages, direct reclaim, and khugepaged, beside what could go wrong with them."""

from __future__ import annotations

import pytest
from vm_world import HEAP, assert_clean, run_alone

from sugarbush.concurrency import Kind, Settings, check, explore, join, spawn
from sugarbush.lockdep.model.gfp import GFP_KERNEL
from sugarbush.stress.kit.checks import model_observers
from sugarbush.vm.access.gup import pin_user_page, unpin_user_page
from sugarbush.vm.access.user import user_load, user_store
from sugarbush.vm.frames.page_alloc import folio_put
from sugarbush.vm.frames.swap import swapon
from sugarbush.vm.huge.khugepaged import collapse_huge_page
from sugarbush.vm.objects.folio import Folio, folio_try_get
from sugarbush.vm.objects.layout import PAGE_SIZE
from sugarbush.vm.objects.mm_types import Memory, MmStruct
from sugarbush.vm.objects.pgtable_types import PageTable
from sugarbush.vm.reclaim.migrate import compact_zone
from sugarbush.vm.reclaim.vmscan import allow_direct_reclaim, kswapd
from sugarbush.vm.reverse.anon_vma import anon_vma_lock_write, anon_vma_unlock_write, avc_cache
from sugarbush.vm.spaces.find import vma_find
from sugarbush.vm.spaces.mm import mmap_write_lock, mmap_write_unlock
from sugarbush.vm.syscalls.brk import sys_brk
from sugarbush.vm.syscalls.fork import sys_fork
from sugarbush.vm.syscalls.madvise import sys_madvise
from sugarbush.vm.syscalls.mman import MADV_HUGEPAGE, MADV_NOHUGEPAGE
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import Machine, boot

STRATEGIES = ["pct", "random"]


def started(frames: int = 8, pages: int = 2) -> tuple[Machine, MmStruct]:
    machine = boot(frames)
    swapon(machine.memory, 4)
    mm = machine.add_mm("cc1", HEAP)
    sys_brk(mm, HEAP + pages * PAGE_SIZE)
    for number in range(pages):
        user_store(mm, HEAP + number * PAGE_SIZE, f"token {number}")
    return machine, mm


def ended(machine: Machine, *mms: MmStruct) -> None:
    for mm in mms:
        exit_mmap(mm)
        machine.remove_mm(mm)


def use_pinned(mm: MmStruct) -> None:
    """A device: it writes to the frame, as long as it has it."""
    page = pin_user_page(mm, HEAP)
    assert not isinstance(page, int)
    page.token = "device"
    check(user_load(mm, HEAP) == "device", "the process sees what the device writes")
    unpin_user_page(mm.memory, page)


@pytest.mark.parametrize("executions", [50, pytest.param(150, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_pinned_page_stays_with_its_process(strategy: str, executions: int) -> None:
    def program() -> None:
        machine, mm = started()
        child, *_ = join(
            spawn(sys_fork, machine, mm, "as"),
            spawn(use_pinned, mm, name="device"),
            spawn(kswapd, machine.memory, 1),
            spawn(compact_zone, machine.memory, name="kcompactd"),
        )
        check(user_load(mm, HEAP) == "device", "the parent's")
        check(user_load(child, HEAP) in ("token 0", "device"), "the child's")
        ended(machine, mm, child)

    assert_clean(run_alone(program, executions=executions, strategy=strategy))


def test_an_allocation_reclaims_when_nothing_is_free() -> None:
    def program() -> None:
        machine, mm = started(frames=3, pages=3)
        allow_direct_reclaim(machine.memory, 0)
        sys_brk(mm, HEAP + 5 * PAGE_SIZE)
        user_store(mm, HEAP + 4 * PAGE_SIZE, "more than there is room for")
        check(
            [user_load(mm, HEAP + n * PAGE_SIZE) for n in (0, 1, 2)] == ["token 0", "token 1", "token 2"],
            "all",
        )
        ended(machine, mm)

    assert_clean(run_alone(program))


@pytest.mark.parametrize("executions", [50, pytest.param(150, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_allocations_that_reclaim_by_choice(strategy: str, executions: int) -> None:
    def work(mm: MmStruct) -> None:
        sys_brk(mm, HEAP + 4 * PAGE_SIZE)
        user_store(mm, HEAP + 3 * PAGE_SIZE, "new")
        sys_brk(mm, HEAP + PAGE_SIZE)

    def program() -> None:
        machine, mm = started()
        allow_direct_reclaim(machine.memory, 3)
        join(spawn(work, mm), spawn(user_store, mm, HEAP, "late"), spawn(compact_zone, machine.memory))
        check(user_load(mm, HEAP) == "late", "the store is there")
        ended(machine, mm)

    assert_clean(run_alone(program, executions=executions, strategy=strategy))


def allocate_under_the_rmap_lock(memory: Memory, mm: MmStruct) -> None:
    allow_direct_reclaim(memory, 1)
    mmap_write_lock(mm)
    vma = vma_find(mm, HEAP)
    assert vma is not None
    assert vma.anon_vma is not None
    anon_vma_lock_write(vma.anon_vma)
    avc = avc_cache.alloc(GFP_KERNEL)
    anon_vma_unlock_write(vma.anon_vma)
    mmap_write_unlock(mm)
    assert avc is not None
    avc_cache.free(avc)


@pytest.mark.parametrize(
    ("without", "kind"), [((), Kind.LOCKDEP), (("lockdep", "lock-order"), Kind.DEADLOCK)]
)
def test_a_wrong_gfp_flag_is_a_report_and_a_deadlock(without: tuple[str, ...], kind: Kind) -> None:
    """The task that holds the rmap lock reclaims, and waits for itself."""

    def program() -> None:
        machine, mm = started()
        join(spawn(allocate_under_the_rmap_lock, machine.memory, mm))
        ended(machine, mm)

    result = run_alone(program, executions=50, without=without)
    assert [witness.failure.kind for witness in result.failures] == [kind]


def small_then_huge(machine: Machine, mm: MmStruct) -> None:
    sys_madvise(mm, HEAP, 2 * PAGE_SIZE, MADV_HUGEPAGE)
    collapse_huge_page(mm, HEAP)


def test_khugepaged_makes_one_page_of_two() -> None:
    def program() -> None:
        machine, mm = started()
        sys_madvise(mm, HEAP, 2 * PAGE_SIZE, MADV_HUGEPAGE)
        check(collapse_huge_page(mm, HEAP) == 0, "collapsed")
        check(not isinstance(mm.pmds[HEAP // PAGE_SIZE // 2], PageTable), "one entry")
        check([user_load(mm, HEAP + n * PAGE_SIZE) for n in (0, 1)] == ["token 0", "token 1"], "content")
        sys_madvise(mm, HEAP, 2 * PAGE_SIZE, MADV_NOHUGEPAGE)
        check(collapse_huge_page(mm, HEAP) < 0, "not wanted")
        ended(machine, mm)

    assert_clean(run_alone(program))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_khugepaged_beside_everything(strategy: str) -> None:
    def program() -> None:
        machine, mm = started()
        join(
            spawn(small_then_huge, machine, mm, name="khugepaged"),
            spawn(user_store, mm, HEAP, "late"),
            spawn(kswapd, machine.memory, 1),
            spawn(use_pinned_elsewhere, mm, name="device"),
        )
        check(user_load(mm, HEAP) == "late", "the store is there")
        check(user_load(mm, HEAP + PAGE_SIZE) == "device", "the device's too")
        ended(machine, mm)

    assert_clean(run_alone(program, executions=150, strategy=strategy))


@pytest.mark.parametrize("swapped", [0, 1])
def test_khugepaged_beside_another_process_at_every_point(swapped: int) -> None:
    """Nothing is lost while the page-table page is out of reach, wherever khugepaged is interrupted once."""

    def program() -> None:
        machine, mm = started()
        check(kswapd(machine.memory, swapped) == swapped, "swapped out")
        other = machine.add_mm("other", HEAP)
        join(
            spawn(small_then_huge, machine, mm, name="khugepaged"),
            spawn(sys_brk, other, HEAP + PAGE_SIZE, name="other"),
        )
        exit_mmap(other)
        machine.remove_mm(other)
        ended(machine, mm)

    result = explore(
        program, strategy="dfs", depth=1, executions=2000, settings=Settings(observers=model_observers)
    )
    assert_clean(result)
    assert result.exhaustive


def use_pinned_elsewhere(mm: MmStruct) -> None:
    page = pin_user_page(mm, HEAP + PAGE_SIZE)
    assert not isinstance(page, int)
    page.token = "device"
    unpin_user_page(mm.memory, page)


def put_and_compact(memory: Memory, folio: Folio) -> None:
    folio_put(memory, folio)
    compact_zone(memory)


def look_and_compact(memory: Memory, folio: Folio) -> None:
    """Hold a page for a moment, so that reclaim cannot free it; then move all pages."""
    if folio_try_get(folio):
        put_and_compact(memory, folio)


@pytest.mark.parametrize("held", [True, pytest.param(False, marks=pytest.mark.exhaustive)])
def test_a_page_that_reclaim_cannot_free_is_flushed_before_others_have_it(held: bool) -> None:
    """It is unmapped by then, with its flush put off; whoever moves and frees it next does not flush.

    Where the page is held from the start, one preemption shows a flush that comes after the page is put back; where
    that is a matter of the schedule, too, it takes two, and as many executions as one cares to make.
    """

    def program() -> None:
        machine, mm = started(pages=1)
        check(kswapd(machine.memory, 1) == 1, "swapped out")
        user_load(mm, HEAP)
        (folio,) = [one for one in machine.memory.mem_map if one.mapcount]
        if held:
            check(folio_try_get(folio), "held")
        join(
            spawn(kswapd, machine.memory, 1, name="kswapd"),
            spawn(put_and_compact if held else look_and_compact, machine.memory, folio, name="kcompactd"),
        )
        check(user_load(mm, HEAP) == "token 0", "content")
        ended(machine, mm)

    settings = Settings(observers=model_observers)
    result = explore(program, strategy="dfs", depth=1 if held else 2, executions=30_000, settings=settings)
    assert_clean(result)
    assert result.exhaustive or not held
