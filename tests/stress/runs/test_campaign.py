"""Campaigns: rounds, merging, saving and going on; counts; other machines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sugarbush.concurrency import Failure, Kind, Schedule, Witness
from sugarbush.concurrency.lowlevel import Event, Sampler
from sugarbush.stress.cli.app import main
from sugarbush.stress.kit import registry
from sugarbush.stress.kit.plan import Plan
from sugarbush.stress.kit.scenarios import find_scenario
from sugarbush.stress.runs.campaign import Campaign
from sugarbush.stress.runs.merge import identity
from sugarbush.stress.runs.state import NAME, BadState

registry.load()


def sugarbush(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any], str]:
    with pytest.raises(SystemExit) as exit_info:
        main(["run", *arguments, "--json"])
    said = capsys.readouterr()
    last = said.out.splitlines()[-1] if said.out else "{}"
    return int(exit_info.value.code or 0), json.loads(last), said.out + said.err


def plan(out: Path, **values: Any) -> Plan:
    usual: dict[str, Any] = {
        "scenario": find_scenario("brk-standard"),
        "runtime": "simulated",
        "strategy": "pct",
        "depth": 4,
        "schedules": None,
        "seconds": 1.0,
        "seed": 1,
        "without": frozenset(),
        "keep_going": True,
        "out": out,
    }
    return Plan(**(usual | values))


def test_a_long_run_says_what_it_did_and_how_to_go_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status, first, said = sugarbush(capsys, "brk-standard", "--seconds", "1", "--out", str(tmp_path))
    assert status == 0
    assert f"go on: sugarbush run --resume {tmp_path}" in said
    assert first["counted"]["sampled"] == -(-first["executions"] // Sampler.every)
    assert first["counted"]["locks"]["mm->mmap_lock"]["acquired"] >= first["executions"]
    assert first["counted"]["lock_chains"] > 1
    assert first["counted"]["operation_pairs"] > 10
    status, then, _ = sugarbush(capsys, "--resume", str(tmp_path), "--seconds", "1")
    assert status == 0
    assert then["scenario"] == "brk-standard"
    assert then["executions"] > first["executions"]
    assert then["steps"] > first["steps"]
    assert then["seconds"] > first["seconds"] >= 1


def test_rounds_do_not_depend_on_where_a_campaign_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found in the third round, whether it runs in one go or is resumed after the first."""
    monkeypatch.setattr("sugarbush.stress.runs.campaign._ROUND", 3)
    brk = find_scenario("brk-false-vma")
    whole = Campaign(plan(tmp_path / "a", scenario=brk, keep_going=False, without=frozenset({"coverage"})))
    whole.plan = plan(
        tmp_path / "a", scenario=brk, seconds=60.0, keep_going=False, without=frozenset({"coverage"})
    )
    whole.run()
    one = Campaign(
        plan(tmp_path / "b", scenario=brk, seconds=1e-9, keep_going=False, without=frozenset({"coverage"}))
    )
    one.run()
    then = Campaign.resumed(tmp_path / "b", 60.0, 1)
    then.run()
    assert str(then.found[0].witness.schedule) == str(whole.found[0].witness.schedule)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    Campaign(plan(tmp_path, seconds=0.01)).run()
    return tmp_path / NAME


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"sugarbush-campaign": 9}, "newer than this sugarbush"),
        ({"sugarbush-campaign": "1"}, "is not the state of a campaign"),
        ({"scenario": "nobody"}, "no scenario is called 'nobody'"),
        ({"parameters": {"x": 1}}, "has no parameter 'x'"),
        ({"strategy": "magic"}, "'strategy' is 'magic'"),
        ({"without": ["os.system"]}, "'without' names checks"),
        ({"round": -1}, "'round' must be at least 0, not -1"),
        ({"round": 10**40}, "'round' must be at most 1000000000000"),
        ({"seconds": 1e300}, "'seconds' must be at most 1000000000"),
        ({"executions": 1.0}, "'executions' must be a whole number, not 1.0"),
        ({"sugarbush-campaign": 0}, "must be one of 1, 2, not 0"),
        ({"round": True}, "'round' must be a whole number, not True"),
        (
            {"failures": {"../../etc/passwd": 1}},
            "'failures' is '../../etc/passwd', which is not allowed there",
        ),
    ],
)
def test_a_broken_state_is_refused(state: Path, values: dict[str, Any], complaint: str) -> None:
    state.write_text(json.dumps(json.loads(state.read_text()) | values))
    with pytest.raises(BadState, match=complaint):
        Campaign.resumed(state.parent, 1.0, 1)


@pytest.mark.parametrize(
    "content", ["", "[", "[]", "{}", "[" * 100_000, '{"seconds": NaN}', '{"seconds": 1e999}']
)
def test_a_foreign_state_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / NAME).write_text(content)
    with pytest.raises(BadState):
        Campaign.resumed(tmp_path, 1.0, 1)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--resume", "no-such-directory"),
        ("brk-standard", "--resume", "."),
        (),
        ("brk-standard", "--executor", "tcp://127.0.0.1:1", "--jobs", "2"),
    ],
)
def test_unusable_input(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["run", *arguments])
    assert exit_info.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def witness(headline: str, *ops: tuple[str, str, str], preemptions: int = 0) -> Witness:
    failure = Failure(Kind.INVARIANT, headline, check="coverage")
    failure.task = "a"
    events = tuple(Event(n, task, "op", what, on, "") for n, (task, what, on) in enumerate(ops))
    return Witness(failure, Schedule(()), 0, len(ops), ("a", "b"), events, preemptions)


def test_witnesses_of_one_bug_are_merged_whatever_page_it_was() -> None:
    one = witness("pfn3 at 0x1000", ("b", "read", "pfn3"), ("a", "set_pte", "pte@0x1000"))
    same = witness("pfn7 at 0x2000", ("b", "read", "pfn7"), ("a", "set_pte", "pte@0x2000"), preemptions=2)
    other = witness("pfn3 at 0x1000", ("b", "write", "pfn3"), ("a", "set_pte", "pte@0x1000"))
    assert identity(one) == identity(same) != identity(other)
    assert one.size < same.size


def test_of_one_bug_the_simplest_witness_is_kept(tmp_path: Path) -> None:
    brk = find_scenario("brk-false-vma")
    campaign = Campaign(plan(tmp_path, scenario=brk, schedules=60, seconds=None))
    campaign.run()
    assert len({identity(one.witness) for one in campaign.found}) == len(campaign.found)
    assert any(one.times > 1 for one in campaign.found)
    assert {one.path for one in campaign.found} == set(tmp_path.glob("*.json"))
    assert (
        sum(one.times for one in campaign.found) == sum(campaign.result.times.values()) > len(campaign.found)
    )
    for one in campaign.found:
        assert one.witness.size == (one.witness.preemptions, one.witness.steps)
        assert one.first <= one.witness.execution


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, processes=True
    ) as started:
        yield started.scheduler_address


@pytest.mark.filterwarnings("default")
def test_a_dask_scheduler_finds_the_same(
    cluster: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    how = ("brk-false-vma", "--without", "coverage", "--schedules", "200", "--seed", "3")
    status, alone, _ = sugarbush(capsys, *how, "--out", str(tmp_path / "a"))
    assert status == 1
    status, shared, said = sugarbush(capsys, *how, "--out", str(tmp_path / "b"), "--executor", cluster)
    assert status == 1, said
    for key in ("executions", "steps", "verdict"):
        assert shared[key] == alone[key]
    assert shared["failures"][0]["schedule"] == alone["failures"][0]["schedule"]


def test_a_scheduler_that_does_not_answer_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sugarbush.stress.runs.executors._PATIENCE", 0.2)
    with pytest.raises(SystemExit) as exit_info:
        main(["run", "brk-standard", "--executor", "tcp://127.0.0.1:9"])
    assert exit_info.value.code == 2
    assert "no Dask scheduler answers" in capsys.readouterr().err


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("default")
def test_a_worker_that_sends_code_runs_none_of_it(
    cluster: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Last, since the workers send it from here on."""
    import distributed

    evil = (
        "import os, sugarbush.concurrency.search.answers\n"
        "class Evil:\n"
        f"    def __reduce__(self): return os.mkdir, ({str(tmp_path / 'evil')!r},)\n"
        "sugarbush.concurrency.search.answers.run_text = lambda text: Evil()\n"
    )
    with distributed.Client(cluster) as client:
        client.run(exec, evil, {})
    with pytest.raises(SystemExit) as exit_info:
        main(["run", "brk-standard", "--schedules", "20", "--out", str(tmp_path), "--executor", cluster])
    assert exit_info.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "evil").exists()
