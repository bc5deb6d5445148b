"""A portfolio: its members take turns, and a witness says which of them found it."""

from __future__ import annotations

from concurrency_programs import BARE, lost_update
from known_bugs import aligned_windows

from sugarbush.concurrency import explore
from sugarbush.concurrency.lowlevel import PCT, POS, SURW, RandomWalk
from sugarbush.concurrency.strategies import Portfolio


def schedules(strategy: object, executions: int) -> list[str]:
    runtime = BARE.runtime(strategy)
    return [str(runtime.run(aligned_windows).schedule) for _ in range(executions)]


def test_members_take_turns_and_make_what_they_would_make_alone() -> None:
    together = schedules(Portfolio([RandomWalk(3), POS(3)]), 40)
    assert together[::2] == schedules(RandomWalk(3), 20)
    assert together[1::2] == schedules(POS(3), 20)


def test_members_that_learn_do_so() -> None:
    """PCT starts from a guess of 128 operations; a tenth of that is right here."""
    members = [PCT(1, 3), SURW(1)]
    schedules(Portfolio(members), 20)
    assert 0 < members[0].knows < 60
    assert members[1].knows.shared()


def test_a_witness_says_who_found_it() -> None:
    finders = set()
    for seed in range(1, 20):
        result = explore(lost_update, strategy="portfolio", seed=seed, settings=BARE)
        assert result.strategy == "portfolio"
        witness = result.failures[0]
        assert witness.strategy == ("pct", "pos", "surw")[witness.execution % 3]
        finders.add(witness.strategy)
    assert len(finders) > 1


def test_the_same_seed_makes_the_same_choices() -> None:
    def made(seed: int) -> list[str]:
        return schedules(Portfolio([PCT(seed), POS(seed), SURW(seed)]), 50)

    assert made(1) == made(1)
    assert made(1) != made(2)
