"""The loads are clean, in both runtimes, and take their sizes from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sugarbush.stress.cli.app import main

ON_PROCESSES = [
    "brk1",
    "page-test",
    "stress-brk",
    "page-fault",
    "stress-mremap",
    "stress-fork",
    "stress-madvise",
]


@pytest.mark.parametrize("name", ON_PROCESSES)
@pytest.mark.parametrize(
    "how",
    [
        ("--schedules", "25", "--processes", "2"),
        ("--schedules", "15", "--processes", "2", "--strategy", "random"),
        ("--schedules", "2", "--runtime", "threaded"),
    ],
)
def test_clean(name: str, how: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["run", name, *how, "--out", str(tmp_path), "--json"])
    assert exit_info.value.code == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["failures"] == []
    assert said["executions"] == int(how[1])


def test_more_rounds_are_more_operations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = []
    for rounds in ("1", "4"):
        with pytest.raises(SystemExit):
            main(["run", "brk1", "--rounds", rounds, "--schedules", "5", "--json"])
        said = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert said["parameters"] == {"rounds": int(rounds)}
        steps.append(said["steps"])
    assert steps[1] > 3 * steps[0]


@pytest.mark.parametrize("era", ["5.19", "6.1", "6.6"])
@pytest.mark.parametrize("runtime", ["simulated", "threaded"])
def test_the_server_in_every_era(era: str, runtime: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["run", "server", "--era", era, "--runtime", runtime, "--schedules", "10"])
    assert exit_info.value.code == 0, capsys.readouterr().out
