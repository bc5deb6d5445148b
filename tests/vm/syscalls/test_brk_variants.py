"""Which forms of trimming a heap are right: the anon_vma lock taken out, held across the zap, the zap put first."""

from __future__ import annotations

import pytest

from sugarbush.concurrency import Failure, Result, Settings, Verdict, explore
from sugarbush.lockdep.model.gfp import GFP_KERNEL
from sugarbush.stress.cli import built_in as scenarios
from sugarbush.stress.kit.patches import Patch, applied, patch
from sugarbush.vm.frames.tlb import tlb_finish_mmu, tlb_gather_mmu
from sugarbush.vm.objects.layout import PAGE_SHIFT, TASK_SIZE
from sugarbush.vm.objects.mm_types import MmStruct, VmArea
from sugarbush.vm.reverse.anon_vma import anon_vma_lock_write, anon_vma_unlock_write
from sugarbush.vm.reverse.interval_tree import post_update_vma, pre_update_vma
from sugarbush.vm.spaces.find import Mas, vma_find, vma_store
from sugarbush.vm.spaces.mm import mmap_write_downgrade
from sugarbush.vm.syscalls import brk
from sugarbush.vm.vmas import adjust
from sugarbush.vm.vmas.zap import free_pgtables, unmap_page_range, unmap_region

EXECUTIONS = 300
CLEAN = [100, pytest.param(1000, marks=pytest.mark.exhaustive)]
STRATEGIES = ["pct", "random"]


def run(
    variant: Patch | None, strategy: str, seed: int, *without: str, executions: int = EXECUTIONS
) -> Result:
    settings = Settings(without=frozenset(without), observers=scenarios.brk_standard.observers)
    with applied([] if variant is None else [variant]):
        return explore(
            scenarios.brk_standard.program,
            strategy=strategy,
            executions=executions,
            seed=seed,
            settings=settings,
        )


def failures(result: Result) -> list[Failure]:
    return [witness.failure for witness in result.failures]


# -- the standard path without the lock ----------------------------------------------------------------------------


@patch(adjust.vma_adjust)
def adjust_without_lock(vma: VmArea, start: int, end: int, pgoff: int, *, insert: VmArea) -> int:
    """As `adjust.vma_adjust` where the VMA keeps its lower part, without the anon_vma lock."""
    assert start == vma.vm_start
    mas = vma.vm_mm.mm_mt.cursor(insert.vm_start, insert.vm_end - 1)
    mas.preallocate(vma, GFP_KERNEL)
    pre_update_vma(vma)
    vma.vm_end = end
    vma.vm_pgoff = pgoff
    vma_store(mas, insert)
    vma.vm_mm.map_count += 1
    post_update_vma(vma)
    return 0


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_standard_path_without_the_anon_vma_lock_is_found(strategy: str, seed: int) -> None:
    result = run(adjust_without_lock, strategy, seed)
    assert len(failures(result)) == 1
    assert failures(result)[0].check in {"coverage", "data-race"}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_without_the_lock_a_walk_and_the_split_are_a_data_race(strategy: str) -> None:
    """The hole in the coverage comes first; with that check off, the walk reads what the split writes."""
    result = run(adjust_without_lock, strategy, 1, "coverage")
    assert [failure.check for failure in failures(result)] == ["data-race"]


def test_without_the_lock_a_walk_misses_its_page() -> None:
    """With both checks off the effect is left: the second walk leaves a migration entry behind. It is rare."""
    results = [run(adjust_without_lock, "pct", seed, "coverage", "data-race") for seed in range(1, 7)]
    assert {failure.check for result in results for failure in failures(result)} == {"migration-entry-locked"}


# -- the short path, done right --------------------------------------------------------------------------------------


def shrink(vma: VmArea, mas: Mas, newbrk: int) -> None:
    pre_update_vma(vma)
    mas.store_prealloc(None)
    vma.vm_end = newbrk
    post_update_vma(vma)


def neighbours(mm: MmStruct, vma: VmArea, newbrk: int, oldbrk: int) -> tuple[Mas, int]:
    mas = mm.mm_mt.cursor(newbrk, oldbrk - 1)
    mas.preallocate(None, GFP_KERNEL)
    following = vma_find(mm, oldbrk)
    return mas, TASK_SIZE if following is None else following.vm_start


@patch(brk.do_brk_munmap)
def lock_across_the_zap(mm: MmStruct, vma: VmArea, newbrk: int, oldbrk: int) -> int:
    """Shrink in place, and hold the anon_vma lock until the cut-off part is empty."""
    mas, ceiling = neighbours(mm, vma, newbrk, oldbrk)
    anon_vma = vma.anon_vma
    assert anon_vma is not None
    anon_vma_lock_write(anon_vma)
    shrink(vma, mas, newbrk)
    mmap_write_downgrade(mm)
    tlb = tlb_gather_mmu(mm)
    unmap_page_range(tlb, vma, newbrk, oldbrk)
    anon_vma_unlock_write(anon_vma)
    unmap = VmArea(mm, newbrk, oldbrk, newbrk >> PAGE_SHIFT, vma.vm_flags)
    free_pgtables(tlb, [unmap], newbrk, ceiling)
    tlb_finish_mmu(tlb)
    return 1


@patch(brk.do_brk_munmap)
def zap_first(mm: MmStruct, vma: VmArea, newbrk: int, oldbrk: int) -> int:
    """Empty the part to be cut off, then shrink in place, all of it under mmap_lock for writing."""
    mas, ceiling = neighbours(mm, vma, newbrk, oldbrk)
    tlb = tlb_gather_mmu(mm)
    unmap_page_range(tlb, vma, newbrk, oldbrk)
    anon_vma = vma.anon_vma
    assert anon_vma is not None
    anon_vma_lock_write(anon_vma)
    shrink(vma, mas, newbrk)
    anon_vma_unlock_write(anon_vma)
    unmap = VmArea(mm, newbrk, oldbrk, newbrk >> PAGE_SHIFT, vma.vm_flags)
    free_pgtables(tlb, [unmap], newbrk, ceiling)
    tlb_finish_mmu(tlb)
    return 0


@patch(brk.do_brk_munmap)
def lock_dropped_before_the_zap(mm: MmStruct, vma: VmArea, newbrk: int, oldbrk: int) -> int:
    """As `lock_across_the_zap`, but the lock is dropped one step too soon."""
    mas, ceiling = neighbours(mm, vma, newbrk, oldbrk)
    anon_vma = vma.anon_vma
    assert anon_vma is not None
    anon_vma_lock_write(anon_vma)
    shrink(vma, mas, newbrk)
    anon_vma_unlock_write(anon_vma)
    mmap_write_downgrade(mm)
    unmap = VmArea(mm, newbrk, oldbrk, newbrk >> PAGE_SHIFT, vma.vm_flags)
    unmap_region(mm, [unmap], newbrk, ceiling, newbrk, oldbrk)
    return 1


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("variant", [lock_across_the_zap, zap_first], ids=["lock across", "zap first"])
@pytest.mark.parametrize("executions", CLEAN)
def test_covering_the_zap_is_clean(variant: Patch, strategy: str, executions: int) -> None:
    result = run(variant, strategy, 1, executions=executions)
    assert failures(result) == []
    assert result.executions == executions


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_lock_must_be_held_until_the_zap_has_ended(strategy: str) -> None:
    assert [failure.check for failure in failures(run(lock_dropped_before_the_zap, strategy, 1))] == [
        "coverage"
    ]


@pytest.mark.parametrize("executions", CLEAN)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_standard_path_is_clean(strategy: str, executions: int) -> None:
    result = run(None, strategy, 5, executions=executions)
    assert failures(result) == []
    assert result.executions == executions


@pytest.mark.parametrize(
    "bound", [1, pytest.param(2, marks=[pytest.mark.exhaustive, pytest.mark.timeout(1800)])]
)
@pytest.mark.parametrize(
    "variant", [None, lock_across_the_zap, zap_first], ids=["standard path", "lock across", "zap first"]
)
def test_what_is_clean_is_proven(variant: Patch | None, bound: int) -> None:
    """Every schedule with so many preemptions, all checks on; the bug needs two."""
    settings = Settings(observers=scenarios.brk_standard.observers)
    with applied([] if variant is None else [variant]):
        result = explore(scenarios.brk_standard.program, strategy="dpor", depth=bound, settings=settings)
    assert (result.verdict, result.bound) == (Verdict.PASSED, bound)


def test_the_lock_dropped_too_soon_is_found_by_the_same_search() -> None:
    settings = Settings(observers=scenarios.brk_standard.observers)
    with applied([lock_dropped_before_the_zap]):
        result = explore(scenarios.brk_standard.program, strategy="idpor", depth=2, settings=settings)
    assert [failure.check for failure in failures(result)] == ["coverage"]
