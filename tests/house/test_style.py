"""The style of the house, as far as it can be counted."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from house_sources import FLOORS, ROOT, trees

FILES = sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))
OPEN = ("workloads", "catalogue", "torture")
"""Rooms whose files are each a door: one load, one bug, one torture test."""


def modules() -> Iterator[tuple[str, Path, ast.Module]]:
    for floor in FLOORS:
        for path, tree in trees(floor).items():
            name = ".".join(("sugarbush", *path.with_suffix("").parts)).removesuffix(".__init__")
            yield name, ROOT / path, tree


def test_no_function_is_longer_than_70_lines() -> None:
    """The docstring apart."""
    for name, _, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                first = node.body[1 if ast.get_docstring(node) and len(node.body) > 1 else 0]
                assert (node.end_lineno or 0) - first.lineno < 70, f"{name}.{node.name}"


def test_no_module_is_longer_than_400_lines() -> None:
    """What does one thing is short; the room has place for another module."""
    for name, path, _ in modules():
        length = len(path.read_text(encoding="utf-8").splitlines())
        assert length <= 400, f"{name} has {length} lines"


def test_half_of_all_modules_are_shorter_than_150_lines() -> None:
    lengths = sorted(len(path.read_text(encoding="utf-8").splitlines()) for path in FILES)
    assert lengths[len(lengths) // 2] < 150


def test_every_room_says_who_lives_there() -> None:
    for name, path, tree in modules():
        if path.name == "__init__.py":
            assert ast.get_docstring(tree), name


def test_a_room_is_entered_by_its_door() -> None:
    """An import from another room names the room, and nothing inside of it."""
    for name, _, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sugarbush."):
                parts = str(node.module).split(".")
                elsewhere = parts[:3] != name.split(".")[:3]
                inside = len(parts) > 3 and parts[2] not in OPEN
                # The package's own door, and the lower tier beside it, are made of what lies in the rooms.
                assert not (elsewhere and inside) or name.count(".") <= 2, f"{name}: {node.module}"


def test_a_test_that_looks_up_what_is_registered_has_it_registered() -> None:
    """Else it would find what tests before it happened to import: run alone it would fail, or test nearly nothing."""
    looks_up = re.compile(r"\b(?:find_bug|all_bugs|find_scenario|all_scenarios)\(")
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if path != Path(__file__) and looks_up.search(text):
            assert re.search(r"\bload\(\)", text), path
