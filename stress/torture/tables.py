"""Tables of what can be tortured, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from sugarbush.concurrency import ConcurrencyError

T = TypeVar("T")


def of_table(table: Mapping[str, T], what: str, name: str) -> T:
    """The row of this name; raises `ConcurrencyError`, which says of `what` there are which."""
    if name not in table:
        raise ConcurrencyError(f"no {what} is called {name!r}: there are {', '.join(table)}")
    return table[name]
