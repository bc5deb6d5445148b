"""Findings as SARIF 2.1.0, which forges show beside the code
(https://docs.oasis-open.org/sarif/sarif/v2.1.0/).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sugarbush.lockdep.model import Frame
from sugarbush.lockdep.read.explain import steps, words
from sugarbush.lockdep.read.gathering import Finding
from sugarbush.lockdep.read.model import LogReport
from sugarbush.lockdep.read.titles import own
from sugarbush.lockdep.read.wording import harmless

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"


def to_sarif(findings: Iterable[Finding]) -> dict[str, Any]:
    """One run with a rule for each kind and a result for each finding; the identity is the fingerprint."""
    every = list(findings)
    kinds = list(dict.fromkeys(one.report.word for one in every))
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "sugarbush lockdep", "rules": [{"id": kind} for kind in kinds]}},
                "results": [_result(one) for one in every],
            }
        ],
    }


def _result(one: Finding) -> dict[str, Any]:
    report = one.report
    text = f"{report.title or report.headline}. {words(report)}".strip()
    result: dict[str, Any] = {
        "ruleId": report.word,
        "level": "error" if report.is_failure else "note",
        "message": {"text": harmless(text) or report.word},
        "locations": [_log_place(report)],
        "occurrenceCount": one.count,
    }
    if one.identity:
        result["partialFingerprints"] = {"sugarbushLockdep/v1": one.identity}
    flow = [
        {"location": _place(own(step.stack), f"{step.held} held, {step.wanted} wanted in {step.function}")}
        for step in steps(report)
    ]
    if flow:
        result["codeFlows"] = [{"threadFlows": [{"locations": flow}]}]
    return result


def _log_place(report: LogReport) -> dict[str, Any]:
    # The log itself: kernels say functions, and only decoded logs say lines of source.
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": harmless(report.source) or "-"},
            "region": {"startLine": max(report.line, 1)},
        }
    }


def _place(frame: Frame | None, text: str) -> dict[str, Any]:
    place: dict[str, Any] = {"message": {"text": harmless(text)}}
    if frame is not None:
        place["logicalLocations"] = [{"name": harmless(frame.function), "kind": "function"}]
        if frame.file:
            place["physicalLocation"] = {
                "artifactLocation": {"uri": harmless(frame.file)},
                "region": {"startLine": max(frame.line, 1)},
            }
    return place
