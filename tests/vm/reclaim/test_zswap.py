"""Pages that are swapped out into memory first, and copies that are written back."""

from __future__ import annotations

import pytest
from vm_world import HEAP, assert_clean, run_alone

from sugarbush.concurrency import check, join, spawn
from sugarbush.vm.access.user import user_load, user_store
from sugarbush.vm.frames.swap import swapon
from sugarbush.vm.objects.layout import PAGE_SIZE
from sugarbush.vm.objects.mm_types import MmStruct
from sugarbush.vm.objects.swap_area import SwapArea
from sugarbush.vm.reclaim.vmscan import kswapd
from sugarbush.vm.reclaim.zswap_writeback import zswap_shrink
from sugarbush.vm.syscalls.brk import sys_brk
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import Machine, boot

PAGES = 2


def swapped_out(*, synchronous: bool = False) -> tuple[Machine, MmStruct, SwapArea]:
    machine = boot(8)
    area = swapon(machine.memory, 4, synchronous=synchronous, zswap=True)
    mm = machine.add_mm("cc1", HEAP)
    sys_brk(mm, HEAP + PAGES * PAGE_SIZE)
    for number in range(PAGES):
        user_store(mm, HEAP + number * PAGE_SIZE, f"token {number}")
    kswapd(machine.memory, PAGES)
    return machine, mm, area


def ended(machine: Machine, mm: MmStruct, area: SwapArea) -> None:
    exit_mmap(mm)
    machine.remove_mm(mm)
    kswapd(machine.memory, PAGES)
    check(all(slot.count == 0 for slot in area.slots), "no entry names a slot any more")
    check(all(slot.zswap is None for slot in area.slots if slot.free), "no copy is kept for a free slot")


def contents(mm: MmStruct) -> list[object]:
    return [user_load(mm, HEAP + number * PAGE_SIZE) for number in range(PAGES)]


def test_a_page_is_kept_as_a_copy_and_comes_back() -> None:
    def program() -> None:
        machine, mm, area = swapped_out()
        check([slot.token for slot in area.slots[:PAGES]] == [None, None], "nothing was written to a slot")
        check(contents(mm) == ["token 0", "token 1"], "both are there again")
        ended(machine, mm, area)

    assert_clean(run_alone(program))


def test_a_copy_that_is_written_back_is_in_its_slot() -> None:
    def program() -> None:
        machine, mm, area = swapped_out()
        check(zswap_shrink(machine.memory) == PAGES, "both are written back")
        check(
            [slot.token for slot in area.slots[:PAGES]] == ["token 0", "token 1"], "they are in their slots"
        )
        kswapd(machine.memory, PAGES)
        check(contents(mm) == ["token 0", "token 1"], "both are there again")
        ended(machine, mm, area)

    assert_clean(run_alone(program))


@pytest.mark.parametrize("executions", [50, pytest.param(150, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("strategy", ["pct", "random"])
@pytest.mark.parametrize("synchronous", [False, True])
def test_writeback_beside_stores_and_reclaim(strategy: str, synchronous: bool, executions: int) -> None:
    def use(machine: Machine, mm: MmStruct) -> None:
        user_store(mm, HEAP, "new")
        kswapd(machine.memory, PAGES)
        check(user_load(mm, HEAP) == "new", "a thread reads back what it wrote")

    def program() -> None:
        machine, mm, area = swapped_out(synchronous=synchronous)
        join(
            spawn(use, machine, mm),
            spawn(user_load, mm, HEAP + PAGE_SIZE),
            spawn(zswap_shrink, machine.memory, name="zswap-shrink"),
        )
        check(contents(mm) == ["new", "token 1"], "the last stores are there")
        ended(machine, mm, area)

    assert_clean(run_alone(program, executions=executions, strategy=strategy))
