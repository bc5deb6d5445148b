"""Two tiers of names: for who writes programs, and for who writes primitives, strategies, observers."""

from __future__ import annotations

import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import sugarbush
from sugarbush import concurrency, lockdep, tree
from sugarbush.concurrency import lowlevel

ROOT = Path(__file__).parents[2]
FLOORS = ("lockdep", "concurrency", "tree", "vm", "stress")
DOORS = [sugarbush, concurrency, lowlevel, lockdep, tree]


def test_a_name_is_in_one_tier_only() -> None:
    assert not set(concurrency.__all__) & set(lowlevel.__all__)


def test_the_face_is_of_the_upper_tier() -> None:
    assert set(sugarbush.__all__) <= set(concurrency.__all__)
    assert all(getattr(sugarbush, name) is getattr(concurrency, name) for name in sugarbush.__all__)
    with pytest.raises(AttributeError, match="no attribute 'perform'"):
        sugarbush.perform  # noqa: B018


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_what_is_exported_is_there_and_documented(door: ModuleType) -> None:
    for name in door.__all__:
        value = getattr(door, name)
        if inspect.isclass(value) or inspect.isroutine(value):
            assert inspect.getdoc(value), f"{name} has no docstring"


@pytest.mark.parametrize("door", [sugarbush, concurrency, lockdep, tree], ids=lambda door: door.__name__)
def test_no_name_shadows_a_module(door: ModuleType) -> None:
    assert not {module.name for module in pkgutil.iter_modules(door.__path__)} & set(door.__all__)


def test_no_name_shadows_a_module_of_its_room() -> None:
    for init in (path for floor in FLOORS for path in (ROOT / floor).glob("*/__init__.py")):
        exported = set(re.findall(r'^    "(\w+)",$', init.read_text(encoding="utf-8"), re.MULTILINE))
        modules = {path.stem for path in init.parent.glob("*.py")} - {"__init__"}
        # A module may be a name of its door's: then the module itself is meant.
        taken = {name for name in exported & modules if not _is_the_module(init, name)}
        assert not taken, init


def _is_the_module(init: Path, name: str) -> bool:
    room = ".".join(init.parent.relative_to(ROOT).parts)
    return f"from sugarbush.{room} import" in init.read_text(encoding="utf-8") and not re.search(
        rf"from sugarbush\.{room}\.{name} import [^\n]*\b{name}\b", init.read_text(encoding="utf-8")
    )


@pytest.mark.parametrize("folder", FLOORS)
def test_a_folder_is_no_second_copy_of_itself(folder: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import {folder}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: import sugarbush.{folder}: the folder of the repository is a part of the package sugarbush"
    )
