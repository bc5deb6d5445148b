"""Reports as a `Snapshot`: what our listings, pictures and merges take, with the orders that the reports
tell.
"""

from __future__ import annotations

from collections.abc import Iterable

from sugarbush.lockdep.model import ClassLine, LockLine, ReportKind
from sugarbush.lockdep.read.model import UNKNOWN, LogReport, told_frame
from sugarbush.lockdep.read.titles import own
from sugarbush.lockdep.show import ClassRow, EdgeRow, HeldRow, ReportRow, Snapshot


def snapshot_of(reports: Iterable[LogReport]) -> Snapshot:
    """The classes, orders, held locks and reports of logs.

    Operations, reach and kinds of edges are not in a log: 0 and (). Only orders that a report tells are
    edges: the steps of a whole cycle, and of other reports the order of held and wanted lock.
    """
    classes: dict[str, ClassLine | LockLine] = {}
    edges: dict[tuple[str, str], str] = {}
    held: list[HeldRow] = []
    rows: list[ReportRow] = []
    for report in reports:
        for line in _lines(report):
            classes.setdefault(line.name, line)
        for before, wanted, where in _orders(report):
            edges.setdefault((before, wanted), where)
        held += report.rows
        rows.append(
            ReportRow(str(report.kind), report.headline, report.is_failure, report.render(), _fields(report))
        )
    numbers = {name: at for at, name in enumerate(classes)}
    return Snapshot(
        classes=tuple(
            ClassRow(
                numbers[name],
                name,
                line.usage,
                line.outer,
                line.inner,
                0,
                0,
                0,
                tuple(numbers[wanted] for before, wanted in edges if before == name),
            )
            for name, line in classes.items()
        ),
        edges=tuple(
            EdgeRow(numbers[before], numbers[wanted], (), 1, where)
            for (before, wanted), where in edges.items()
        ),
        held=tuple(held),
        reports=tuple(rows),
    )


def _lines(report: LogReport) -> list[ClassLine | LockLine]:
    lines: list[ClassLine | LockLine] = [line for line in (report.wanted, report.owned) if line is not None]
    lines += (
        [link.wanted for link in report.links] + [block.line for block in report.blocks] + list(report.held)
    )
    known = {line.name for line in lines}
    lines += [ClassLine(name, "", UNKNOWN, UNKNOWN) for name in report.cycle if name not in known]
    return lines


def _orders(report: LogReport) -> list[tuple[str, str, str]]:
    found = []
    for before, wanted, stack in report.edges:
        frame = own(stack)
        found.append((before, wanted, told_frame(frame) if frame else ""))
    if (
        not found
        and report.owned is not None
        and report.wanted is not None
        and report.owned.name != report.wanted.name
    ):
        found.append((report.owned.name, report.wanted.name, told_frame(report.wanted.site)))
    if report.kind is ReportKind.IRQ_ORDER and report.complete:
        assert report.owned is not None
        assert report.wanted is not None
        for before, wanted in ((report.safe, report.owned.name), (report.wanted.name, report.unsafe)):
            if before != wanted:
                found.append((before, wanted, ""))
    return found


def _fields(report: LogReport) -> dict[str, object]:
    fields = report.to_json()
    if report.edges:
        # What `draw.reported_edges` takes the cycle from.
        fields["chain"] = [{"wanted": {"name": link.wanted.name}} for link in report.links]
    return fields
