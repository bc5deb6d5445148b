"""The tree's barriers under weak memory: with all of them it is clean; each one taken away is found, and only there."""

from collections.abc import Callable
from typing import Any

import kernel_bugs
import pytest
from rcu_programs import CASES, Case, equal_growth, program, slow_reader

from sugarbush.concurrency import Kind, Settings, explore

WEAK = Settings(memory="weak")
NAMED = {case.name: case for case in CASES}


@pytest.mark.parametrize("executions", [8, pytest.param(40, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("strategy", ["random", "pct"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_readers_beside_a_writer_are_clean(case: Case, strategy: str, executions: int) -> None:
    result = explore(program(case), strategy=strategy, executions=executions, seed=5, settings=WEAK)
    assert not result.failures, result.failures[0].failure


@pytest.mark.parametrize("executions", [30, pytest.param(100, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("run", [equal_growth, slow_reader])
def test_stores_in_place_are_clean(run: Callable[[], None], executions: int) -> None:
    assert not explore(run, strategy="random", executions=executions, settings=WEAK).failures


@pytest.mark.parametrize("strong", [60, pytest.param(200, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize(
    ("bug", "name", "kind"),
    [
        (kernel_bugs.z15_mark_without_wmb, "more than an entry", Kind.CHECK),
        (kernel_bugs.z15_mark_without_wmb, "spanning", Kind.UNINIT),
        (kernel_bugs.z15_test_without_rmb, "more than an entry", Kind.CHECK),
        (kernel_bugs.z15_test_without_rmb, "erase until leaves merge", Kind.CHECK),
        (kernel_bugs.publish_before_initialise, "more than an entry", Kind.UNINIT),
    ],
)
def test_a_missing_barrier_is_found_under_weak_memory_only(
    monkeypatch: pytest.MonkeyPatch, bug: Callable[..., Any], name: str, kind: Kind, strong: int
) -> None:
    kernel_bugs.patch(monkeypatch, kernel_bugs.TARGETS[bug], bug)
    run = program(NAMED[name])
    assert not explore(run, strategy="random", executions=strong, seed=3).failures
    result = explore(run, strategy="random", executions=200, seed=3, settings=WEAK)
    assert [witness.failure.kind for witness in result.failures] == [kind]
