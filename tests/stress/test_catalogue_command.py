"""`sugarbush catalogue`: what it prints, and that its pages say what the code does."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
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


def entries(out: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(out.splitlines()[-1])["entries"]
    for one in found:
        del one["seconds"]
    return found


def test_two_processes_find_what_one_finds_in_the_same_order(capsys: pytest.CaptureFixture[str]) -> None:
    how = ("Z01", "fork-half-built", "merge-page-prot", "--schedules", "60", "--json")
    alone = run(*how), capsys.readouterr().out
    shared = run(*how, "--jobs", "2"), capsys.readouterr().out
    assert shared[0] == alone[0]
    assert entries(shared[1]) == entries(alone[1])
    assert [one["name"] for one in entries(shared[1])] == [
        "brk-false-vma",
        "fork-half-built",
        "merge-page-prot",
    ]


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupt_ends_it_and_what_is_there_is_said(jobs: int) -> None:
    command = [sys.executable, "-u", "-m", "stress", "catalogue", "--jobs", str(jobs), "--schedules", "100"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    first = process.stdout.readline()
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130, err
    assert first.startswith(all_bugs()[0].id)
    assert re.search(rf"\d+ of {len(all_bugs())} bugs: .*, interrupted", out)
    assert "Traceback" not in err
    _, alive = psutil.wait_procs(family, timeout=200)
    assert not alive


def test_a_worker_that_dies_costs_its_hunt_only() -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "stress",
            "catalogue",
            "Z01",
            "--jobs",
            "2",
            "--schedules",
            "600",
            "--json",
            "Z46",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    killed = False
    while not killed and process.poll() is None:
        for one in psutil.Process(process.pid).children(recursive=True):
            if one.ppid() != process.pid:
                one.kill()
                killed = True
                break
        time.sleep(0.01)
    out, err = process.communicate()
    assert killed
    assert process.returncode == 0, err
    assert [one["found"] for one in entries(out)] == [True, True]


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
    "arguments",
    [("no-such-bug",), ("--schedules", "0"), ("--strategy", "no"), ("--seed", "-1"), ("--jobs", "0")],
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
