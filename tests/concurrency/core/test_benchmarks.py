"""The benchmarks of the engine run with one command each and print what they measured."""

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


def run(name: str, *arguments: str) -> tuple[str, dict[str, object]]:
    """The table that a benchmark prints, and the object on its last line; its exit status only says if targets met."""
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=BENCHMARKS.parent, check=False)
    assert not done.stderr
    *table, last = done.stdout.splitlines()
    return "\n".join(table), json.loads(last)


def test_what_brk_costs_is_a_table_of_ratios() -> None:
    table, measured = run("brk_cost", "--rounds", "1")
    ratios = measured["ratios"]
    assert isinstance(ratios, dict)
    assert ratios["straight through"] == 1
    assert set(ratios) == {line.split("|")[1].strip() for line in table.splitlines()[2:]}


def test_what_dpor_costs_is_a_ratio_for_each_program() -> None:
    table, measured = run("dpor_cost", "--rounds", "1", "--slice", "0.01")
    assert table.splitlines()[-1].startswith("| median (target 6.0) | ")
    assert set(measured) == {"ratios", "median", "met"}


def test_what_a_switch_point_costs_and_what_grows() -> None:
    table, measured = run("switch_point", "--rounds", "1", "--executions", "200", "--operations", "20000")
    assert "| memory growth in 20,000 operations, MB | pct | " in table
    assert set(measured) == {"switch_point", "field_read", "memory_mb", "long_mb", "met"}


def test_the_comparison_with_peers_writes_json_and_markdown(tmp_path: Path) -> None:
    """Sugarbush alone, in the interpreter that runs the tests: peers would have to be downloaded."""
    tiny = ["--rounds", "1", "--slice", "0.01", "--seeds", "1", "--cap", "1", "--tools", "sugarbush"]
    command = [sys.executable, str(BENCHMARKS / "peers.py"), *tiny, "--here", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=BENCHMARKS.parent, check=True)
    assert done.stdout == (tmp_path / "peers.md").read_text()
    run = json.loads((tmp_path / "peers.json").read_text())["runs"][0]
    hunts = {(row["strategy"], row["program"]): row for row in run["hunts"]}
    assert len({row["program"] for row in run["speed"]}) == 6
    for (strategy, program), row in hunts.items():
        assert row["passed"] == 0
        if strategy.startswith("dpor"):
            assert row["median"] <= 10, program


def written(name: str, out: Path, *arguments: str) -> dict[str, list[dict[str, object]]]:
    """What a benchmark writes; it prints the same tables."""
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *arguments, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=BENCHMARKS.parent, check=False)
    assert not done.stderr
    assert done.stdout == (out / f"{name}.md").read_text()
    return dict(json.loads((out / f"{name}.json").read_text()))


def test_strategies_are_compared_on_every_scenario_with_a_bug(tmp_path: Path) -> None:
    tiny = ("--seeds", "2", "--cap", "5", "--scenarios", "brk-false-vma", "--strategies", "pct", "pos")
    measured = written("strategies", tmp_path, *tiny)
    assert {(row["without"], row["strategy"]) for row in measured["rows"]} == {
        (without, strategy) for without in ("", "coverage") for strategy in ("pct", "pos")
    }
    assert [row["strategy"] for row in measured["means"]] == ["pct", "pos"]


def test_two_processes_are_compared_with_one(tmp_path: Path) -> None:
    measured = written("parallel", tmp_path, "--executions", "20", "--rounds", "1")
    assert len(measured["rows"]) == 3
    assert all(row["ratio"] > 0 for row in measured["rows"])


def test_the_catalogue_is_measured_against_its_limits(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(BENCHMARKS / "catalogue.py"),
        "Z02",
        "stackrot",
        "--seeds",
        "2",
        "--minimise",
        "1",
    ]
    done = subprocess.run(
        [*command, "--jobs", "2", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=BENCHMARKS.parent,
        check=True,
    )
    assert not done.stderr
    measured = json.loads((tmp_path / "catalogue.json").read_text())
    assert [(row["id"], row["found"], row["over"]) for row in measured["rows"]] == [
        ("Z02", "2 of 2", ""),
        ("Z13", "2 of 2", ""),
    ]
    assert [run.get("preemptions") for run in measured["runs"]] == [0, None, 1, None]
    assert all(0 < row["MB"] < 100 for row in measured["rows"])
    assert len((tmp_path / "catalogue.md").read_text().splitlines()) == 4


def test_a_hunt_that_is_cut_short_is_over_its_limit(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "catalogue.py"), "stackrot", "--seeds", "1", "--cap", "1"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path)], capture_output=True, text=True, cwd=BENCHMARKS.parent, check=False
    )
    assert done.returncode == 1
    (row,) = json.loads((tmp_path / "catalogue.json").read_text())["rows"]
    assert (row["found"], row["median"], row["over"]) == ("0 of 1", 1, "found")
