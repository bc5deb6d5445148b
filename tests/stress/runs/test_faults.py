"""`run --faults N`: how many allocations a schedule may let fail; what is saved says so, and replays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sugarbush.stress.cli.app import main
from sugarbush.stress.kit import registry
from sugarbush.stress.kit.scenarios import find_scenario
from sugarbush.stress.runs.campaign import Campaign
from sugarbush.stress.runs.state import NAME, BadState
from sugarbush.stress.witness.artifact import load
from sugarbush.stress.witness.replaying import replay_artifact

registry.load()


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_info:
        main(["run", *map(str, arguments)])
    return int(exit_info.value.code or 0)


def test_a_load_without_faults_meets_those_that_are_asked_for(tmp_path: Path) -> None:
    assert run("brk-standard", "--schedules", 20, "--out", tmp_path / "none") == 0
    assert run("brk-standard", "--schedules", 20, "--faults", 1, "--out", tmp_path) == 1
    (saved,) = tmp_path.glob("*.json")
    artifact = load(saved)
    assert artifact.scenario.faults == artifact.settings.faults == 1
    assert "=1" in str(artifact.schedule)
    assert replay_artifact(artifact).failure.headline == artifact.headline


def test_a_bug_that_needs_a_fault_is_not_there_without(tmp_path: Path) -> None:
    assert run("fork-half-built", "--schedules", 200, "--out", tmp_path) == 1
    # Status 2: one task, and no choice but the faults, so that nothing is left to explore.
    assert run("fork-half-built", "--schedules", 200, "--faults", 0, "--out", tmp_path) == 2


def test_processes_share_it(tmp_path: Path) -> None:
    how = ("fork-half-built", "--schedules", 200, "--faults", 2)
    assert run(*how, "--jobs", 2, "--out", tmp_path / "two") == run(*how, "--out", tmp_path / "one") == 1
    (one,), (two,) = (list((tmp_path / name).glob("*.json")) for name in ("one", "two"))
    assert one.read_text() == two.read_text()


def test_an_artifact_of_format_1_means_the_faults_of_its_scenario(tmp_path: Path) -> None:
    run("fork-half-built", "--schedules", 200, "--out", tmp_path)
    (saved,) = tmp_path.glob("*.json")
    data = json.loads(saved.read_text())
    assert (data.pop("faults"), data.pop("sugarbush")) == (1, 2)
    saved.write_text(json.dumps(data | {"sugarbush": 1}))
    assert replay_artifact(load(saved)).failure.headline == data["failure"]["headline"]


def test_a_campaign_goes_on_with_its_faults(tmp_path: Path) -> None:
    run("fork-half-built-fixed", "--seconds", 0.1, "--faults", 3, "--out", tmp_path)
    assert Campaign.resumed(tmp_path, 1.0, 1).plan.settings.faults == 3
    state = tmp_path / NAME
    data = json.loads(state.read_text())
    state.write_text(json.dumps(data | {"faults": -1}))
    with pytest.raises(BadState, match="'faults' must be at least 0, not -1"):
        Campaign.resumed(tmp_path, 1.0, 1)
    del data["faults"]
    state.write_text(json.dumps(data | {"sugarbush-campaign": 1}))
    assert (
        Campaign.resumed(tmp_path, 1.0, 1).plan.scenario.faults
        == find_scenario("fork-half-built-fixed").faults
    )
