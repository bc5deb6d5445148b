"""What the readers of other reporters have in common: the face that a scan feeds, and a circle of steps as a
report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, Protocol

from sugarbush.lockdep.model import ClassLine, Frame, ReportKind, Stack, TaskLine
from sugarbush.lockdep.read.model import NOBODY, NOWHERE, UNKNOWN, LogReport
from sugarbush.lockdep.read.titles import own
from sugarbush.lockdep.reports import Link

MOST: Final = 4000
"""Lines of one report."""


class OtherReading(Protocol):
    """A report of another checker being read: lines go in until `done`, then `report` says what it was, or
    None.
    """

    done: bool

    def feed(self, text: str) -> None:
        """One more line, without the prefixes of logs."""
        ...

    def report(self, source: str, number: int) -> LogReport | None:
        """The report that was read; None if the words of its headline were all that was there."""
        ...


class OtherReader(Protocol):
    """A reporter: the words by which its reports are found in a block, and what opens one."""

    name: ClassVar[str]
    parts: ClassVar[tuple[str, ...]]

    @staticmethod
    def opened(text: str) -> OtherReading | None:
        """A reading if this line opens a report."""
        ...


@dataclass(slots=True)
class Dependency:
    """A step: `wanted` was taken while `held` was held; `before` is where that had been taken."""

    held: str
    wanted: str
    by: str = ""
    stack: list[Frame] = field(default_factory=list)
    before: list[Frame] = field(default_factory=list)


def circle(edges: Sequence[Dependency], first: str | None = None) -> tuple[list[Dependency], bool]:
    """The edges in the order of the circle that they make, from `first` on, and whether they close one."""
    if not edges:
        return [], False
    after = {edge.held: edge for edge in edges}
    start = first if first in after else edges[0].held
    ordered: list[Dependency] = []
    at = start
    while at in after and len(ordered) < len(edges):
        edge = after[at]
        ordered.append(edge)
        at = edge.wanted
        if at == start:
            break
    whole = at == start and len(ordered) == len(edges) == len(after) and len(edges) > 1
    return (ordered if whole else list(edges)), whole


def circular(
    reporter: str,
    headline: str,
    edges: Sequence[Dependency],
    source: str,
    number: int,
    *,
    names: dict[str, str] | None = None,
    hung: bool = False,
) -> LogReport:
    """A circle of steps as a report of the validator's; incomplete, and without links, if it does not close.

    `names` gives locks the names that their own reporter found for them (a symbol, a class); others keep
    their number or address, and are left out of the identity.
    """
    ordered, whole = circle(edges)
    called = names or {}
    ring = tuple(called.get(edge.held, edge.held) for edge in ordered)
    whole = whole and len(set(ring)) == len(ring)
    # As in the kernel's chain: #k is taken while #k-1 is held, and #0 while the highest is; the last edge
    # closes it.
    links = [
        Link(
            ClassLine(called.get(edge.wanted, edge.wanted), "", UNKNOWN, UNKNOWN),
            tuple(edge.stack),
            edge.by or "unknown",
            called.get(edge.held, edge.held),
            own(tuple(edge.before)) or NOWHERE,
        )
        for edge in ordered
    ]
    upward = (links[-1:] + links[:-1]) if whole else []
    function = next((frame.function for edge in ordered if (frame := own(tuple(edge.stack)))), "")
    return LogReport(
        kind=ReportKind.HUNG if hung and not whole else ReportKind.CIRCULAR,
        headline=headline,
        key="",
        title=f"{'deadlock' if hung else 'possible deadlock'} in {function}" if function else "",
        task=TaskLine(ordered[-1].by, UNKNOWN) if ordered and ordered[-1].by else NOBODY,
        held=(),
        stack=(),
        cycle=ring,
        complete=whole,
        links=tuple(upward[::-1]),
        source=source,
        line=number,
        reporter=reporter,
    )


def stack_key(stack: Stack) -> str:
    """The first own function of a stack, or "?"."""
    frame = own(stack)
    return frame.function if frame else "?"
