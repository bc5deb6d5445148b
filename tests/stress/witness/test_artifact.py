"""Artifacts: what is saved can be loaded; what is not an artifact is refused in one sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sugarbush.concurrency import BadSchedule, check, explore, join, spawn, trace
from sugarbush.concurrency.lowlevel import Operation, perform
from sugarbush.stress.cli import built_in as scenarios
from sugarbush.stress.kit.patches import applied
from sugarbush.stress.kit.plan import Plan
from sugarbush.stress.kit.scenarios import BadParameter, Scenario, _registered, scenario
from sugarbush.stress.runs.campaign import Campaign
from sugarbush.stress.witness.artifact import BadArtifact, load, saved
from sugarbush.stress.witness.replaying import replay_artifact

NOTHING = Operation("nothing")
SCENARIO: Scenario = scenarios.brk_false_vma
OLD = Path(__file__).parents[2] / "data" / "artifacts"
"""Written when `tree` and `vm` were packages of their own, before they moved below `sugarbush` and into rooms."""


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    plan = Plan(SCENARIO, "simulated", "pct", 4, 100, None, 1, frozenset(), False, tmp_path)
    campaign = Campaign(plan)
    campaign.run()
    (found,) = campaign.found
    assert found.path is not None
    return found.path


def change(path: Path, **values: Any) -> Path:
    data = json.loads(path.read_text())
    data.update(values)
    path.write_text(json.dumps(data))
    return path


def test_a_saved_witness_replays_from_its_file_alone(artifact: Path) -> None:
    loaded = load(artifact)
    assert loaded.scenario is SCENARIO
    witness = replay_artifact(loaded)
    assert (witness.failure.headline, witness.failure.step) == (loaded.headline, loaded.step)


@pytest.mark.parametrize("path", sorted(OLD.glob("*.json")), ids=lambda path: path.stem)
def test_a_witness_of_before_the_modules_moved_replays(path: Path) -> None:
    loaded = load(path)
    failure = replay_artifact(loaded).failure
    assert (failure.kind, failure.task, failure.step) == (loaded.kind, loaded.task, loaded.step)


def test_a_witness_of_another_version_of_the_files_replays(artifact: Path) -> None:
    failure = json.loads(artifact.read_text())["failure"]
    moved = {**failure, "headline": failure["headline"] + " at vm/where_it_was.py:17"}
    assert replay_artifact(load(change(artifact, failure=moved))).failure.headline == failure["headline"]
    other = {**failure, "headline": "kernel BUG somewhere else"}
    with pytest.raises(BadSchedule, match="the schedule no longer fits the program: it gave"):
        replay_artifact(load(change(artifact, failure=other)))


def test_an_artifact_is_small_and_has_no_part_file_beside_it(artifact: Path) -> None:
    assert artifact.stat().st_size < 10_000
    assert [path.suffix for path in artifact.parent.iterdir()] == [".json"]


def test_an_artifact_fits_its_schema(artifact: Path) -> None:
    schema = json.loads(
        (resources.files("sugarbush.stress.witness") / "artifact.schema.json").read_text(encoding="utf-8")
    )
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(artifact.read_text(encoding="utf-8")), schema)


@pytest.fixture
def counting() -> Iterator[Scenario]:
    @scenario("test-counting", era="none", observers=tuple)
    def count(rounds: int = 10, word: str = "up") -> None:
        """Two tasks that say what they do, and a check that fails."""

        def tell() -> None:
            for _ in range(rounds):
                trace("a_tracepoint_with_a_long_name", mm="cc1", address=hex(0x7F0000001000), page="pfn123")
                perform(NOTHING, None)

        join(*[spawn(tell, name=f"a task with a name {number}") for number in range(2)])
        check(False, word)

    yield count
    del _registered["test-counting"]


def test_a_long_witness_makes_a_small_file_that_replays(counting: Scenario, tmp_path: Path) -> None:
    long = counting.given({"rounds": "2500", "word": "down"})
    result = explore(long.program, strategy="random", settings=long.settings())
    path = saved(result.failures[0], long, frozenset(), {"seed": 1}, tmp_path).path
    assert result.failures[0].steps > 5000
    assert path.stat().st_size < 100_000
    loaded = load(path)
    assert loaded.scenario.values == {"rounds": 2500, "word": "down"}
    assert replay_artifact(loaded).failure.headline == "check failed: down"


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"round": 3}, "has no parameter 'round': there are rounds, word"),
        ({"rounds": "many"}, "'rounds' of scenario 'test-counting' is a number, 0 to 1000000, not 'many'"),
        ({"rounds": -1}, "is a number, 0 to 1000000, not -1"),
        ({"rounds": True}, "is a number, 0 to 1000000, not True"),
        ({"word": 3}, "is text of at most 200 characters, not 3"),
    ],
)
def test_parameters_are_checked(counting: Scenario, values: dict[str, object], complaint: str) -> None:
    with pytest.raises(BadParameter, match=complaint):
        counting.given(values)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"sugarbush": 999}, "newer than this sugarbush"),
        ({"sugarbush": 0}, "'sugarbush' must be one of 1, 2, not 0"),
        ({"sugarbush": -1}, "'sugarbush' must be one of 1, 2, not -1"),
        ({"sugarbush": "x"}, "not an artifact of sugarbush"),
        ({"scenario": "nobody-knows"}, "no scenario is called 'nobody-knows'"),
        ({"scenario": 7}, "'scenario' must be a text, not 7"),
        ({"without": ["__import__('os')"]}, "'without' names checks that do not exist"),
        ({"without": [["coverage"]]}, "'without.0.' must be a text"),
        ({"parameters": {"pages": 3}}, "has no parameter 'pages': there are ptrs_per_pte"),
        ({"parameters": ["pages"]}, "'parameters' must be a table"),
        ({"found_by": {"execution": "first"}}, "'found_by.execution' must be a whole number"),
        ({"faults": -1}, "'faults' must be at least 0, not -1"),
        ({"faults": "1"}, "'faults' must be a whole number, not '1'"),
        ({"failure": []}, "'failure' must be a table"),
        ({"failure": {"kind": "bug-on"}}, "'headline' is missing"),
    ],
)
def test_a_broken_artifact_is_refused(artifact: Path, values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadArtifact, match="(?s)" + complaint.replace("(", r"\(").replace(")", r"\)")):
        load(change(artifact, **values))


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"sugarbush": true}']
)
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foreign.json"
    path.write_bytes(content)
    with pytest.raises(BadArtifact, match=r"not an artifact|not text in UTF-8"):
        load(path)


def test_a_schedule_that_is_not_one_is_refused(artifact: Path) -> None:
    with pytest.raises(BadSchedule, match="no choice of a schedule"):
        load(change(artifact, schedule="s1:0*3,boom"))


@pytest.mark.parametrize("schedule", ["s1:0*5", "s1:0*138,9*4", "s1:0*999999", "s1:0*138,2*21", "s1:0*3,=1"])
def test_a_schedule_that_does_not_fit_the_program_is_named(artifact: Path, schedule: str) -> None:
    with pytest.raises(BadSchedule, match="schedule"):
        replay_artifact(load(change(artifact, schedule=schedule)))


def test_an_artifact_of_the_threaded_runtime_cannot_be_replayed(tmp_path: Path) -> None:
    def fails() -> None:
        raise ValueError("always")

    result = explore(fails, runtime="threaded", executions=1)
    found_by = {"runtime": "threaded", "seed": 1}
    path = saved(result.failures[0], SCENARIO, frozenset(), found_by, tmp_path).path
    with pytest.raises(BadSchedule, match="threaded runtime"):
        replay_artifact(load(path))


def test_a_patch_is_gone_after_the_run(artifact: Path) -> None:
    from sugarbush.vm.syscalls import brk

    before = brk.do_brk_munmap
    with applied(SCENARIO.patches):
        assert brk.do_brk_munmap is not before
    replay_artifact(load(artifact))
    assert brk.do_brk_munmap is before
