"""Every strategy on every known bug: found, or left open, but never passed."""

from __future__ import annotations

import pytest
from concurrency_programs import BARE
from known_bugs import KNOWN_BUGS, Windows, locked_order

from sugarbush.concurrency import STRATEGIES, Verdict, explore, replay
from sugarbush.concurrency.strategies.table import TABLE

SEARCHES = ("dfs", "delay", "idfs", "idelay", "dpor")


@pytest.mark.parametrize("name", KNOWN_BUGS)
@pytest.mark.parametrize("strategy", [name for name, entry in TABLE.items() if entry.complete])
def test_every_strategy_finds_every_known_bug(strategy: str, name: str) -> None:
    bug = KNOWN_BUGS[name]
    result = explore(bug.program, strategy=strategy, executions=20_000, settings=bug.settings)
    assert result.verdict is Verdict.FAILED, (
        f"{strategy} misses {name}: if it cannot make every schedule, say complete=False in its row of TABLE"
    )
    (witness,) = result.failures
    assert witness.failure.kind is bug.kind
    assert replay(bug.program, str(witness.schedule), settings=bug.settings).failure.signature == (
        witness.failure.signature
    )


@pytest.mark.parametrize("name", KNOWN_BUGS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_budget_that_ends_too_soon_passes_nothing(strategy: str, name: str) -> None:
    bug = KNOWN_BUGS[name]
    for executions in (1, 2, 3):
        result = explore(bug.program, strategy=strategy, executions=executions, settings=bug.settings)
        assert result.verdict is (Verdict.FAILED if result.failures else Verdict.INCONCLUSIVE)


@pytest.mark.parametrize("name", [name for name, bug in KNOWN_BUGS.items() if bug.preemptions])
@pytest.mark.parametrize("strategy", ["dfs", "idfs"])
def test_a_bound_below_the_bug_says_what_it_did_not_see(strategy: str, name: str) -> None:
    bug = KNOWN_BUGS[name]
    below = bug.preemptions - 1
    result = explore(bug.program, strategy=strategy, depth=below, settings=bug.settings)
    assert result.failures == []
    assert result.cut > 0
    assert result.scope == (
        f"every schedule within preemption bound {below}, which cut {result.cut} switch points"
    )


@pytest.mark.parametrize("name", KNOWN_BUGS)
def test_the_iterative_search_needs_the_fewest_preemptions(name: str) -> None:
    bug = KNOWN_BUGS[name]
    result = explore(bug.program, strategy="idfs", settings=bug.settings)
    assert result.failures[0].preemptions == bug.preemptions
    assert result.bound == bug.preemptions
    assert result.completed == (bug.preemptions - 1 if bug.preemptions else None)


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
@pytest.mark.parametrize("strategy", ["dpor", "idfs"])
def test_two_preemptions_are_found_whichever_task_is_first(
    strategy: str, order: tuple[int, int, int]
) -> None:
    """frontrun's default bound passes this in four of the six orders."""
    rounds = (0, 1, 2)
    program = Windows((rounds[order[0]], rounds[order[1]], rounds[order[2]]))
    assert explore(program, strategy=strategy, settings=BARE).verdict is Verdict.FAILED


@pytest.mark.parametrize("strategy", [*SEARCHES, "random"])
def test_every_order_of_locked_sections_is_seen(strategy: str) -> None:
    """frontrun's DPOR reaches three of the six orders, and passes a check that a fourth one breaks."""
    result = explore(locked_order, strategy=strategy, executions=20_000, settings=BARE)
    assert result.verdict is Verdict.FAILED
