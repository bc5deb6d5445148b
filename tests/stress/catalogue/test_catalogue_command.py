"""`sugarbush catalogue`: what it prints, and that its pages say what the code does."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sugarbush.concurrency import READ_ONCE, Kind, Mutex, Once, Schedule, Shared, check, join, spawn
from sugarbush.stress.cli.app import main
from sugarbush.stress.kit import registry
from sugarbush.stress.kit.bugs import Bug, _bugs, all_bugs, bug, find_bug
from sugarbush.stress.kit.scenarios import BadScenario, _registered
from sugarbush.stress.report.pages import facts
from sugarbush.stress.runs.hunt import Hunt, hunt

registry.load()

PAGES = Path(__file__).parents[3] / "docs" / "catalogue"


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
    command = [
        sys.executable,
        "-u",
        "-m",
        "sugarbush",
        "catalogue",
        "--jobs",
        str(jobs),
        "--schedules",
        "100",
    ]
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
            "sugarbush",
            "catalogue",
            "Z01",
            "--jobs",
            "2",
            "--schedules",
            "300",
            "--json",
            "Z46",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    killed = False
    with process:
        while not killed and process.poll() is None:
            for one in psutil.Process(process.pid).children(recursive=True):
                if one.ppid() != process.pid:
                    one.kill()
                    killed = True
                    break
            time.sleep(0.01)
        try:
            out, err = process.communicate(timeout=600)
        finally:
            process.kill()
    assert killed
    assert process.returncode == 0, err
    assert [one["found"] for one in entries(out)] == [True, True]


def changed(bug: Bug, **values: object) -> Bug:
    return Bug(**{name: getattr(bug, name) for name in Bug.__slots__} | values)


def test_a_bug_that_is_not_found_is_said_and_makes_the_status_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find_bug("Z01")
    monkeypatch.setitem(_bugs, "never", changed(found, id="never", broken=found.fixed))
    assert run("never", "--schedules", "5") == 1
    assert "not found: brk-standard" in capsys.readouterr().out


def test_a_bug_of_one_task_has_a_fixed_form_of_one_task(capsys: pytest.CaptureFixture[str]) -> None:
    """No two tasks meet in either form, so there is nothing to explore, and nothing that was left out."""
    assert run("Z18", "--schedules", "5") == 0
    assert "fixed form clean" in capsys.readouterr().out


def test_a_fixed_form_whose_tasks_do_not_meet_as_those_of_the_bug_do_is_not_clean(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, alone = find_bug("Z01"), find_bug("Z18")
    monkeypatch.setitem(_bugs, "never", changed(found, id="never", fixed=alone.fixed))
    assert run("never", "--schedules", "5") == 1
    assert "nothing was explored" in capsys.readouterr().out


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
    assert outcome.surprise.startswith("invariant, check 'coverage': coverage: ")


def test_a_bug_that_another_check_sees_is_told_as_that(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    guess = changed(find_bug("Z01"), id="guess", check="mapcount")
    monkeypatch.setitem(_bugs, "guess", guess)
    report = tmp_path / "junit.xml"
    assert run("guess", "--schedules", "20", "--pages", str(tmp_path), "--junit", str(report)) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert "brk-false-vma: FOUND BY ANOTHER CHECK after 1 executions" in told
    assert "1 of 1 bugs: 0 found, 1 found by another check, 1 clean when fixed" in told
    assert "brk-false-vma shows itself by invariant, check 'coverage': coverage: " in told
    assert told.endswith("; its entry says invariant, check 'mapcount'")
    assert "not found" not in told.lower()
    assert "| by another check | - |" in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "found by another check: brk-false-vma" in report.read_text(encoding="utf-8")
    assert not (tmp_path / "brk-false-vma.md").exists()


def test_the_list_keeps_what_it_says_of_the_bugs_that_were_not_hunted(tmp_path: Path) -> None:
    run("Z46", "Z01", "--schedules", "60", "--pages", str(tmp_path))
    both = (tmp_path / "README.md").read_text(encoding="utf-8")
    run("Z46", "--schedules", "60", "--pages", str(tmp_path))
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == both
    (tmp_path / "brk-false-vma.md").unlink()
    run("Z46", "--schedules", "60", "--pages", str(tmp_path))
    assert "brk-false-vma" not in (tmp_path / "README.md").read_text(encoding="utf-8")


# -- a bug in an operation of one's own ---------------------------------------------------------------------------

WRITTEN: dict[str, Any] = {
    "id": "N1",
    "title": "a page is given up without its lock",
    "year": 2026,
    "versions": "never released",
    "fix": "take the lock",
    "evidence": "read",
    "kind": Kind.CHECK,
}


@pytest.fixture
def registered() -> Iterator[None]:
    """What a test registers goes again."""
    bugs, scenarios = set(_bugs), set(_registered)
    yield
    for name in set(_bugs) - bugs:
        del _bugs[name]
    for name in set(_registered) - scenarios:
        del _registered[name]


def lost_update(*, locked: bool) -> None:
    """An operation that the model does not have: two of it at once."""
    lock, count = Mutex("new"), Atomics()

    def add() -> None:
        if locked:
            lock.lock()
        count.value = READ_ONCE(count, "value") + 1
        if locked:
            lock.unlock()

    join(spawn(add), spawn(add))
    check(count.value == 2, "both have counted")


class Atomics(Shared):
    value: Once[int] = 0


def right() -> None:
    """Add, under a lock."""
    lost_update(locked=True)


def wrong() -> None:
    """Add, without a lock."""
    lost_update(locked=False)


@pytest.mark.usefixtures("registered")
def test_a_bug_in_a_new_operation_has_its_line_its_page_and_its_count(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    made = bug("new-operation", fixed_program=right, **WRITTEN)(wrong)
    assert run("new-operation", "--schedules", "300", "--pages", str(tmp_path)) == 0
    told = capsys.readouterr().out
    assert re.search(
        r"^N1 +new-operation: found after \d+ executions.* fixed form clean$", told, re.MULTILINE
    )
    assert "1 of 1 bugs: 1 found, 1 clean when fixed" in told
    page = (tmp_path / "new-operation.md").read_text(encoding="utf-8")
    assert (
        "| Brought back by | `wrong` (right in `right`) in `tests/stress/catalogue/test_catalogue_command.py` |"
        in page
    )
    assert "schedule: s1:" in page
    assert made.fixed.summary == "Add, under a lock."
    assert made.broken.summary == "Add, without a lock."


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("fixed_program", [None, wrong])
def test_a_bug_whose_forms_are_one_program_is_refused(fixed_program: Callable[[], None] | None) -> None:
    with pytest.raises(BadScenario, match="'same' has neither patches nor a fixed_program of its own, so"):
        bug("same", fixed_program=fixed_program, **WRITTEN)(wrong)


@pytest.mark.parametrize("one", [pytest.param(one, id=one.name) for one in all_bugs()])
def test_the_page_of_a_bug_says_what_the_code_says(one: Bug) -> None:
    page = (PAGES / f"{one.name}.md").read_text(encoding="utf-8")
    assert one.story in page
    for name, value in facts(one):
        assert f"| {name} | {value} |" in page
    schedule = re.search(r"^schedule: (s1:.*)$", page, re.MULTILINE)
    assert schedule is not None
    assert Schedule.parse(schedule[1]).choices
    assert f"[{one.name}]({one.name}.md) | {one.title} |" in (PAGES / "README.md").read_text(encoding="utf-8")
