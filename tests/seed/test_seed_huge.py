"""The crash in __split_huge_pmd_locked() under brk: what makes the kernel's assertion fire, and what does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sugarbush.concurrency import Result, Settings, explore, join, spawn
from sugarbush.stress.catalogue import brk_false_vma, brk_false_vma_huge
from sugarbush.stress.kit.patches import Patch, applied, patch
from sugarbush.stress.workloads.pages import HEAP, heap, migrate_huge, page
from sugarbush.vm.access.user import user_load
from sugarbush.vm.huge import huge_split_pmd
from sugarbush.vm.huge.huge_split_pmd import vma_adjust_trans_huge
from sugarbush.vm.huge.khugepaged import collapse_huge_page
from sugarbush.vm.objects.layout import PAGE_SIZE
from sugarbush.vm.objects.mm_types import MmStruct, VmArea
from sugarbush.vm.spaces.find import vma_find
from sugarbush.vm.spaces.mm import mmap_write_lock, mmap_write_unlock
from sugarbush.vm.syscalls import brk
from sugarbush.vm.syscalls.madvise import sys_madvise
from sugarbush.vm.syscalls.mman import MADV_HUGEPAGE
from sugarbush.vm.vmas.adjust import split_vma

BEGINS_LATER = (
    "kernel BUG at mm/huge_memory.c: __split_huge_pmd_locked(): VM_BUG_ON_VMA(vma->vm_start > haddr, vma)"
)
ENDS_SOONER = (
    "kernel BUG at mm/huge_memory.c: __split_huge_pmd_locked(): "
    "VM_BUG_ON_VMA(vma->vm_end < haddr + HPAGE_PMD_SIZE, vma)"
)
OTHER_EFFECTS = frozenset(
    {
        "coverage",
        "migration-entry-locked",
        "migration-entry-owner",
        "rss",
        "private-data",
        "data-race",
        "leak",
    }
)
"""What else the false VMA does, which would end an execution before the zap meets the huge page."""

EXECUTIONS = 100
BEGINNINGS = ["huge", "small", "empty"]


@patch(huge_split_pmd.vma_adjust_trans_huge)
def no_split(vma: VmArea, start: int, end: int, following: VmArea | None, shift: int) -> None:
    """M-b2: nobody looks for a huge page at the new border."""


@patch(brk.do_brk_munmap)
def split_then_shrink(mm: MmStruct, vma: VmArea, newbrk: int, oldbrk: int) -> int:
    """The false VMA with the steps in the order of the series: the huge page first, then the border."""
    vma_adjust_trans_huge(vma, vma.vm_start, newbrk, None, 0)
    return int(brk_false_vma.do_brk_munmap.replacement(mm, vma, newbrk, oldbrk))


def trim(newbrk: int) -> None:
    """One task: a heap of two huge pages is trimmed."""
    machine, process = heap(4, huge=True)
    process.brk(page(newbrk))
    for number in range(newbrk):
        process.load(page(number))
    process.exit(machine)


def headlines(program: Callable[[], object], *patches: Patch) -> list[str]:
    """What one execution ends with. The model's own checks of the state do not look: only the kernel asserts."""
    with applied(patches):
        result = explore(program, executions=1)
    return [witness.failure.headline for witness in result.failures]


@pytest.mark.parametrize(
    "patches",
    [(brk_false_vma_huge.do_brk_munmap,), (brk_false_vma.do_brk_munmap,), (no_split,)],
    ids=["test after the shrink", "false VMA without split", "standard path without split"],
)
def test_a_huge_page_left_across_the_new_end_is_the_assertion_without_a_second_task(
    patches: tuple[Patch, ...],
) -> None:
    """M-b1, and M-b2 in both forms of do_brk_munmap(). Where no huge page lies across the border all is well."""
    assert headlines(lambda: trim(3), *patches) == [BEGINS_LATER]
    assert headlines(lambda: trim(2), *patches) == []


@pytest.mark.parametrize("newbrk", [1, 2, 3])
def test_the_split_before_the_shrink_is_enough(newbrk: int) -> None:
    assert headlines(lambda: trim(newbrk), split_then_shrink) == []
    assert headlines(lambda: trim(newbrk)) == []


def cut_across_a_huge_page(mm: MmStruct) -> None:
    """An earlier call has left two VMAs that share a huge page."""
    mmap_write_lock(mm)
    vma = vma_find(mm, page(3))
    assert vma is not None
    with applied([no_split]):
        assert split_vma(vma, page(3), new_below=False) == 0
    mmap_write_unlock(mm)


@pytest.mark.parametrize(("newbrk", "headline"), [(3, BEGINS_LATER), (2, ENDS_SOONER)])
def test_a_huge_page_that_lay_across_a_border_before_is_the_assertion_in_the_right_code(
    newbrk: int, headline: str
) -> None:
    """M-b3: brk is innocent then; which of the two assertions fires depends on what is cut off first."""

    def program() -> None:
        machine, process = heap(4, huge=True)
        cut_across_a_huge_page(process.mm)
        process.brk(page(newbrk))
        process.exit(machine)

    assert headlines(program) == [headline]


def beside(strategy: str, begun: str, *patches: Patch) -> Result:
    """A trim in the middle of a huge page, or of where one may come; beside it whoever makes or moves huge entries."""

    def program() -> None:
        machine, process = heap({"huge": 4, "small": 4, "empty": 2}[begun], frames=12, huge=begun != "small")
        mm, memory = process.mm, machine.memory
        process.brk(page(4))
        sys_madvise(mm, HEAP, 4 * PAGE_SIZE, MADV_HUGEPAGE)
        moving = (migrate_huge,) if begun == "huge" else ()
        join(
            spawn(process.brk, page(3), name="cc1"),
            spawn(user_load, mm, page(2), name="fault"),
            spawn(collapse_huge_page, mm, page(2), name="khugepaged"),
            *(spawn(move, memory, memory.mem_map[2], name="kcompactd") for move in moving),
        )
        process.exit(machine)

    with applied(patches):
        return explore(
            program, strategy=strategy, executions=EXECUTIONS, settings=Settings(without=OTHER_EFFECTS)
        )


@pytest.mark.parametrize("strategy", ["pct", "random"])
@pytest.mark.parametrize("begun", BEGINNINGS)
def test_faults_khugepaged_and_migration_do_not_bring_it_about(begun: str, strategy: str) -> None:
    result = beside(strategy, begun, split_then_shrink)
    assert [witness.failure.headline for witness in result.failures] == []
    assert result.executions == EXECUTIONS


@pytest.mark.parametrize("begun", BEGINNINGS)
def test_beside_them_the_wrong_order_still_is_found(begun: str) -> None:
    """So the test above could have failed; and where pages are small at first, a huge one does come in time."""
    result = beside("random", begun, brk_false_vma_huge.do_brk_munmap)
    assert [witness.failure.headline for witness in result.failures] == [BEGINS_LATER]
