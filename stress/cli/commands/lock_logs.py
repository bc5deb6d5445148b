"""``sugarbush lockdep`` for what others printed: kernel logs, other checkers' reports, /proc files, lock
events.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sugarbush.lockdep.outside import UnusableFile, read_text, save_text
from sugarbush.lockdep.read import (
    Finding,
    LogReport,
    as_text,
    between,
    dumps,
    feed_stream,
    gather,
    harmless,
    is_proc,
    joined,
    judge,
    opened,
    read_baseline,
    read_proc,
    reports_of,
    snapshot_of,
    to_json,
    to_page,
    to_sarif,
    to_scenario,
    told_waits,
    waits_json,
)
from sugarbush.lockdep.show import Snapshot
from sugarbush.stress.runs import Unusable, line, note

_MOST_LISTS = 1000
_LARGEST = 256 << 20
"""Bytes of a file of /proc: lockdep_chains has two million chains at most."""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """The options that are for logs."""

    as_json: bool = False
    sarif: Path | None = None
    html: Path | None = None
    baseline: Path | None = None
    scenario: Path | None = None
    identity: str = ""
    proc: tuple[Path, ...] = ()
    join: bool = False
    across: bool = False

    @property
    def any(self) -> bool:
        """Whether one of them is given that means nothing for artifacts."""
        files = (self.sarif, self.html, self.baseline, self.scenario)
        return any(one is not None for one in files) or bool(self.identity or self.proc or self.join)


def is_proc_file(path: Path) -> bool:
    """Whether a file is one of /proc/lockdep, lockdep_chains and lock_stat."""
    try:
        with opened(path) as stream:
            return is_proc(stream.read(256).decode("utf-8", "replace"))
    except (UnusableFile, OSError):
        return False


def proc_snapshot(path: Path) -> Snapshot:
    """What a file of /proc says."""
    return read_proc(read_text(path, _LARGEST), str(path))


def events_snapshot(paths: Sequence[Path]) -> list[Snapshot]:
    """What the validator learnt of each file of events."""
    found = []
    for path in paths:
        with opened(path) as stream:
            offline = feed_stream(stream, str(path))
        if offline.passed_over:
            note(
                f"{path}: {offline.passed_over} releases of locks that were taken before the events begin, passed over"
            )
        found.append(offline.snapshot())
    return found


def show_between(snapshots: Sequence[Snapshot], pair: tuple[str, str]) -> int:
    """Print the orders between two locks; 1 if both exist."""
    found = between(snapshots, *pair)
    for one in found.lines():
        line(harmless(one))
    return int(bool(found.forwards and found.backwards))


def show_logs(
    paths: Sequence[Path], asked: LogOptions, graph: Path | None, draw: Callable[[Snapshot], str] | None
) -> int:
    """Read logs, print or write what is asked for, and give the exit status."""
    waiting: list[LogReport] = []
    whole: list[LogReport] = []

    def kept() -> Iterator[LogReport]:
        # A log of gigabytes may have millions of reports: what is kept of each is counted, and the few that tell more.
        for report in reports_of(paths):
            if report.word in ("hung", "all-locks") and len(waiting) < _MOST_LISTS:
                waiting.append(report)
            if asked.join and report.edges:
                whole.append(report)
            yield report

    findings = gather(kept())
    if asked.join:
        findings += gather(joined(whole, asked.across))
    known = read_baseline(asked.baseline) if asked.baseline is not None else None
    new = [one for one in findings if one.report.is_failure and not (known and known.knows(one))]
    _write_files(findings, asked)
    if graph is not None and draw is not None:
        save_text(graph, harmless(draw(snapshot_of(one.report for one in findings))))
    if asked.as_json:
        data = to_json(findings)
        sources = dict.fromkeys(one.source for one in waiting)
        data["waits"] = [
            {**wait, "source": source}
            for source in sources
            for wait in waits_json(one for one in waiting if one.source == source)
        ]
        if known is not None:
            data["new"] = [one.identity for one in new]
        print(dumps(data))
    else:
        _print(findings, new, waiting, asked)
    return int(bool(new))


def _write_files(findings: Sequence[Finding], asked: LogOptions) -> None:
    if asked.sarif is not None:
        save_text(asked.sarif, dumps(to_sarif(findings)) + "\n")
    if asked.html is not None:
        save_text(asked.html, to_page(findings))
    if asked.scenario is not None:
        save_text(asked.scenario, to_scenario(_chosen(findings, asked.identity)))
        note(
            f"scenario: {asked.scenario}, for `sugarbush --load {asked.scenario} run ...`; its head "
            "says what was assumed"
        )


def _chosen(findings: Sequence[Finding], identity: str) -> LogReport:
    """The report of this identity, or the first one that a scenario can be written of."""
    for one in findings:
        if one.identity == identity if identity else (one.identity and one.report.edges):
            return one.report
    if identity:
        raise Unusable(f"no report there has the identity {identity}: without --scenario they are all listed")
    ordered = [
        one.report
        for one in findings
        if one.identity and one.report.word in ("recursive", "irq-order", "inversion", "inconsistent")
    ]
    if not ordered:
        raise Unusable("no whole cycle is in these logs, so no scenario can be written of them")
    return ordered[0]


def _print(
    findings: Sequence[Finding], new: Sequence[Finding], waiting: Sequence[LogReport], asked: LogOptions
) -> None:
    shown = (
        [one for one in findings if one in new or not one.report.is_failure] if asked.baseline else findings
    )
    sys.stdout.write(as_text(shown))
    proc = [proc_snapshot(path) for path in asked.proc]
    for one in shown:
        if proc and one.report.edges:
            chains = Snapshot() if not proc else max(proc, key=lambda each: len(each.chains))
            line(
                f"\nIn the chains of that boot {one.identity} is {harmless(str(judge(one.report.cycle, chains)))}."
            )
    for source in dict.fromkeys(report.source for report in waiting):
        waits = told_waits(report for report in waiting if report.source == source)
        if waits:
            sys.stdout.write("\n" + harmless(waits))
    if findings:
        logs = len({log for one in findings for log in one.logs})
        total = sum(one.count for one in findings)
        marked = f", {len(new)} new" if asked.baseline else ""
        line(f"\n{total} reports in {logs} logs: {len(findings)} different{marked}")
    else:
        line("no lock report found")


def drawing(paths: Sequence[Path]) -> Snapshot:
    """The orders of the reports in logs, for a picture."""
    return snapshot_of(reports_of(paths))
