"""POS and SURW: what they sample, how often, and that they are the same each time."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from concurrency_programs import BARE, Cell, abba, lost_update

from sugarbush.concurrency import BadSchedule, Settings, explore, join, replay, spawn
from sugarbush.concurrency.lowlevel import POS, SURW, Strategy
from sugarbush.concurrency.strategies.table import make_strategy
from sugarbush.stress.cli import built_in as scenarios
from sugarbush.stress.kit.patches import applied

BOTH = pytest.mark.parametrize("strategy", ["pos", "surw"])


def orders(make: Any, sizes: tuple[int, ...], executions: int = 4000) -> Counter[str]:
    """How often each order of the tasks' writes to one cell is sampled."""
    seen: Counter[str] = Counter()
    log: list[str] = []

    def program() -> None:
        log.clear()
        cell = Cell()

        def writes(name: str, times: int) -> None:
            for _ in range(times):
                cell.once = 1
                log.append(name)

        join(*[spawn(writes, name, times) for name, times in zip("abcd", sizes, strict=False)])

    strategy: Strategy = make(1)
    runtime = BARE.runtime(strategy)
    for _ in range(executions):
        assert runtime.run(program).failure is None
        seen["".join(log)] += 1
    return seen


@BOTH
@pytest.mark.parametrize("program", [lost_update, abba])
def test_small_bugs_are_found_soon_and_replay(strategy: str, program: Any) -> None:
    settings = Settings(without=frozenset({"lockdep", "data-race"}))
    for seed in range(1, 11):
        result = explore(program, strategy=strategy, executions=50, seed=seed, settings=settings)
        (witness,) = result.failures
        again = replay(program, witness.schedule, settings=settings)
        assert again.failure.signature == witness.failure.signature


@BOTH
def test_the_same_seed_makes_the_same_choices(strategy: str) -> None:
    def schedules(seed: int) -> list[str]:
        runtime = Settings().runtime(make_strategy(strategy, seed))
        return [str(runtime.run(lost_update_is_fine).schedule) for _ in range(20)]

    assert schedules(1) == schedules(1)
    assert schedules(1) != schedules(2)


def lost_update_is_fine() -> None:
    cell = Cell()
    join(*[spawn(lambda: setattr(cell, "once", cell.once + 1)) for _ in range(3)])


def test_pos_gives_few_orders_of_few_conflicts_a_good_chance_among_many_steps() -> None:
    """One write of a before all of b's: a random walk hits either end with 2**-10."""
    seen = orders(POS, (1, 10))
    assert seen["a" + 10 * "b"] > 4000 / 50
    assert seen[10 * "b" + "a"] > 4000 / 50


def test_pos_does_not_sample_orders_of_independent_steps_apart() -> None:
    """Two tasks on two cells: whichever order, the conflicting pair comes out both ways about as often."""
    seen = orders(POS, (1, 1))
    assert 0.45 < seen["ab"] / 4000 < 0.55


@pytest.mark.parametrize("sizes", [(1, 5), (2, 3), (1, 1, 2)])
def test_surw_samples_the_orders_of_one_place_uniformly(sizes: tuple[int, ...]) -> None:
    """Chi-squared at 1e-4 for the number of orders less one degrees of freedom."""
    seen = orders(SURW, sizes)
    limit = {6: 25.7, 10: 33.7, 12: 37.4}
    expected = 4000 / len(seen)
    statistic = sum((count - expected) ** 2 / expected for count in seen.values())
    assert len(seen) in limit
    assert statistic < limit[len(seen)]


@BOTH
def test_the_effect_of_the_brk_crash_is_found(strategy: str) -> None:
    scenario = scenarios.brk_false_vma
    settings = Settings(without=frozenset({"coverage"}), observers=scenario.observers)
    with applied(scenario.patches):
        assert any(
            explore(
                scenario.program, strategy=strategy, executions=1000, seed=seed, settings=settings
            ).failures
            for seed in (1, 2, 3)
        )


@BOTH
def test_data_choices_are_made(strategy: str) -> None:
    values = set()
    chooser = make_strategy(strategy, 1)
    for execution in range(50):
        chooser.begin(execution)
        values.add(chooser.data(3, "one of three"))
    assert values == {0, 1, 2}


def test_a_witness_of_another_program_does_not_replay() -> None:
    (witness,) = explore(lost_update, strategy="pos", settings=BARE).failures
    with pytest.raises(BadSchedule):
        replay(abba, witness.schedule, settings=BARE)
