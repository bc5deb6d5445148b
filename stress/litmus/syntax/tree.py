"""What the parser gives: trees of tuples and named tuples, each with its line.

An expression is a tuple whose first part says what it is:

    ("number", 5)   ("name", "x", line)   ("load", address, line)   ("address", expression, line)
    ("call", "READ_ONCE", (arguments), line)   ("unary", "!", one, line)   ("binary", "+", one, other, line)

Casts and parentheses leave nothing behind. Tuples and not classes: there is one reader, `stress.litmus.code`, which
takes them apart by their first part at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

Node = tuple[Any, ...]


class Init(NamedTuple):
    """An initial value: `kind` is ``p`` (memory), ``l`` (spinlock) or ``s`` (srcu_struct), None where nothing says so.

    `process` is None for a location; `value` a number, or the name of a location whose address it is.
    """

    kind: str | None
    process: int | None
    name: str
    value: int | str | None
    line: int


@dataclass(slots=True)
class ProcessTree:
    """A process: its parameters (kind, name, line), and its statements.

    A statement is ``("declare", [(name, expression or None, line, text)])``, ``("assign", target, value, line, text)``,
    ``("if", condition, then, otherwise, line)``, ``("do", expression, line, text)`` or ``("block", [statements])``.
    """

    number: int
    line: int
    parameters: list[tuple[str, str, int]] = field(default_factory=list)
    body: Node = ("block", ())


class Clause(NamedTuple):
    """``exists``, ``~exists``, ``forall`` or ``filter`` with its proposition; ``locations`` with its places.

    A proposition is ``("and", [...])``, ``("or", [...])``, ``("not", one)``, ``("true",)``, ``("false",)`` or
    ``("equal", place, value, line)``; a place is (process or None, name), a value also a number or the name of a
    location as text.
    """

    kind: str
    says: Any
    line: int
    text: str


@dataclass(slots=True)
class Parsed:
    """The tree of a test."""

    init: list[Init]
    processes: list[ProcessTree]
    clauses: list[Clause]
