"""The operations of the tree are what they are declared to be."""

from __future__ import annotations

import pytest
from rcu_programs import CASES, Case, equal_growth, program, slow_reader

from sugarbush.concurrency.lowlevel import audit


@pytest.mark.parametrize("case", CASES[::3], ids=lambda case: case.name)
def test_the_operations_of_the_tree_are_what_they_are_declared_to_be(case: Case) -> None:
    assert "rcu_dereference slot" in audit(program(case), executions=2).operations


@pytest.mark.parametrize("run", [equal_growth, slow_reader])
def test_so_they_are_where_readers_stay_long(run: object) -> None:
    audit(run, executions=2)
