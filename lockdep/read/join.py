"""Cycles that no report tells, of orders that several do: what one boot would have reported, had it gone on.

Orders of different kernels are not put together unless asked for: a fix between the two may have turned one
of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from sugarbush.lockdep.model import ClassLine, ReportKind, Stack
from sugarbush.lockdep.read.identities import base, key_of, turned
from sugarbush.lockdep.read.model import NOBODY, NOWHERE, UNKNOWN, LogReport
from sugarbush.lockdep.reports import Link

Graph = dict[str, dict[str, tuple[str, Stack, str]]]


def joined(reports: Iterable[LogReport], across: bool = False) -> Iterator[LogReport]:
    """Shortest cycles through orders of two or more whole reports of one kernel; of all kernels if `across`."""
    graphs: dict[str, Graph] = {}
    told: dict[str, set[tuple[str, ...]]] = {}
    for report in reports:
        if not report.edges or report.reporter != "lockdep":
            continue
        kernel = "" if across else report.release
        graph = graphs.setdefault(kernel, {})
        told.setdefault(kernel, set()).add(turned([base(name) for name in report.cycle]))
        for held, wanted, stack in report.edges:
            graph.setdefault(base(held), {}).setdefault(base(wanted), (report.release, stack, report.source))
    for kernel, graph in graphs.items():
        known = told[kernel]
        for held in sorted(graph):
            for wanted in sorted(graph[held]):
                path = _path(graph, wanted, held)
                cycle = turned(path) if path else ()
                if cycle and len(set(cycle)) == len(cycle) > 1 and cycle not in known:
                    known.add(cycle)
                    yield _report(graph, cycle, "several kernels" if across else kernel)


def _path(graph: Graph, start: str, end: str) -> list[str]:
    came: dict[str, str | None] = {start: None}
    pending = deque([start])
    while pending:
        at = pending.popleft()
        if at == end:
            path = [at]
            while (before := came[path[-1]]) is not None:
                path.append(before)
            return path[::-1]
        for other in graph.get(at, ()):
            if other not in came:
                came[other] = at
                pending.append(other)
    return []


def _report(graph: Graph, cycle: tuple[str, ...], release: str) -> LogReport:
    steps = list(zip(cycle, (*cycle[1:], cycle[0]), strict=True))
    links = [
        Link(ClassLine(wanted, "", UNKNOWN, UNKNOWN), graph[held][wanted][1], "unknown", held, NOWHERE)
        for held, wanted in steps
    ]
    upward = links[-1:] + links[:-1]
    sources = sorted({graph[held][wanted][2] for held, wanted in steps})
    report = LogReport(
        kind=ReportKind.CIRCULAR,
        headline="orders of several reports close a cycle that none of them tells",
        key="",
        title="possible deadlock by orders of several reports",
        task=NOBODY,
        held=(),
        stack=(),
        cycle=cycle,
        complete=True,
        links=tuple(upward[::-1]),
        release=release,
        source=", ".join(sources),
    )
    from dataclasses import replace

    return replace(report, key=key_of(report))
