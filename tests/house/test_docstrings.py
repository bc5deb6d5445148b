"""What a docstring says: something of its own, wherever somebody from outside meets the name."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from house_sources import FLOORS, ROOT, Documented, exported, trees

ONLY = re.compile(r"See\b|(Like|Same as|As in|As for) `[^`]*`\.?$")
"""How a docstring begins that sends its reader elsewhere, or all that it says."""


def documented(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, Documented):
            said = ast.get_docstring(node)
            if said:
                yield getattr(node, "lineno", 1), said


@pytest.mark.parametrize("floor", FLOORS)
def test_no_docstring_only_sends_its_reader_elsewhere(floor: str) -> None:
    """It may name the base class once it has said what this one does; with nothing to add there is none."""
    found = [
        f"{path}:{line}: {said.splitlines()[0]}"
        for path, tree in trees(floor).items()
        for line, said in documented(tree)
        if ONLY.match(said)
    ]
    assert not found, "\n".join(found)


def without(path: Path, name: str, tree: ast.Module) -> Iterator[str]:
    """The function or class `name` of a module, and the public methods of the class, that have no docstring."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            inside = [one for one in node.body if isinstance(one, ast.FunctionDef)]
            for one in [node, *(inside if isinstance(node, ast.ClassDef) else [])]:
                public = one is node or not one.name.startswith("_")
                if public and not ast.get_docstring(one) and not _says_the_base(path, node, one):
                    yield f"{path}:{one.lineno}: {name if one is node else f'{name}.{one.name}'}"


def _says_the_base(
    path: Path, cls: ast.ClassDef | ast.FunctionDef, node: ast.ClassDef | ast.FunctionDef
) -> bool:
    """What is overridden is documented where it is declared, and the setter of a property where it is read."""
    said = [ast.unparse(one).rpartition(".")[2] for one in node.decorator_list]
    if {"override", "setter", "overload"} & set(said):
        return True
    if cls is node or not (ROOT / path).is_file():
        return False
    live = getattr(import_module("sugarbush." + ".".join(path.with_suffix("").parts)), cls.name)
    return inspect.getdoc(getattr(live, node.name)) is not None


@pytest.mark.parametrize("floor", FLOORS)
def test_what_a_door_exports_has_a_docstring(floor: str) -> None:
    found = []
    for door, tree in trees(floor).items():
        if door.name != "__init__.py":
            continue
        names = exported(tree)
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sugarbush."):
                path = Path(*str(node.module).split(".")[1:]).with_suffix(".py")
                module = trees(path.parts[0]).get(path)
                for one in node.names:
                    if module is not None and one.name in names:
                        found += without(path, one.name, module)
    assert not found, "\n".join(sorted(set(found)))


def test_both_tests_see_what_they_are_for() -> None:
    source = ast.parse(
        "class Lock:\n"
        '    """See `Base`."""\n'
        "    def take(self): pass\n"
        "    @override\n"
        "    def give(self): pass\n"
        "    def _look(self): pass\n"
        "def free():\n"
        '    """Free it; see `Base`."""\n'
    )
    assert [said for _, said in documented(source) if ONLY.match(said)] == ["See `Base`."]
    assert list(without(Path("x.py"), "Lock", source)) == ["x.py:3: Lock.take"]
    assert ONLY.match("Like `Mutex`.")
    assert not ONLY.match("Like `Mutex`, for readers.")
