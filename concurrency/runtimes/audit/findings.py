"""What an audit has seen, and the error that says what is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field

from sugarbush.concurrency.core import (
    ConcurrencyError,
)


class WrongDeclaration(ConcurrencyError):
    """An operation is not what it is declared to be; the sentence names it, and what it touched."""


@dataclass(slots=True)
class Audit:
    """What an audit has seen: how many executions, which operations, and what is wrong, each in one sentence."""

    executions: int = 0
    operations: set[str] = field(default_factory=set)
    found: list[str] = field(default_factory=list)
