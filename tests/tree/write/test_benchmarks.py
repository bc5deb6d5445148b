"""The benchmarks of the tree run with one command each and write what they measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.mark.parametrize("name", ["tree_cache", "tree_speed"])
def test_a_benchmark_writes_json_and_markdown(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--out", str(tmp_path), "--counts", "10"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=BENCHMARKS.parent, check=True)
    rows = json.loads((tmp_path / f"{name}.json").read_text())
    table = (tmp_path / f"{name}.md").read_text()
    assert run.stdout == table
    assert table.count("\n") == len(rows) + 2
    assert set(rows[0]) == {cell.strip() for cell in table.splitlines()[0].strip("|").split("|")}
