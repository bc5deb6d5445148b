"""Random small programs see under weak memory exactly what the axioms of the kernel's model allow."""

from __future__ import annotations

from random import Random

import pytest
from weak_axioms import Execution
from weak_programs import random_program, seen

LONG = frozenset({17, 26, 37})
"""Seeds whose programs have more executions than all others together."""


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=pytest.mark.exhaustive) if seed in LONG else seed for seed in range(60)]
)
def test_what_is_seen_is_what_the_axioms_allow(seed: int) -> None:
    tasks = random_program(Random(seed))
    assert seen(tasks, "dpor") == Execution(tasks, "xy").outcomes(), tasks


@pytest.mark.parametrize("seed", range(0, 60, 6))
def test_the_reduced_search_sees_what_the_full_one_sees(seed: int) -> None:
    tasks = [body[:2] for body in random_program(Random(seed))[:2]]
    assert seen(tasks, "dpor") == seen(tasks, "dfs")
