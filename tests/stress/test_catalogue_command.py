"""`sugarbush catalogue`: what it prints, and that its pages say what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from concurrency import Schedule
from stress.bug import Bug, _bugs, all_bugs, find_bug
from stress.cli import main
from stress.hunt import Hunt, hunt
from stress.pages import facts

PAGES = Path(__file__).parents[2] / "docs" / "catalogue"


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_info:
        main(["catalogue", *arguments])
    return int(exit_info.value.code or 0)


def test_json_has_one_entry_a_bug(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("Z01", "--schedules", "20", "--json") == 0
    (entry,) = json.loads(capsys.readouterr().out.splitlines()[-1])["entries"]
    assert entry["name"] == "brk-false-vma"
    assert entry["found"] is True
    assert entry["fixed_clean"] is True
    assert entry["fixed_executions"] == 20
    assert entry["preemptions"] <= 2


def changed(bug: Bug, **values: object) -> Bug:
    return Bug(**{name: getattr(bug, name) for name in Bug.__slots__} | values)


def test_a_bug_that_is_not_found_is_said_and_makes_the_status_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bug = find_bug("Z01")
    monkeypatch.setitem(_bugs, "never", changed(bug, id="never", broken=bug.fixed))
    assert run("never", "--schedules", "5") == 1
    assert "not found: brk-standard" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [("no-such-bug",), ("--schedules", "0"), ("--strategy", "no"), ("--seed", "-1")]
)
def test_unusable_input_is_one_line(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1


def test_pages_are_written(tmp_path: Path) -> None:
    run("Z01", "--schedules", "20", "--pages", str(tmp_path))
    assert "[brk-false-vma](brk-false-vma.md)" in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "up_write(anon_vma->rwsem)" in (tmp_path / "brk-false-vma.md").read_text(encoding="utf-8")


def test_another_failure_than_the_catalogue_says_is_not_the_bug() -> None:
    outcome = hunt(changed(find_bug("Z01"), check="mapcount"), Hunt(schedules=20))
    assert not outcome.found
    assert outcome.surprise.startswith("invariant: coverage")


@pytest.mark.parametrize("bug", [pytest.param(bug, id=bug.name) for bug in all_bugs()])
def test_the_page_of_a_bug_says_what_the_code_says(bug: Bug) -> None:
    page = (PAGES / f"{bug.name}.md").read_text(encoding="utf-8")
    assert bug.story in page
    for name, value in facts(bug):
        assert f"| {name} | {value} |" in page
    schedule = re.search(r"^schedule: (s1:.*)$", page, re.MULTILINE)
    assert schedule is not None
    assert Schedule.parse(schedule[1]).choices
    assert f"[{bug.name}]({bug.name}.md) | {bug.title} |" in (PAGES / "README.md").read_text(encoding="utf-8")
