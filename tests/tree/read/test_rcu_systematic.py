"""Readers beside a writer under depth-first search: clean within a bound on switches; a broken tree is found."""

from functools import partial

import kernel_bugs
import pytest
from rcu_programs import CASES, Case, equal_growth, program, slow_reader

from sugarbush.concurrency import Kind, Verdict, explore


@pytest.mark.parametrize("stores", [1, pytest.param(3, marks=pytest.mark.exhaustive)])
def test_all_ways_to_preempt_once_let_one_reader_see_a_range_grow_at_both_ends(stores: int) -> None:
    run = partial(equal_growth, readers=1, stores=stores)
    result = explore(run, strategy="dfs", depth=1, executions=50_000)
    assert result.verdict is Verdict.PASSED
    assert result.exhaustive


@pytest.mark.parametrize("stores", [2, pytest.param(3, marks=pytest.mark.exhaustive)])
def test_all_ways_to_delay_twice_let_two_readers_see_it(stores: int) -> None:
    result = explore(partial(equal_growth, stores=stores), strategy="delay", depth=2, executions=50_000)
    assert result.verdict is Verdict.PASSED
    assert result.exhaustive


@pytest.mark.parametrize("strategy", ["dfs", "delay"])
def test_one_switch_shows_two_boundaries_moved_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    bug = kernel_bugs.two_boundaries_in_place
    kernel_bugs.patch(monkeypatch, kernel_bugs.TARGETS[bug], bug)
    result = explore(partial(equal_growth, stores=1), strategy=strategy, depth=1, executions=2000)
    assert [witness.failure.kind for witness in result.failures] == [Kind.CHECK]


@pytest.mark.parametrize("bound", [1, 2, 3])
def test_a_slow_reader_is_clean_as_far_as_searched(bound: int) -> None:
    result = explore(slow_reader, strategy="dfs", depth=bound, executions=200)
    assert not result.failures
    assert result.executions == 200


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_kernels_groups_are_clean_as_far_as_searched(case: Case) -> None:
    result = explore(program(case), strategy="dfs", depth=2, executions=40)
    assert not result.failures
    assert result.executions == 40
