"""Each fault that was there is found when it is put back: what the adversary cannot find it does not test."""

from __future__ import annotations

import pytest
from adversary_compare import Skipped
from adversary_generate import generate
from adversary_never import never_passed
from mutants import MUTANTS, NEVER, Mutant

SEEDS = 60
"""So many seeds are gone through if the hints do not find it any more."""


def finds(mutant: Mutant, seed: int) -> bool:
    """Whether the comparison says that the engine is wrong, or the engine ends in an error."""
    try:
        return bool(mutant.finder(generate(mutant.profile, seed)))
    except Skipped:
        return False
    except Exception:
        return True


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_the_fault_is_found(mutant: Mutant) -> None:
    found = next(seed for seed in (*mutant.hints, *range(SEEDS), None) if seed is None or _with(mutant, seed))
    assert found is not None, f"{mutant.truth} is put back, and no program finds it: {mutant.name}"
    assert not finds(mutant, found), f"without the fault {mutant.profile} {found} fails, too"


def _with(mutant: Mutant, seed: int) -> bool:
    with pytest.MonkeyPatch.context() as patch:
        mutant.put(patch)
        return finds(mutant, seed)


@pytest.mark.parametrize("name", NEVER)
def test_what_is_not_explored_is_found(name: str) -> None:
    put, way = NEVER[name]
    program = generate("core", 0)
    with pytest.MonkeyPatch.context() as patch:
        put(patch)
        assert any(never_passed(way, program, strategy) for strategy in ("dfs", "dpor")), "nobody notices"
    assert not any(never_passed(way, program, strategy) for strategy in ("dfs", "dpor"))


def test_each_kind_of_untrue_verdict_is_put_back() -> None:
    wanted = {f"A{n}" for n in range(1, 9)} | {f"B{n}" for n in (1, 2, 3, 4, 5, 6, 7, 10)}
    assert wanted <= {mutant.truth for mutant in MUTANTS} | {"A5"}
