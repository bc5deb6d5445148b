"""What the tests of this process have counted, over all executions of one run.

A replay counts nothing: it shows again what was counted.
"""

from __future__ import annotations

from typing import Protocol, Self

from sugarbush.concurrency.lowlevel import active


class Countable(Protocol):
    """Something that can be counted on, and printed."""

    def add(self, other: Self) -> None:
        """Count what `other` has counted."""

    def lines(self, flavour: str) -> list[str]:
        """The statistics as the kernel prints them."""

    def end(self, flavour: str) -> str:
        """The last line of a test."""


_totals: dict[str, Countable] = {}


def record(name: str, counted: Countable) -> None:
    """An execution of the test `name` is over."""
    rt = active.runtime
    # A replay with everything recorded is of an execution that has been counted.
    if rt is not None and rt.tracing:
        return
    total = _totals.get(name)
    if total is None:
        total = _totals[name] = type(counted)()
    total.add(counted)


def closing() -> list[str]:
    """The lines for the end of a run; the next one counts from the start."""
    lines = [line for name, total in _totals.items() for line in (*total.lines(name), total.end(name))]
    _totals.clear()
    return lines
