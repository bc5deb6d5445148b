"""docs/lock-reports.md: every command runs and does what the page says, the code holds, the kinds are those read."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from sugarbush.lockdep.read import WORDS
from sugarbush.stress.cli.app import main

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "lock-reports.md").read_text()


def test_every_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    statuses = []
    for line in lines:
        command, _, target = line.partition(" > ")
        with pytest.raises(SystemExit) as exit_info:
            main(shlex.split(command)[1:])
        said = capsys.readouterr()
        statuses.append(exit_info.value.code)
        if target:
            (tmp_path / target).write_text(said.out)
    # The log, the page, the scenario; it deadlocks, is safe by a gate, and turned; the directory; a cut one is new.
    assert statuses == [1, 1, 1, 1, 0, 0, 1, 1, 1]
    for name in ("kiln.html", "kiln.svg", "kiln.py", "known.json"):
        assert (tmp_path / name).stat().st_size > 500


def test_code_blocks_run() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(block, "docs/lock-reports.md", "exec"), {})


def test_every_kind_is_in_the_table() -> None:
    table = PAGE[PAGE.index("| kind | headline |") : PAGE.index("From 2.6.17 to 6.15")]
    cells = [line.split("|")[1] for line in table.splitlines()[2:] if line]
    assert {word for cell in cells for word in re.findall(r"`([a-z-]+)`", cell)} == set(WORDS.values())
