"""The swapping build does what it is for, is clean, and meets the crash of July 2022 with the brk of that time."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from sugarbush.concurrency import Task, explore
from sugarbush.concurrency.lowlevel import Observer
from sugarbush.stress.catalogue.brk_false_vma import do_brk_munmap
from sugarbush.stress.cli.built_in import swapping_build
from sugarbush.stress.kit.patches import applied


class Traced(Observer):
    """Counts the tracepoints of all executions."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def traced(self, task: Task, event: str, fields: dict[str, object]) -> None:
        self.seen[event] += 1


@pytest.mark.parametrize("strategy", ["pct", "random", "pos"])
def test_clean_while_pages_are_swapped_moved_joined_and_split(strategy: str) -> None:
    traced = Traced()
    settings = swapping_build.settings()
    observers = settings.observers
    watched = replace(settings, observers=lambda: (traced, *observers()))
    result = explore(swapping_build.program, strategy=strategy, executions=60, settings=watched)
    assert [witness.failure.headline for witness in result.failures] == []
    for event in ("swap_out", "swap_in", "migrate", "huge_fault", "split_huge_pmd", "wp_page_copy"):
        assert traced.seen[event], event


@pytest.mark.parametrize("ptrs", [4, 8])
def test_clean_with_larger_huge_pages(ptrs: int) -> None:
    traced = Traced()
    sizes = {"pages": 3 * ptrs, "frames": 7 * ptrs, "slots": 12 * ptrs, "ptrs_per_pte": ptrs}
    scenario = swapping_build.given({name: str(size) for name, size in sizes.items()})
    settings = scenario.settings()
    observers = settings.observers
    watched = replace(settings, observers=lambda: (traced, *observers()))
    result = explore(scenario.program, executions=30, settings=watched)
    assert [witness.failure.headline for witness in result.failures] == []
    for event in ("swap_out", "swap_in", "migrate", "huge_fault", "split_huge_pmd"):
        assert traced.seen[event], event


def test_the_crash_of_july_2022() -> None:
    with applied((do_brk_munmap,)):
        result = explore(swapping_build.program, executions=200, settings=swapping_build.settings())
    assert [witness.failure.check for witness in result.failures] == ["coverage"]


def test_on_threads() -> None:
    result = explore(
        swapping_build.program, runtime="threaded", executions=3, settings=swapping_build.settings()
    )
    assert result.failures == []
