"""The benchmarks of the engine run with one command each and print what they measured."""

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


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
