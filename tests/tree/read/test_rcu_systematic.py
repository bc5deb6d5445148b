"""Readers beside a writer under depth-first search: clean within a bound on switches; a broken tree is found."""

from functools import partial

import kernel_bugs
import pytest
from rcu_programs import CASES, READERS, Case, Reader, equal_growth, program, slow_reader

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


EXHAUSTIVE = [pytest.mark.exhaustive, pytest.mark.timeout(1800)]


@pytest.mark.parametrize(
    ("readers", "stores", "depth"),
    [
        (1, 1, 1),
        (1, 3, 1),
        *[pytest.param(*sizes, 2, marks=EXHAUSTIVE) for sizes in ((1, 1), (1, 3), (2, 1), (2, 3))],
    ],
)
def test_a_range_that_grows_is_proven_within_a_bound(readers: int, stores: int, depth: int) -> None:
    run = partial(equal_growth, readers=readers, stores=stores)
    result = explore(run, strategy="dpor", depth=depth)
    assert (result.verdict, result.bound) == (Verdict.PASSED, depth)


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
def test_one_reader_beside_one_store_is_proven_for_every_schedule() -> None:
    result = explore(partial(equal_growth, readers=1, stores=1), strategy="sleep")
    assert (result.verdict, result.bound, result.cut) == (Verdict.PASSED, None, 0)
    assert result.executions == result.traces > 10_000


@pytest.mark.parametrize("case", CASES[:1], ids=lambda case: case.name)
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_a_reader_beside_the_writer_of_a_group_is_proven_within_a_preemption(
    case: Case, reader: Reader
) -> None:
    result = explore(program(case, (reader,)), strategy="dpor", depth=1)
    assert (result.verdict, result.bound) == (Verdict.PASSED, 1)


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_so_are_all_groups(case: Case, reader: Reader) -> None:
    result = explore(program(case, (reader,)), strategy="dpor", depth=1)
    assert (result.verdict, result.bound) == (Verdict.PASSED, 1)


def test_the_same_search_finds_two_boundaries_moved_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bug = kernel_bugs.two_boundaries_in_place
    kernel_bugs.patch(monkeypatch, kernel_bugs.TARGETS[bug], bug)
    result = explore(partial(equal_growth, readers=1, stores=1), strategy="idpor", depth=2)
    assert [witness.failure.kind for witness in result.failures] == [Kind.CHECK]
