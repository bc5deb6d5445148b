"""Scenario files of a user's own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = '''
from sugarbush.concurrency import Once, Shared, check, join, spawn
from sugarbush.stress.kit.scenarios import scenario


class Counter(Shared):
    value: Once[int] = 0


@scenario("my-lost-update", era="none", expect="check", observers=tuple)
def lost_update(tasks: int = 2) -> None:
    """Two increments, of which one is lost."""
    counter = Counter()

    def add() -> None:
        counter.value = counter.value + 1

    join(*[spawn(add, name=f"t{number}") for number in range(tasks)])
    check(counter.value == tasks, "every increment counts")
'''


def sugarbush(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sugarbush", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_a_scenario_of_ones_own_runs_replays_and_takes_parameters(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(GOOD, encoding="utf-8")
    how = ("--out", tmp_path, "--json", "--tasks", 3)
    for jobs in (1, 2):
        done = sugarbush("--load", file, "run", "my-lost-update", "--jobs", jobs, *how)
        assert done.returncode == 1, done.stderr
        answer = json.loads(done.stdout.splitlines()[-1])
        assert answer["parameters"] == {"tasks": 3}
    artifact = answer["failures"][0]["artifact"]
    assert sugarbush("--load", file, "replay", artifact).returncode == 1
    unknown = sugarbush("replay", artifact)
    assert unknown.returncode == 2
    assert "no scenario is called 'my-lost-update'" in unknown.stderr


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x = 1\nprint(nothing)\n", "NameError: name 'nothing' is not defined (line 2)"),
        ("def f(:\n", "SyntaxError"),
        ("import sys\nsys.exit(0)\n", "SystemExit: 0 (line 2)"),
        ("raise KeyboardInterrupt\n", "KeyboardInterrupt"),
        (
            "from sugarbush.stress.kit.scenarios import scenario\nscenario('mine', era=5)(int)\n",
            "era of scenario 'mine' must be a",
        ),
        (
            "from sugarbush.stress.kit.scenarios import scenario\n@scenario('mine', era='6.1')\ndef f(): yield\n",
            "generator function",
        ),
        ("import no_such_module\n", "ModuleNotFoundError"),
        ("from sugarbush.stress.kit.patches import patch\npatch(len)\n", "PatchError"),
    ],
)
def test_an_error_in_it_is_one_line(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "bad.py"
    file.write_text(text, encoding="utf-8")
    done = sugarbush("--load", file, "list")
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert complaint in done.stderr


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = sugarbush("--load", tmp_path / "none.py", "list")
    assert done.returncode == 2
    assert "there is no such Python file" in done.stderr


APART = '''
from sugarbush.concurrency import spawn
from sugarbush.stress.kit.scenarios import scenario


@scenario("apart", era="none", observers=tuple)
def apart() -> None:
    """Two tasks that share nothing."""
    spawn(int)
    spawn(int)


@scenario("odd", era="none", observers=lambda: 1 / 0)
def odd() -> None:
    """Its observers cannot be made."""
'''


def test_a_scenario_in_which_nothing_is_explored_is_unusable(tmp_path: Path) -> None:
    file = tmp_path / "apart.py"
    file.write_text(APART, encoding="utf-8")
    junit = tmp_path / "junit.xml"
    done = sugarbush(
        "--load", file, "run", "apart", "--out", tmp_path, "--schedules", 5, "--json", "--junit", junit
    )
    assert done.returncode == 2
    assert "nothing was explored: no two tasks touched a common place" in done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["verdict"] == "unexplored"
    assert 'errors="1"' in junit.read_text(encoding="utf-8")


def test_a_mistake_in_a_loaded_file_is_no_failure_of_a_program(tmp_path: Path) -> None:
    file = tmp_path / "odd.py"
    file.write_text(APART, encoding="utf-8")
    done = sugarbush("--load", file, "run", "odd", "--out", tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "ZeroDivisionError" in done.stderr
