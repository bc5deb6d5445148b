"""The command line: what it prints, and its exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sugarbush.stress.cli.app import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_info:
        main(list(arguments))
    captured = capsys.readouterr()
    assert isinstance(exit_info.value.code, int)
    return exit_info.value.code, captured.out, captured.err


def test_list_names_scenarios_and_checks(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "list")
    assert status == 0
    for word in ("brk-false-vma", "brk-standard", "coverage", "migration-entry-locked"):
        assert word in out


def test_two_jobs_find_what_one_finds(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    answers = []
    for jobs in ("1", "2"):
        out_dir = str(tmp_path / jobs)
        status, out, _ = run(
            capsys, "run", "brk-false-vma", "--without", "coverage", "--schedules", "300", "--keep-going",
            "--jobs", jobs, "--out", out_dir, "--json",
        )  # fmt: skip
        assert status == 1
        answer = json.loads(out.splitlines()[-1])
        del answer["seconds"]
        for failure in answer["failures"]:
            failure["artifact"] = Path(failure["artifact"]).name
        answers.append(answer)
    assert answers[0] == answers[1]


def test_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "list", "--json")
    listed = json.loads(out)
    found = {scenario["name"]: scenario for scenario in listed["scenarios"]}
    assert found["brk-false-vma"]["expect"] == "coverage"
    assert found["brk-false-vma"]["patches"] == ["sugarbush.vm.syscalls.brk.do_brk_munmap"]
    assert found["brk-standard"]["expect"] is None
    assert "coverage" in listed["checks"]


def test_list_of_one_scenario_shows_its_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "list", "swap-build-v11")
    assert status == 0
    for said in ("expected: coverage", "patched: sugarbush.vm.syscalls.brk.do_brk_munmap", "--compilers 2"):
        assert said in out
    assert "brk-standard" not in out


def test_a_mistyped_name_is_answered_with_those_that_are_alike(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("run", "catalogue", "list"):
        status, _, error = run(capsys, command, "brk-fals-vma")
        assert status == 2
        assert "did you mean brk-false-vma" in error


def test_the_crash_is_found_shown_and_saved(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, out, _ = run(capsys, "run", "brk-false-vma", "--out", str(tmp_path), "--json")
    assert status == 1
    answer = json.loads(out.splitlines()[-1])
    assert answer["scenario"] == "brk-false-vma"
    assert (answer["runtime"], answer["strategy"], answer["seed"]) == ("simulated", "pct", 1)
    assert answer["verdict"] == "failed"
    assert answer["exhaustive"] is False
    assert answer["executions"] >= 1
    assert answer["steps"] > 0
    assert answer["seconds"] >= 0
    (failure,) = answer["failures"]
    assert failure["kind"] == "invariant"
    assert failure["headline"].startswith("coverage: no VMA in the anon_vma interval tree")
    assert failure["first_execution"] == answer["executions"] - 1
    assert Path(failure["artifact"]).is_file()
    assert failure["schedule"] in out.replace("\n", "")
    assert "vma_shrunk" in out
    assert "sugarbush replay" in out


def test_replay_shows_the_same_failure(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, out, _ = run(capsys, "run", "brk-false-vma", "--without", "coverage", "--out", str(tmp_path), "--json")
    failure = json.loads(out.splitlines()[-1])["failures"][0]
    saved = json.loads(Path(failure["artifact"]).read_text())["failure"]
    status, out, _ = run(capsys, "replay", failure["artifact"])
    assert status == 1
    assert failure["headline"] in out
    assert f"at operation {saved['step']} " in out


def test_replay_until_shows_only_the_beginning(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, out, _ = run(capsys, "run", "brk-false-vma", "--out", str(tmp_path), "--json")
    artifact = json.loads(out.splitlines()[-1])["failures"][0]["artifact"]
    _, whole, _ = run(capsys, "replay", artifact)
    _, part, _ = run(capsys, "replay", artifact, "--until", "141")
    assert "vma_shrunk" in whole
    assert "vma_shrunk" not in part


def test_the_fixed_brk_is_clean(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, out, _ = run(capsys, "run", "brk-standard", "--schedules", "50", "--out", str(tmp_path), "--json")
    answer = json.loads(out.splitlines()[-1])
    assert status == 0
    assert answer["failures"] == []
    assert answer["verdict"] == "inconclusive"
    assert answer["executions"] == 50
    assert list(tmp_path.iterdir()) == []


def test_threaded_runs_for_as_long_as_asked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ("run", "brk-standard", "--runtime", "threaded", "--schedules", "20", "--out", str(tmp_path))
    status, out, _ = run(capsys, *arguments, "--json")
    answer = json.loads(out.splitlines()[-1])
    assert status == 0
    assert answer["runtime"] == "threaded"
    assert answer["executions"] == 20


def test_keep_going_merges_what_is_one_bug(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = (
        "run",
        "brk-false-vma",
        "--keep-going",
        "--schedules",
        "150",
        "--out",
        str(tmp_path),
        "--json",
    )
    status, out, _ = run(capsys, *arguments)
    answer = json.loads(out.splitlines()[-1])
    assert status == 1
    assert answer["executions"] == 150
    kinds = [failure["what"] for failure in answer["failures"]]
    assert len(kinds) == len(set(kinds))
    assert any(failure["times"] > 1 for failure in answer["failures"])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["run", "no-such-thing"], "no scenario is called 'no-such-thing'"),
        (["run"], "which scenario?"),
        (["nonsense"], "No such command"),
        (["run", "brk-standard", "--strategy", "magic"], "--strategy 'magic': there are random, pct"),
        (["run", "brk-standard", "--runtime", "gpu"], "--runtime 'gpu'"),
        (["run", "brk-standard", "--memory", "tso"], "--memory 'tso'"),
        (["run", "brk-standard", "--without", "gravity"], "--without 'gravity'"),
        (["run", "brk-standard", "--schedules", "0"], "--schedules must be above 0"),
        (["run", "brk-standard", "--schedules", "many"], "--schedules"),
        (["run", "brk-standard", "--seconds", "-1"], "--seconds must be above 0"),
        (["run", "brk-standard", "--seconds", "nan"], "--seconds must be above 0"),
        (["run", "brk-standard", "--depth", "0"], "the depth of pct counts orderings: at least 1"),
        (["run", "brk-standard", "--seed", "-1"], "--seed must be 0 or more"),
        (["run", "brk-standard", "--faults", "-1"], "--faults must be 0 or more, not -1"),
        (["run", "brk-standard", "--seconds", "1", "--schedules", "1"], "exclude each other"),
        (["run", "brk-standard", "--jobs", "0"], "--jobs must be 1 or more"),
        (["run", "brk-standard", "--executor", "tcp://here"], "no Dask scheduler answers at tcp://here"),
        (["run", "brk-standard", "--runtime", "threaded", "--jobs", "2"], "runs in one process"),
        (["run", "brk-standard", "--out", __file__], "is not a directory"),
        (["run", "brk-standard", "--pages", "4"], "scenario 'brk-standard' has no parameter 'pages'"),
        (["run", "brk-standard", "--pages"], "--pages needs a value"),
        (["run", "brk-standard", "more"], "'more' belongs to no option"),
        (["replay", "/nonexistent/artifact.json"], "cannot be read"),
        (["replay", __file__], "it is not JSON"),
    ],
)
def test_unusable_input_gets_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    status, out, err = run(capsys, *arguments)
    assert status == 2
    assert out == ""
    assert err.startswith("sugarbush: ")
    assert complaint in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_keeps_what_it_found(tmp_path: Path, ending: signal.Signals) -> None:
    command = [sys.executable, "-m", "sugarbush", "run", "brk-false-vma", "--keep-going", "--seconds", "60"]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(tmp_path.glob("*.json")):
        assert process.poll() is None
        # Not as fast as it can: this would take a whole core from what it waits for.
        time.sleep(0.02)
    process.send_signal(ending)
    out, err = process.communicate()
    assert process.returncode == 130, err
    answer = json.loads(out.splitlines()[-1])
    assert answer["failures"]
    for failure in answer["failures"]:
        assert Path(failure["artifact"]).is_file()


def test_an_unwritable_directory_loses_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    status, out, _ = run(capsys, "run", "brk-false-vma", "--out", str(blocked / "below"), "--json")
    answer = json.loads(out.splitlines()[-1])
    assert status == 1
    assert answer["failures"][0]["artifact"] is None
    assert "not saved" in out
    assert answer["failures"][0]["schedule"] in out.replace("\n", "")


def test_a_worker_that_loads_the_main_module_loads_nothing_else() -> None:
    heavy = "{'typer', 'sugarbush.concurrency', 'sugarbush.vm'}"
    code = f"import sugarbush.stress.__main__, sys; print({heavy} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_python_m_stress_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sugarbush", "list"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "brk-standard" in done.stdout


def test_replay_is_the_same_under_every_hash_seed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, out, _ = run(capsys, "run", "brk-false-vma", "--without", "coverage", "--out", str(tmp_path), "--json")
    artifact = json.loads(out.splitlines()[-1])["failures"][0]["artifact"]
    outputs = set()
    for hash_seed in ("0", "1", "random"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-m", "sugarbush", "replay", artifact]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 1, done.stderr
        outputs.add(done.stdout)
    assert len(outputs) == 1
