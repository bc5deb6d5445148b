"""The sources of the five packages as trees, for the tests of the house."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
FLOORS = ("lockdep", "concurrency", "tree", "vm", "stress")

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@cache
def trees(floor: str) -> dict[Path, ast.Module]:
    """The modules of one package, by their path in the repository."""
    return {
        path.relative_to(ROOT): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted((ROOT / floor).rglob("*.py"))
    }


def exported(door: ast.Module) -> set[str]:
    """What `__all__` of a door names."""
    for node in door.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return {one.value for one in ast.walk(node.value) if isinstance(one, ast.Constant)}
    return set()
