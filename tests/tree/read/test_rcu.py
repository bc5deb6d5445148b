"""Readers beside a writer: clean under every strategy and on threads, and failing when the tree is broken."""

import pytest
from rcu_programs import CASES, Case, equal_growth, program, slow_reader

from sugarbush.concurrency import Verdict, explore
from sugarbush.concurrency.lowlevel import LeakCheck, Threaded


@pytest.mark.parametrize("strategy", ["random", "pct"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_readers_see_old_or_new(case: Case, strategy: str) -> None:
    result = explore(program(case), strategy=strategy, executions=40, seed=7)
    assert not result.failures
    assert result.executions == 40
    assert result.verdict is not Verdict.FAILED


@pytest.mark.parametrize("strategy", ["random", "pct"])
def test_a_range_grows_at_both_ends_at_once(strategy: str) -> None:
    assert not explore(equal_growth, strategy=strategy, executions=200, seed=7).failures


@pytest.mark.parametrize("strategy", ["random", "pct"])
def test_a_slow_reader_goes_on_where_it_was(strategy: str) -> None:
    assert not explore(slow_reader, strategy=strategy, executions=100, seed=7).failures


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_readers_see_old_or_new_on_threads(case: Case) -> None:
    runtime = Threaded((LeakCheck(),), noise=0.2)
    for _ in range(5):
        assert runtime.run(program(case)).failure is None
