"""rcutorture and locktorture: clean flavours and locks are clean, busted ones fail, and the statistics add up."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sugarbush.concurrency import ConcurrencyError, Failure, Kind, explore
from sugarbush.stress.cli.app import main
from sugarbush.stress.kit import registry
from sugarbush.stress.kit.scenarios import find_scenario
from sugarbush.stress.torture.flavours import FLAVOURS
from sugarbush.stress.torture.ledger import closing
from sugarbush.stress.torture.locks import LOCKS
from sugarbush.stress.torture.locktorture import LockStatistics
from sugarbush.stress.torture.statistics import Statistics

registry.load()

CLEAN = [name for name in FLAVOURS if not name.startswith("busted")]
RUNTIMES = ("simulated", "threaded")


def explored(
    name: str, executions: int, runtime: str = "simulated", without: str = "", **values: Any
) -> Failure | None:
    scenario = find_scenario(name).given(values)
    result = explore(
        scenario.program,
        runtime=runtime,
        executions=executions,
        settings=scenario.settings(frozenset({without} if without else ())),
    )
    return result.failures[0].failure if result.failures else None


@pytest.fixture(autouse=True)
def _counts_from_the_start() -> None:
    closing()


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("flavour", CLEAN)
def test_a_clean_flavour(flavour: str, runtime: str) -> None:
    executions = 80 if runtime == "simulated" else 8
    assert explored("rcutorture", executions, runtime, torture_type=flavour) is None
    line, pipe, batch, circulation, end = closing()
    assert f"ver: {6 * executions} " in line
    assert "rtmbe: 0 " in line
    assert f"barrier: {executions}/{executions}:0 read-exits: {executions}" in line
    counts = [list(map(int, re.findall(r" (\d+)(?= |$)", text))) for text in (pipe, batch, circulation)]
    assert [len(one) for one in counts] == [11, 11, 11]
    assert sum(counts[0]) == sum(counts[1])
    assert counts[0][0] > 0
    assert not any(counts[0][2:])
    assert counts[2][10] == 0
    assert end == f"{flavour}-torture:--- End of test: SUCCESS"


@pytest.mark.parametrize(
    ("name", "values"),
    [("rcutorture", {"torture_type": one}) for one in CLEAN]
    + [("locktorture", {"lock": one}) for one in LOCKS],
    ids=[*CLEAN, *LOCKS],
)
def test_weak_memory(name: str, values: dict[str, Any]) -> None:
    """Grace periods and locks order what they must."""
    scenario = find_scenario(name).given(values)
    result = explore(scenario.program, executions=60, settings=scenario.settings(memory="weak"))
    assert not result.failures, result.failures[0].failure.headline


@pytest.mark.parametrize("flavour", ["busted", "busted_srcu"])
def test_a_busted_flavour_fails(flavour: str) -> None:
    failure = explored("rcutorture", 300, torture_type=flavour, without="data-race")
    assert failure is not None
    assert failure.kind is Kind.CHECK
    assert failure.headline.startswith(f"{flavour}-torture: !!! ")
    assert failure.detail.endswith("End of test: FAILURE")


@pytest.mark.parametrize("flavour", ["busted", "busted_srcu"])
def test_the_race_detector_alone_sees_a_busted_flavour(flavour: str) -> None:
    scenario = find_scenario("rcutorture").given({"torture_type": flavour})
    result = explore(scenario.program, executions=600, keep_going=True, settings=scenario.settings())
    assert Kind.DATA_RACE in {witness.failure.kind for witness in result.failures}


def test_a_busted_flavour_fails_on_threads() -> None:
    failure = explored("rcutorture", 3000, "threaded", torture_type="busted")
    assert failure is not None
    assert (
        "a grace period has passed over a reader" in failure.headline or "was not there" in failure.headline
    )


def test_elements_go_all_the_way_round() -> None:
    assert explored("rcutorture", 60, updates=16, reads=2) is None
    found = re.search(r"rtf: (\d+) ", closing()[0])
    assert found is not None
    assert int(found[1]) > 60


def test_a_stall_that_is_asked_for_is_reported() -> None:
    failure = explored("rcutorture", 20, stall=2000)
    assert failure is not None
    assert failure.kind is Kind.STALL
    assert "rcu_torture_stall" in failure.headline


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_is_clean(lock: str, runtime: str) -> None:
    executions = 80 if runtime == "simulated" else 8
    assert explored("locktorture", executions, runtime, lock=lock) is None
    lines = closing()
    assert f"Writes:  Total: {6 * executions}  Max/Min: {3 * executions}/{3 * executions}" in lines[0]
    assert lines[0].endswith("Fail: 0")
    assert lines[-1].endswith("End of test: SUCCESS")
    assert len(lines) == 2 + ("Reads" in lines[1])


def test_unfair_and_failed_locks_are_marked() -> None:
    counted = LockStatistics({"one": 9, "two": 2}, {"three": 4, "four": 4}, write_fails=1)
    assert counted.lines("x") == [
        "x-torture: Writes:  Total: 11  Max/Min: 9/2 ???  Fail: 1 !!!",
        "x-torture: Reads :  Total: 8  Max/Min: 4/4   Fail: 0",
    ]
    assert counted.end("x") == "x-torture:--- End of test: FAILURE"


@pytest.mark.parametrize("wrong", ["rtmbe", "rtbe", "cookies", "reader_pipe"])
def test_what_makes_a_test_fail(wrong: str) -> None:
    clean = Statistics()
    clean.reader_pipe[1] = 5
    assert not clean.failed
    bad = Statistics(**({"reader_pipe": [0, 0, 1] + [0] * 8} if wrong == "reader_pipe" else {wrong: 1}))
    clean.add(bad)
    assert clean.failed
    assert clean.lines("rcu")[0].startswith("rcu-torture: !!! ")
    assert ("!!!" in clean.lines("rcu")[1]) == (wrong == "reader_pipe")


@pytest.mark.parametrize(
    ("scenario", "values"), [("rcutorture", {"torture_type": "nix"}), ("locktorture", {"lock": "nix"})]
)
def test_a_kind_that_does_not_exist(scenario: str, values: dict[str, Any]) -> None:
    with pytest.raises(ConcurrencyError, match="is called 'nix': there are "):
        explored(scenario, 1, **values)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as exit_info:
        main(["run", *arguments])
    assert isinstance(exit_info.value.code, int)
    return exit_info.value.code, capsys.readouterr().out


def test_the_command_line_prints_the_statistics(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    call = partial(run, capsys)
    status, out = call("rcutorture", "--schedules", "20", "--readers", "1")
    assert status == 0
    assert "rcu-torture: Reader Pipe:  " in out
    assert "rcu-torture:--- End of test: SUCCESS" in out
    status, out = call("rcutorture", "--torture-type", "busted", "--out", str(tmp_path))
    assert status == 1
    assert "busted-torture: !!! Reader Pipe:  " in out
    assert out.count("End of test: FAILURE") == 2, "with the failure, and at the end"
    status, out = call("locktorture", "--lock", "rwsem", "--schedules", "20")
    assert status == 0
    assert "rwsem_lock-torture: Writes:  Total: 120  Max/Min: 60/60" in out
