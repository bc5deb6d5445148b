"""What the test file of a primitive declares beside its tests, so that a new primitive needs no other test file.

`AUDITED` is a tuple of programs that use every operation of the primitive: the audit runs them with its own.
`STATEMENTS` is for the adversary, a dictionary of literals: how an object of it is made, and its kinds of statement,
each with the profiles that draw it (`PROFILES` in `adversary_generate.py`, separated by blanks) and a line of program.
In a line `r.append(...)` notes what it gave, by which two searches are compared.

    AUDITED = (two_latches,)
    STATEMENTS = {
        "objects": {"latch": 'Latch(1, "latch")'},
        "kinds": {"latch count_down": ("wait", "latch.count_down()")},
    }
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def _declaring(name: str) -> Iterator[tuple[Path, ast.Assign]]:
    """The test files that assign `name` at their top, in the order of their names, so that seeds mean the same."""
    for path in sorted(HERE.rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        # Most do not even have the word: to parse them all would cost every run a second.
        if f"\n{name} = " in text:
            for node in ast.parse(text).body:
                if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
                    yield path, node


def audited() -> tuple[Callable[[], Any], ...]:
    """The programs of all `AUDITED`."""
    found: list[Callable[[], Any]] = []
    for path, _ in _declaring("AUDITED"):
        spec = spec_from_file_location(f"audited_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        found += module.AUDITED
    return tuple(found)


def statements() -> Iterator[dict[str, dict[str, Any]]]:
    """All `STATEMENTS`; read, not run, so that the adversary imports no test."""
    for _, node in _declaring("STATEMENTS"):
        yield ast.literal_eval(node.value)
