"""`sugarbush minimise`: a smaller artifact beside the old one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sugarbush.stress.cli.app import main
from sugarbush.stress.witness.artifact import load
from sugarbush.stress.witness.replaying import replay_artifact


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_info:
        main(list(arguments))
    captured = capsys.readouterr()
    assert isinstance(exit_info.value.code, int)
    return exit_info.value.code, captured.out, captured.err


@pytest.fixture
def artifact(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Path:
    # One that is as small as it gets after a hundred executions; the brk bug takes a thousand.
    arguments = ("stackrot", "--out", str(tmp_path))
    assert run(capsys, "run", *arguments)[0] == 1
    (path,) = tmp_path.iterdir()
    return path


def test_a_smaller_artifact_appears_beside_the_old_one(
    capsys: pytest.CaptureFixture[str], artifact: Path
) -> None:
    """And to minimise that one again changes nothing."""
    before = artifact.read_bytes()
    status, out, _ = run(capsys, "minimise", str(artifact))
    smaller = artifact.with_name(f"{artifact.stem}-min.json")
    assert status == 1
    assert artifact.read_bytes() == before
    assert f"saved:    {smaller}" in out
    assert "switches became" in out
    assert "had come before" in out
    assert "*** use-after-free ***" in out
    old, new = load(artifact), load(smaller)
    assert (new.kind, new.headline, new.scenario) == (old.kind, old.headline, old.scenario)
    assert new.schedule.switches < old.schedule.switches
    assert replay_artifact(new).preemptions == 1
    assert json.loads(smaller.read_text())["found_by"] == json.loads(before)["found_by"]
    first = smaller.read_bytes()
    status, out, _ = run(capsys, "minimise", str(smaller))
    assert status == 1
    assert str(smaller) in out
    assert smaller.read_bytes() == first
    assert len(list(artifact.parent.iterdir())) == 2


def test_an_artifact_that_does_not_replay_is_refused(
    capsys: pytest.CaptureFixture[str], artifact: Path
) -> None:
    data = json.loads(artifact.read_text())
    data["schedule"] = "s1:0*3"
    artifact.write_text(json.dumps(data))
    status, out, err = run(capsys, "minimise", str(artifact))
    assert (status, out) == (2, "")
    assert err.startswith("sugarbush: the schedule")
    assert err.count("\n") == 1
