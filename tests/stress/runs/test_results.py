"""JUnit XML and the Markdown summary of a run."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from sugarbush.stress.cli.app import main
from sugarbush.stress.runs.results import Case, junit, markdown

HOSTILE = "<b>|`x`\x00\x1b[2J ]]> ```"


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_info:
        main(list(arguments))
    return int(exit_info.value.code or 0)


def test_a_failing_run(tmp_path: Path) -> None:
    xml, page = tmp_path / "new" / "junit.xml", tmp_path / "summary.md"
    out = str(tmp_path / "out")
    assert run("run", "brk-false-vma", "--out", out, "--junit", str(xml), "--summary", str(page)) == 1
    root = ElementTree.parse(xml).getroot()
    assert (root.get("tests"), root.get("failures")) == ("1", "1")
    failure = root.find("testcase/failure")
    assert failure is not None
    assert (failure.get("message") or "").startswith("coverage: no VMA")
    assert "schedule: s1:" in (failure.text or "")
    said = page.read_text(encoding="utf-8")
    assert "| failed | brk-false-vma |" in said
    assert "schedule: s1:" in said


def test_a_clean_run(tmp_path: Path) -> None:
    xml = tmp_path / "junit.xml"
    assert run("run", "brk-standard", "--schedules", "5", "--junit", str(xml)) == 0
    root = ElementTree.parse(xml).getroot()
    assert (root.get("tests"), root.get("failures")) == ("1", "0")


def test_the_catalogue_is_a_case_a_bug(tmp_path: Path) -> None:
    xml = tmp_path / "junit.xml"
    assert run("catalogue", "Z01", "--schedules", "10", "--junit", str(xml)) == 0
    assert [case.get("name") for case in ElementTree.parse(xml).getroot()] == ["brk-false-vma"]


def test_any_text_stays_text() -> None:
    case = Case(HOSTILE, HOSTILE, 0.5, [(HOSTILE, HOSTILE)])
    (node,) = ElementTree.fromstring(junit("suite", [case]))
    assert (node.get("name") or "").startswith("<b>|`x`")
    page = markdown("title", [case])
    assert "<b>" not in page.split("text\n")[0]
    assert page.count("````") == 2


def test_a_file_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("run", "brk-standard", "--schedules", "1", "--junit", str(tmp_path)) == 2
    assert "cannot be written" in capsys.readouterr().err
