"""Names: one for one thing, and none that only its author understands."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from house_sources import FLOORS, trees

CUTE = (
    # Words of this repository that were metaphors: what they stood for has a name now.
    "film", "ground", "told",
    # Words that say nothing of what is inside.
    "helper", "helpers", "manager", "misc", "stuff", "thing", "things", "util", "utils",
)  # fmt: skip


def public_classes(floor: str) -> Iterator[tuple[str, Path]]:
    """Also those within functions and classes; not those with an underscore, which no other module knows."""
    for path, tree in trees(floor).items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield node.name, path


@pytest.mark.parametrize("floor", FLOORS)
def test_a_class_has_its_name_alone_in_its_package(floor: str) -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for name, path in public_classes(floor):
        places[name].append(str(path))
    twice = [f"{name}: {', '.join(where)}" for name, where in sorted(places.items()) if len(where) > 1]
    assert not twice, "\n".join(twice)


def public_names(floor: str) -> Iterator[tuple[str, Path]]:
    """Of modules, of rooms, and of the classes and functions of modules."""
    for path, tree in trees(floor).items():
        yield (path.parent.name if path.name == "__init__.py" else path.stem), path
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                yield node.name, path


@pytest.mark.parametrize("floor", FLOORS)
def test_no_public_name_is_a_cute_one(floor: str) -> None:
    found = sorted({f"{path}: {name}" for name, path in public_names(floor) if name.lower() in CUTE})
    assert not found, "\n".join(found)


def test_names_are_looked_for_where_they_are() -> None:
    names = {name for name, _ in public_names("stress")}
    assert {"refusals", "cli", "Asked", "parameters"} <= names
    assert ("Campaign", Path("stress/runs/campaign.py")) in set(public_classes("stress"))
