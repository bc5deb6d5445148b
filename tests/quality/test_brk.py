"""What the tool is for: the brk crash of July 2022 is found soon, and the fixed brk is clean.

Bounds are on executions, never on time.
"""

from __future__ import annotations

from statistics import median

import pytest

from sugarbush.concurrency import Kind, Result, Settings, explore
from sugarbush.stress.cli import built_in as scenarios
from sugarbush.stress.kit.patches import applied
from sugarbush.stress.kit.scenarios import Scenario

SILENT = ("coverage", "migration-entry-locked", "migration-entry-owner")
BUG_ON = "pfn_swap_entry_to_page(): BUG_ON(is_migration_entry(entry) && !PageLocked(p))"


def run(scenario: Scenario, seed: int, executions: int, *without: str, strategy: str = "pct") -> Result:
    settings = Settings(without=frozenset(without), observers=scenario.observers)
    with applied(scenario.patches):
        return explore(
            scenario.program, strategy=strategy, executions=executions, seed=seed, settings=settings
        )


@pytest.mark.parametrize("seeds", [8, pytest.param(30, marks=pytest.mark.exhaustive)])
def test_the_hole_is_found_at_its_cause_for_every_seed(seeds: int) -> None:
    executions = []
    for seed in range(1, seeds + 1):
        result = run(scenarios.brk_false_vma, seed, 100)
        assert result.failures[0].failure.check == "coverage"
        executions.append(result.executions)
    assert median(executions) <= 50


@pytest.mark.parametrize("seeds", [6, pytest.param(12, marks=pytest.mark.exhaustive)])
def test_without_coverage_the_kernels_bug_on_fires(seeds: int) -> None:
    executions, words = [], 0
    for seed in range(1, seeds + 1):
        result = run(scenarios.brk_false_vma, seed, 5000, "coverage")
        executions.append(result.executions)
        words += any(BUG_ON in witness.failure.headline for witness in result.failures)
    assert median(executions) <= 500
    assert words >= seeds - 2


@pytest.mark.parametrize("seeds", [3, pytest.param(6, marks=pytest.mark.exhaustive)])
def test_without_the_bug_on_the_process_reads_what_it_did_not_write(seeds: int) -> None:
    effects = 0
    for seed in range(1, seeds + 1):
        result = run(scenarios.brk_false_vma, seed, 5000, *SILENT)
        effects += any(witness.failure.kind is Kind.CORRUPTION for witness in result.failures)
    assert effects >= seeds - 1


def test_the_random_walk_finds_the_hole_too() -> None:
    assert run(scenarios.brk_false_vma, 1, 100, strategy="random").failures


@pytest.mark.parametrize("strategy", ["pct", "random"])
@pytest.mark.parametrize("executions", [150, pytest.param(2000, marks=pytest.mark.exhaustive)])
def test_the_fixed_brk_is_clean(strategy: str, executions: int) -> None:
    result = run(scenarios.brk_standard, 1, executions, strategy=strategy)
    assert [witness.failure.headline for witness in result.failures] == []
    assert result.executions == executions


@pytest.mark.parametrize("executions", [100, pytest.param(1000, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("strategy", ["pct", "random"])
def test_the_brk_of_before_the_maple_tree_is_clean_too(strategy: str, executions: int) -> None:
    result = run(scenarios.brk_rbtree, 1, executions, strategy=strategy)
    assert [witness.failure.headline for witness in result.failures] == []


def test_a_witness_needs_few_switches() -> None:
    found = [run(scenarios.brk_false_vma, seed, 5000, "coverage").failures[0] for seed in range(1, 6)]
    assert median(witness.schedule.switches for witness in found) <= 8
