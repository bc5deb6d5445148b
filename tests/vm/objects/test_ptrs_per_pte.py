"""How many entries a page-table page has is chosen when the machine is booted."""

from __future__ import annotations

import pytest
from vm_world import HEAP, assert_clean, run_alone

from sugarbush.concurrency import ConcurrencyError, check, explore, join, spawn
from sugarbush.stress.cli.built_in import brk_false_vma, brk_rbtree, brk_standard, server
from sugarbush.stress.kit.patches import applied
from sugarbush.stress.kit.process import Process
from sugarbush.stress.kit.scenarios import Scenario
from sugarbush.stress.workloads.pages import heap, page
from sugarbush.vm.access.user import user_load
from sugarbush.vm.huge.khugepaged import collapse_huge_page
from sugarbush.vm.objects.layout import PAGE_SIZE
from sugarbush.vm.objects.pgtable_types import PageTable, Present
from sugarbush.vm.reclaim.migrate import compact_zone
from sugarbush.vm.reclaim.vmscan import kswapd
from sugarbush.vm.syscalls.fork import sys_fork
from sugarbush.vm.syscalls.madvise import sys_madvise
from sugarbush.vm.syscalls.mman import MADV_HUGEPAGE, MREMAP_FIXED, MREMAP_MAYMOVE
from sugarbush.vm.syscalls.mremap import sys_mremap
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import boot


@pytest.mark.parametrize("entries", [-2, 0, 1, 3, 6, 1024])
def test_a_number_that_cannot_be_is_refused(entries: int) -> None:
    with pytest.raises(
        ConcurrencyError, match=f"cannot have {entries} entries: it is a power of two from 2 to 512"
    ):
        boot(8, ptrs_per_pte=entries)


def test_the_next_machine_does_not_inherit_it() -> None:
    assert boot(8, ptrs_per_pte=8).add_mm("cc1", HEAP).pmd_size == 8 * PAGE_SIZE
    assert boot(8).add_mm("cc1", HEAP).pmd_size == 2 * PAGE_SIZE


def test_as_many_as_x86_64_has() -> None:
    def program() -> None:
        machine = boot(1100, ptrs_per_pte=512)
        process = Process(machine.add_mm("cc1", HEAP))
        mm = process.mm
        process.brk(page(1024))
        sys_madvise(mm, HEAP, 1024 * PAGE_SIZE, MADV_HUGEPAGE)
        touched = [page(0), page(255), page(256), page(599), page(767), page(768)]
        for address in touched:
            process.store(address, f"cc1:{address:#x}")
        shapes = [type(mm.pmds[index]) for index in sorted(mm.pmds)]
        check(shapes == [PageTable, Present, PageTable], "huge where 512 pages lie on a border of 512")
        process.brk(page(600))
        check(isinstance(mm.pmds[1], PageTable), "cut, so mapped page by page")
        for address in touched[:4]:
            process.load(address)
        process.exit(machine)
        check(len(machine.memory.free_list) == 1100, "all frames are free")

    assert_clean(run_alone(program))


@pytest.mark.parametrize("executions", [20, pytest.param(60, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("ptrs", [2, 4, 8])
@pytest.mark.parametrize("strategy", ["pct", "random"])
def test_pages_become_huge_beside_compaction_and_reads(ptrs: int, strategy: str, executions: int) -> None:
    def program() -> None:
        machine, process = heap(2 * ptrs, frames=7 * ptrs, ptrs_per_pte=ptrs)
        sys_madvise(process.mm, HEAP, 2 * ptrs * PAGE_SIZE, MADV_HUGEPAGE)
        join(
            spawn(collapse_huge_page, process.mm, HEAP + process.mm.pmd_size, name="khugepaged"),
            spawn(compact_zone, machine.memory, name="kcompactd"),
            spawn(process.load, page(2 * ptrs - 1), name="cc1"),
        )
        for number in range(2 * ptrs):
            process.load(page(number))
        process.exit(machine)
        check(len(machine.memory.free_list) == 7 * ptrs, "all frames are free")

    assert_clean(run_alone(program, executions=executions, strategy=strategy))


@pytest.mark.parametrize("executions", [33, pytest.param(100, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("huge", [False, True])
@pytest.mark.parametrize("ptrs", [2, 4, 8])
def test_wholes_and_parts_move_beside_compaction_and_a_fork(
    ptrs: int, executions: int, *, huge: bool
) -> None:
    def program() -> None:
        machine, process = heap(2 * ptrs, frames=9 * ptrs, slots=4 * ptrs, huge=huge, ptrs_per_pte=ptrs)
        mm = process.mm
        size, away = mm.pmd_size, HEAP + 16 * mm.pmd_size
        moves = MREMAP_FIXED | MREMAP_MAYMOVE

        def use() -> None:
            sys_mremap(mm, HEAP + size, size, size, moves, away)
            sys_mremap(mm, away + PAGE_SIZE, size - PAGE_SIZE, size - PAGE_SIZE, moves, away + 5 * size)

        child, *_ = join(
            spawn(sys_fork, machine, mm, "as"),
            spawn(use, name="cc1"),
            spawn(compact_zone, machine.memory, name="kcompactd"),
            spawn(kswapd, machine.memory, 1, name="kswapd"),
        )
        assert child is not None
        for number in range(ptrs):
            process.load(page(number))
        moved = [away, *(away + 5 * size + number * PAGE_SIZE for number in range(ptrs - 1))]
        check(
            [user_load(mm, address) for address in moved] == [f"cc1:{n}" for n in range(ptrs, 2 * ptrs)],
            "moved",
        )
        exit_mmap(child)
        machine.remove_mm(child)
        exit_mmap(mm)
        machine.remove_mm(mm)

    assert_clean(run_alone(program, executions=executions))


@pytest.mark.parametrize("scenario", [brk_standard, brk_rbtree, server], ids=lambda scenario: scenario.name)
def test_scenarios_take_it(scenario: Scenario) -> None:
    chosen = scenario.given({"ptrs_per_pte": "4"})
    assert_clean(explore(chosen.program, executions=40, settings=chosen.settings()))


def test_the_crash_of_july_2022_does_not_depend_on_it() -> None:
    chosen = brk_false_vma.given({"ptrs_per_pte": "8"})
    with applied(chosen.patches):
        result = explore(chosen.program, executions=20, settings=chosen.settings())
    assert [witness.failure.check for witness in result.failures] == ["coverage"]
