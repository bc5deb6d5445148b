"""Each broken rule of RCU and of the locks is found by torture, or by a program that a user would write."""

from __future__ import annotations

import pytest
from torture_mutants import MUTANTS, Mutant, a_nested_unlock_ends_the_reader

from sugarbush.concurrency import Kind, Once, Shared, check, explore, join, rcu_reader, spawn, synchronize_rcu
from sugarbush.stress.kit import registry
from sugarbush.stress.kit.scenarios import find_scenario

registry.load()

EXECUTIONS = 1500


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one.name)
def test_torture_finds_it(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.apply(monkeypatch)
    scenario = find_scenario(mutant.torture).given(mutant.values)
    result = explore(scenario.program, executions=EXECUTIONS, settings=scenario.settings())
    assert result.failures, f"{mutant.name} lives through {result.executions} executions"
    assert result.failures[0].failure.kind is not Kind.EXCEPTION, "the patch itself is broken"


def test_there_are_enough_of_them() -> None:
    assert len({one.name for one in MUTANTS}) == len(MUTANTS) >= 20


class Found(Shared):
    """What a reader finds, and whether it is still there."""

    gone: Once[bool] = False
    freed: Once[bool] = False


def nested_readers() -> None:
    """An updater waits for a reader that nests."""
    found = Found()

    def read() -> None:
        with rcu_reader():
            there = not found.gone
            with rcu_reader():
                pass
            check(not there or not found.freed, "what a reader has found is there to its end")

    def update() -> None:
        found.gone = True
        synchronize_rcu()
        found.freed = True

    join(spawn(read), spawn(update))


def test_a_nested_unlock_that_ends_the_reader_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert explore(nested_readers, strategy="dfs").verdict == "passed"
    a_nested_unlock_ends_the_reader(monkeypatch)
    assert explore(nested_readers, strategy="dfs").verdict == "failed"
