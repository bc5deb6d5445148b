"""No module imports itself by way of others: also not for types, or within a function."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
FLOORS = ("lockdep", "concurrency", "tree", "vm", "stress")
Graph = dict[str, set[str]]


def imports(name: str, tree: ast.Module, known: set[str]) -> set[str]:
    """Modules of the project that are imported anywhere in a module; `name` is asked for, too, if it is a package's."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            # What is imported from a door is the door, unless it is a module that stands behind it.
            found.update(
                inner if (inner := f"{node.module}.{one.name}") in known else node.module
                for one in node.names
            )
    return (found & known) - {name}


def graph() -> Graph:
    paths = {
        ".".join(("sugarbush", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
        for floor in FLOORS
        for path in (ROOT / floor).rglob("*.py")
    }
    return {
        name: imports(name, ast.parse(path.read_text(encoding="utf-8")), set(paths))
        for name, path in sorted(paths.items())
    }


def circles(of: Graph) -> list[list[str]]:
    """The strongly connected components of more than one module (Tarjan, SIAM J. Comput. 1972, without recursion)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []
    for start in of:
        if start in index:
            continue
        work = [(start, iter(sorted(of[start])))]
        index[start] = low[start] = len(index)
        stack.append(start)
        while work:
            here, rest = work[-1]
            after = next(rest, None)
            if after is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[here])
                if low[here] == index[here]:
                    at = stack.index(here)
                    if len(stack) - at > 1:
                        found.append(sorted(stack[at:]))
                    del stack[at:]
            elif after not in index:
                index[after] = low[after] = len(index)
                stack.append(after)
                work.append((after, iter(sorted(of[after]))))
            elif after in stack:
                low[here] = min(low[here], index[after])
    return found


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert circles(graph()) == []


def test_a_circle_is_seen_wherever_it_is_closed() -> None:
    of = graph()
    assert len(of) > 500
    door, inside = "sugarbush.concurrency.core", "sugarbush.concurrency.witness.story"
    for how in (
        f"from {inside} import Story",
        f"import {inside}",
        "from sugarbush.concurrency.witness import story",
        f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from {inside} import Story",
        f"def late():\n    from {inside} import Story",
    ):
        closed = {**of, door: of[door] | imports(door, ast.parse(how), set(of))}
        assert [one for one in circles(closed) if door in one and inside in one], how
