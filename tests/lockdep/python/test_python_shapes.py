"""Every shape is reported though nothing hung, and no repaired form is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sugarbush.lockdep import python as watched
from sugarbush.lockdep.python import Program

sys.path.insert(0, str(Path(__file__).parent.parent))
from python_shapes import SHAPES, Shape

sys.path.pop(0)


@pytest.fixture
def program() -> Iterator[Program]:
    if watched.installed() is not None:
        pytest.skip("these tests install lockdep themselves: run them without --lockdep")
    program = watched.install(show=False, adopt=False)
    try:
        yield program
    finally:
        watched.uninstall()


@pytest.mark.parametrize("one", SHAPES, ids=[one.name for one in SHAPES])
def test_the_bug_is_reported(program: Program, one: Shape) -> None:
    one.bad()
    program.settle()
    assert one.kind in {str(report.kind) for report in program.failures}
    assert program.tell(program.failures[0])


@pytest.mark.parametrize("one", SHAPES, ids=[one.name for one in SHAPES])
def test_the_repaired_form_is_clean(program: Program, one: Shape) -> None:
    one.good()
    program.settle()
    assert [program.tell(report) for report in program.failures] == []
