"""Many logs, each cycle once: how often it was seen, in which kernels, under which titles, first and last."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sugarbush.lockdep.model import ReportKind
from sugarbush.lockdep.outside import UnusableFile, read_json, read_text, shown
from sugarbush.lockdep.read.identities import base, identity, path_of, steps_of
from sugarbush.lockdep.read.model import LogReport

FORMAT: Final = "sugarbush-lock-reports-1"


@dataclass(slots=True)
class Finding:
    """One cause: its first report, whole if there is a whole one, and where it was seen.

    An incomplete report has no identity; those of one kind and title are one finding, and `near` names the
    known cycles that have one of their locks' orders.
    """

    identity: str
    report: LogReport
    count: int = 0
    kernels: dict[str, int] = field(default_factory=dict)
    titles: dict[str, int] = field(default_factory=dict)
    logs: dict[str, int] = field(default_factory=dict)
    first: str = ""
    last: str = ""
    paths: dict[str, int] = field(default_factory=dict)
    near: tuple[str, ...] = ()

    def add(self, report: LogReport) -> None:
        """One more report of this cause."""
        self.count += 1
        self.last = f"{report.source}:{report.line}"
        self.first = self.first or self.last
        for table, value in (
            (self.kernels, report.release),
            (self.titles, report.title),
            (self.logs, report.source),
            (self.paths, path_of(report)),
        ):
            if value:
                table[value] = table.get(value, 0) + 1

    def to_json(self) -> dict[str, Any]:
        """The report, and how often and where it was seen."""
        return {
            **self.report.to_json(),
            "identity": self.identity or None,
            "seen": self.count,
            "kernels": dict(self.kernels),
            "titles": dict(self.titles),
            "first": self.first,
            "last": self.last,
            "logs": len(self.logs),
            "paths": len(self.paths),
            "near": list(self.near),
        }


def gather(reports: Iterable[LogReport]) -> list[Finding]:
    r"""The findings, in the order in which each was met first.

    >>> from sugarbush.lockdep.read import read_text
    >>> log = "[ 1.000000] BUG: MAX_LOCKDEP_KEYS too low!\n" * 3
    >>> [(one.identity[:5], one.count) for one in gather(read_text(log, "a.log"))]
    [('table', 3)]
    """
    found: dict[str, Finding] = {}
    for report in reports:
        name = identity(report)
        key = name or f"?{report.word}?{report.title}?{report.headline}?{'?'.join(report.cycle)}"
        if report.kind is ReportKind.ALL_LOCKS:
            key = f"?{report.source}?{report.line}"
        finding = found.get(key)
        if finding is None:
            finding = found[key] = Finding(name, report)
        finding.add(report)
    _find_near(found.values())
    return list(found.values())


def _find_near(findings: Iterable[Finding]) -> None:
    """For each incomplete cycle, the known ones that go over its order of two locks."""
    known = [
        (one.identity, steps_of(one.report.cycle)) for one in findings if one.identity and one.report.edges
    ]
    for one in findings:
        step = _known_step(one)
        one.near = tuple(name for name, has in known if step in has) if step else ()


def _known_step(one: Finding) -> tuple[str, str] | None:
    """The order that a cut report still tells: the lock that was held, and the one that was wanted."""
    report = one.report
    if one.identity or report.wanted is None or report.owned is None:
        return None
    return base(report.owned.name), base(report.wanted.name)


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is known already: identities, and the steps of the cycles, by which a cut report is known again."""

    identities: frozenset[str]
    steps: frozenset[tuple[str, str]]

    def knows(self, one: Finding) -> bool:
        """Whether a finding is none that is new. A cut one is known if its order stands in a known cycle."""
        return one.identity in self.identities if one.identity else _known_step(one) in self.steps


def to_json(findings: Iterable[Finding]) -> dict[str, Any]:
    """All findings as one object; also what `--baseline` reads."""
    return {"format": FORMAT, "reports": [one.to_json() for one in findings]}


def read_baseline(path: Path) -> Baseline:
    """What ``--json`` wrote, or a list of identities, one a line (``#`` begins a remark); raises
    `UnusableFile`.
    """
    text = read_text(path)
    if not text.lstrip().startswith("{"):
        words = [word for line in text.splitlines() if (word := line.partition("#")[0].strip())]
        for word in words:
            if not _IDENTITY.fullmatch(word):
                raise UnusableFile(f"{path} is no baseline: {shown(word)} is no identity of a report")
        return Baseline(frozenset(words), frozenset())
    data = read_json(path, "a baseline")
    rows = data.get("reports")
    if data.get("format") != FORMAT or not isinstance(rows, list):
        raise UnusableFile(
            f"{path} is no baseline: save one with `sugarbush lockdep LOGS --json > {path.name}`"
        )
    known = [row for row in rows if isinstance(row, dict) and isinstance(row.get("identity"), str)]
    cycles = [
        row["cycle"] for row in known if row.get("kind") == "circular" and isinstance(row.get("cycle"), list)
    ]
    steps = [steps_of([name for name in cycle if isinstance(name, str)]) for cycle in cycles]
    return Baseline(frozenset(row["identity"] for row in known), frozenset().union(*steps))


_IDENTITY: Final = re.compile(r"[a-z-]+-[0-9a-f]{12}")


def dumps(data: dict[str, Any]) -> str:
    """JSON that is the same on every machine, and that any program reads: no control character, no lone
    surrogate.
    """
    return json.dumps(data, ensure_ascii=True, indent=1)
