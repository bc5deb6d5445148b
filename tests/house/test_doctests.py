"""Worked examples in docstrings are true: each module that has one is run, and those that were promised have one."""

from __future__ import annotations

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = ("lockdep", "concurrency", "tree", "vm", "stress")
PROMISED = {
    "concurrency/strategies/wakeup.py": "wakeup trees: a race is reversed by hand, and the sequence inserted",
    "concurrency/strategies/parts.py": "wakeup trees: a branch is taken, execution by execution",
    "concurrency/strategies/bounded.py": "what is tried within a bound on preemptions",
    "concurrency/runtimes/weak/memory.py": "which writes a read may return, by what orders it",
    "concurrency/runtimes/weak/reading.py": "how many writes a task may read from, write by write",
}
"""What needs thought, and so an example; the other modules may have some."""


def with_examples() -> list[str]:
    """The modules in which a docstring has an example, found by reading the sources."""
    paths = (path for floor in FLOORS for path in sorted((ROOT / floor).rglob("*.py")))
    return [
        str(path.relative_to(ROOT))
        for path in paths
        if re.search(r"^\s*>>> ", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]


@pytest.mark.parametrize("name", with_examples())
def test_examples_are_true(name: str) -> None:
    parts = Path(name).with_suffix("").parts
    module = import_module(".".join(("sugarbush", *parts)).removesuffix(".__init__"))
    done = doctest.testmod(module)
    # Text with ">>>" that doctest does not find stands in no docstring, so nobody would run it.
    assert done.attempted, f"{name} has examples outside of docstrings"
    assert not done.failed


@pytest.mark.parametrize("name", PROMISED)
def test_what_needs_thought_has_an_example(name: str) -> None:
    assert name in with_examples(), f"{name} needs an example (>>>) of {PROMISED[name]}"
