"""Results for machines that read more than JSON: JUnit XML, and a summary in Markdown for the page of a CI run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that was tried: what it is called, how it went in a line, and the failures, each with its report.

    `unexplored` says why it was not tried after all (`Result.unexplored`).
    """

    name: str
    line: str
    seconds: float
    failures: Sequence[tuple[str, str]] = ()
    unexplored: str = ""


def junit(suite: str, cases: Sequence[Case]) -> str:
    """The cases as JUnit XML, one test case each."""
    root = ElementTree.Element(
        "testsuite",
        name=suite,
        tests=str(len(cases)),
        failures=str(sum(bool(case.failures) for case in cases)),
        errors=str(sum(bool(case.unexplored) for case in cases)),
        time=f"{sum(case.seconds for case in cases):.3f}",
    )
    for case in cases:
        node = ElementTree.SubElement(
            root, "testcase", classname=suite, name=_clean(case.name), time=f"{case.seconds:.3f}"
        )
        for headline, report in case.failures:
            failure = ElementTree.SubElement(node, "failure", message=_clean(headline))
            failure.text = _clean(report)
        if case.unexplored:
            ElementTree.SubElement(node, "error", message=_clean(case.unexplored))
        ElementTree.SubElement(node, "system-out").text = _clean(case.line)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _clean(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def markdown(title: str, cases: Sequence[Case]) -> str:
    """The cases as a table, and below it each failure with its report."""
    lines = [f"### {title}", "", "| | | result |", "| --- | --- | --- |"]
    for case in cases:
        mark = "failed" if case.failures else "not explored" if case.unexplored else "ok"
        lines.append(f"| {mark} | {_cell(case.name)} | {_cell(case.line)} |")
    for case in cases:
        for headline, report in case.failures:
            fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", report)), default=0))
            lines += ["", f"**{_cell(case.name)}**: {_cell(headline)}", "", f"{fence}text", report, fence]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Text that stays one cell of a table, whatever is in it."""
    return re.sub(r"([\\`*_{}\[\]<>#|&~])", r"\\\1", " ".join(text.split()))
