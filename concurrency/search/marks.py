"""What the parts of a search that marks (`Marking`) tell each other, by way of whoever gives them out.

A part may find that other ways are to be tried above it. Several parts below one point may find so; then these ways are
opened once, and what the bound forbids there is counted once. A point is known by the choices before it.
"""

from __future__ import annotations

from sugarbush.concurrency.search.batch import Made, Report
from sugarbush.concurrency.strategies import Marking, Part, TraceSet
from sugarbush.concurrency.witness import Result


class Marks:
    """The points that were marked within one bound, and the traces that were counted."""

    def __init__(self, search: Marking) -> None:
        self._search = search
        self._open: set[Part] = set()
        """The points whose other ways were given out."""
        self._cut: set[Part] = set()
        """Those where the bound forbids them, and that were counted."""
        self._many = 1000
        self.traces = TraceSet()

    def opened(self, report: Report) -> list[Part]:
        """The parts that begin where a report has marked something that nobody had marked before.

        They come behind the part of the report in the order of the search, and so behind all that has been counted.
        """
        parts: list[Part] = []
        for one in report.made:
            for number, ways in one.marked:
                point = report.part[:number]
                if ways and point not in self._open:
                    self._open.add(point)
                    parts += self._search.opened(report.part, (number, ways))
        return parts

    def count(self, result: Result, part: Part, made: list[Made]) -> None:
        """Count the traces of executions of a part, and what the bound has cut above it; called in their order."""
        for one in made:
            if one.trace is not None:
                self.traces.note(one.trace)
            for number, ways in one.marked:
                point = part[:number]
                if not ways and point not in self._cut:
                    self._cut.add(point)
                    result.cut += 1
        result.traces, result.digest = len(self.traces), self.traces.digest

    @property
    def are_many(self) -> bool:
        """Whether it is time to `forget`: there are twice as many as were left the last time."""
        return len(self._open) + len(self._cut) >= self._many

    def forget(self, first: Part | None) -> None:
        """Forget the points that lie behind: `first` is the first part that is not counted, None if there is none.

        So there are never many more than lie above the parts that are open.
        """
        for points in (self._open, self._cut):
            points.difference_update([point for point in points if first is None or _is_behind(point, first)])
        self._many = max(1000, 2 * (len(self._open) + len(self._cut)))


def _is_behind(point: Part, first: Part) -> bool:
    """Whether no part from `first` on begins with the first way of `point`: only such a part may mark it.

    >>> _is_behind((0, 1), (0, 1, 0, 2)), _is_behind((0, 1), (0, 1, 1)), _is_behind((0, 1), (0, 2))
    (False, True, True)
    """
    beginning = first[: len(point)]
    return point < beginning or (point == beginning and first[len(point) : len(point) + 1] > (0,))
