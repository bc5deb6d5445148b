"""Each rule of the readers, taken away: the cases notice."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from printed import Lock, circular

from sugarbush.lockdep.read import (
    LogReport,
    build,
    facts,
    headlines,
    identity,
    lines,
    locks,
    read_stream,
    read_text,
    reading,
    scan,
)
from sugarbush.lockdep.read.waitfor import waits

identities = sys.modules["sugarbush.lockdep.read.identities"]
titles = sys.modules["sugarbush.lockdep.read.titles"]
CASES = Path(__file__).parents[2] / "data" / "lock-reports"
INDEX: list[dict[str, Any]] = json.loads((CASES / "index.json").read_text())
NEVER = re.compile(r"(?!)")
ONE_WRITER = re.compile(r"\[ *(\d+\.\d+)\](?:()()\[ *[TC]\d+\])? ?")
Patch = Callable[[pytest.MonkeyPatch], object]


def _told(report: LogReport) -> dict[str, Any]:
    said = report.to_json()
    return {**said, "stacks": len(said["stacks"]), "held": len(said["held"])}


def agrees() -> bool:
    """Whether all cases are as the index says, the groups are one identity, and two reports in one make no third."""
    groups: dict[str, set[str]] = {}
    for entry in INDEX:
        reports = list(read_stream(io.BytesIO((CASES / entry["file"]).read_bytes()), "log"))
        keys = ("kind", "cycle", "stacks", "title", "held", "complete")
        as_text = [tuple(_told(one)[key] for key in keys) for one in reports]
        if as_text != [tuple(want[key] for key in keys) for want in entry["reports"]]:
            return False
        for group, report in zip(entry.get("same_cycle_as", "").split("+"), reports, strict=False):
            if group and report.complete:
                groups.setdefault(group, set()).add(identity(report))
    first = circular([Lock("a"), Lock("b"), Lock("c"), Lock("d")])
    second = circular([Lock("a"), Lock("x"), Lock("y"), Lock("d")])
    top = next(at for at, line in enumerate(first) if line.startswith("-> #2"))
    rest = next(at for at, line in enumerate(second) if line.startswith("-> #1"))
    # The links #3 and #2 of one, #1 and #0 of the other: only the chain line says that they do not belong together.
    mixed = read_text("\n".join([*first[: top + 5], "", *second[rest:]]))
    third = [
        one
        for one in mixed
        if one.complete and set(one.cycle) not in ({"a", "b", "c", "d"}, {"a", "x", "y", "d"})
    ]
    words = read_text(
        "WARNING: possible circular locking dependency detected\nmeans that an order is wrong.\n"
    )
    return not third and not words and all(len(ids) == 1 for ids in groups.values())


MUTANTS: dict[str, Patch] = {
    "no table and chain line are compared": lambda m: m.setattr(build, "_agree", lambda *_given: True),
    "any word is a report": lambda m: m.setattr(scan, "is_report", bool),
    "a torn lock line is lost": lambda m: m.setattr(reading, "PARTIAL", NEVER),
    "a printer's text is part of the name": lambda m: m.setattr(locks, "_PRINTED", NEVER),
    "a cycle is not turned": lambda m: m.setattr(identities, "turned", identities.numbered),
    "workqueues keep their number": lambda m: m.setattr(identities, "_INSTANCE", NEVER),
    "primitives are anybody's own": lambda m: m.setattr(
        titles, "is_own", lambda function: function != "unknown"
    ),
    "no prefix but the stamp": lambda m: m.setattr(lines, "_PREFIX", NEVER),
    "colours stay": lambda m: m.setattr(lines, "_ANSI", NEVER),
    "entities stay": lambda m: m.setattr(lines, "_ENTITY", NEVER),
    "all lines are of one writer": lambda m: [m.setattr(one, "STAMP", ONE_WRITER) for one in (lines, scan)],
    "sections begin nowhere": lambda m: m.setattr(facts, "_SECTIONS", ()),
    "paragraphs stay together": lambda m: m.setattr(reading.forms, "SPLIT", NEVER),
    "quoted-printable stays": lambda m: m.setattr(scan.quopri, "decodestring", bytes),
    "an old headline is none": lambda m: m.setattr(
        headlines,
        "_HEADLINE",
        re.compile(headlines._HEADLINE.pattern.replace(r"\[ (?:BUG|INFO|WARNING): |", "")),
    ),
}


def test_unchanged_readers_agree() -> None:
    assert agrees()


@pytest.mark.parametrize("name", MUTANTS)
def test_a_rule_that_is_taken_away_is_missed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    identities.plain.cache_clear()
    titles.is_own.cache_clear()
    with monkeypatch.context() as patched:
        MUTANTS[name](patched)
        assert not agrees()
    identities.plain.cache_clear()
    titles.is_own.cache_clear()


def test_a_lock_in_one_list_only_is_waited_for_by_nobody() -> None:
    log = "[1.000000] Showing all locks held in the system:\n[1.000001] 1 lock held by a/1:\n"
    assert waits(read_text(log + "[1.000002]  #0: ffff8881 (x){+.+.}-{3:3}, at: f+0x1/0x2\n")) == ()
