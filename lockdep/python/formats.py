"""Reports for machines and for pages: JSON, SARIF for code-scanning pages, one HTML page."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sugarbush.lockdep.model import Frame
from sugarbush.lockdep.outside import save_text
from sugarbush.lockdep.python.wording import Made, fingerprint, stack_lines, story, tell
from sugarbush.lockdep.reports import Report

FORMAT = "sugarbush-lockdep-python-1"


def to_json(reports: Sequence[Report], made: Made) -> str:
    """All reports with their fields and their text."""
    rows = [
        {
            "fingerprint": fingerprint(report),
            "heading": story(report, made).heading,
            "locks": [{"name": name, "made": where} for name, where in story(report, made).locks],
            "text": tell(report, made),
            **report.to_json(),
        }
        for report in reports
    ]
    return json.dumps({"format": FORMAT, "reports": rows}, indent=1)


def to_sarif(reports: Sequence[Report], made: Made) -> str:
    """SARIF 2.1.0: one result for each report, with the stack of each thread as a thread flow."""
    kinds = list(dict.fromkeys(str(report.kind) for report in reports))
    results = []
    for report in reports:
        one = story(report, made)
        stacks = [(sentence, stack) for sentence, stack in one.parts if stack]
        places = [_location(stack[0], sentence) for sentence, stack in stacks]
        results.append(
            {
                "ruleId": str(report.kind),
                "ruleIndex": kinds.index(str(report.kind)),
                "level": "error" if report.is_failure else "note",
                "message": {
                    "text": f"{one.heading}: {', '.join(name for name, _ in one.locks)}".rstrip(": ")
                },
                "locations": [{key: place[key] for key in ("physicalLocation",)} for place in places[-1:]],
                "relatedLocations": [{"id": number, **place} for number, place in enumerate(places)],
                "partialFingerprints": {"sugarbushLockdep/v1": fingerprint(report)},
                "codeFlows": [
                    {
                        "threadFlows": [
                            {
                                "message": {"text": sentence},
                                "locations": [{"location": _location(frame)} for frame in reversed(stack)],
                            }
                            for sentence, stack in stacks
                        ]
                    }
                ]
                if stacks
                else [],
            }
        )
    driver = {
        "name": "sugarbush lockdep",
        "rules": [{"id": kind, "shortDescription": {"text": kind.replace("-", " ")}} for kind in kinds],
    }
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }
    return json.dumps(log, indent=1)


def _location(frame: Frame, text: str = "") -> dict[str, Any]:
    path = frame.file
    here = os.path.join(os.getcwd(), "")
    # Code-scanning pages want paths from the root of the checkout.
    artifact: dict[str, Any] = {"uri": path.replace("\\", "/")}
    if path.startswith(here):
        artifact = {"uri": path[len(here) :].replace("\\", "/"), "uriBaseId": "%SRCROOT%"}
    place: dict[str, Any] = {
        "physicalLocation": {"artifactLocation": artifact, "region": {"startLine": max(frame.line, 1)}},
        "logicalLocations": [{"fullyQualifiedName": frame.function, "kind": "function"}],
    }
    if text:
        place["message"] = {"text": text}
    return place


def to_html(reports: Sequence[Report], made: Made, title: str) -> str:
    """One page that needs nothing else."""
    failures = sum(report.is_failure for report in reports)
    parts = [_HEAD.format(title=html.escape(title), failures=failures, others=len(reports) - failures)]
    for number, report in enumerate(reports, 1):
        one = story(report, made)
        parts.append(f'<section class="{"bad" if report.is_failure else "guarded"}" id="r{number}">')
        parts.append(f"<h2>{number}. {html.escape(one.heading)}</h2><ul>")
        parts += [
            f"<li><code>{html.escape(name)}</code>{f' made at {html.escape(where)}' if where else ''}</li>"
            for name, where in one.locks
        ]
        parts.append("</ul>")
        for sentence, stack in one.parts:
            parts.append(f"<p>{html.escape(sentence)}</p>")
            parts.append(f"<pre>{html.escape(chr(10).join(stack_lines(stack, '')))}</pre>")
        if one.text:
            parts.append(f"<pre>{html.escape(one.text)}</pre>")
        parts += [f"<p>{html.escape(line)}</p>" for line in one.advice]
        parts.append("</section>")
    parts.append("</body></html>\n")
    return "\n".join(parts)


_HEAD = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
section {{ border-left: 4px solid #c22; padding-left: 1rem; margin: 2rem 0; }}
section.guarded {{ border-color: #999; }}
pre {{ background: #f4f4f4; padding: .6rem; overflow-x: auto; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #181818; color: #ddd; }} pre {{ background: #262626; }} }}
</style></head><body><h1>{title}</h1><p>{failures} possible deadlocks, {others} hints.</p>"""


def save(reports: Sequence[Report], made: Made, wanted: dict[str, Path | None], title: str) -> None:
    """Writes the files that were asked for: by "json", "sarif" and "html"."""
    for form, path in wanted.items():
        if path is None:
            continue
        if form == "json":
            text = to_json(reports, made)
        elif form == "sarif":
            text = to_sarif(reports, made)
        else:
            text = to_html(reports, made, title)
        save_text(path, text)
