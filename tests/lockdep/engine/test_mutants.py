"""Breaking any one rule makes a test fail: the tests hold every rule, also those the kernel's matrix does
not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lockdep_mutants import MUTANTS, Mutant

HERE = Path(__file__).parents[1]
ROOT = HERE.parents[1]
LOCKDEP = ROOT / "src" / "sugarbush" / "lockdep"

Run = Callable[[str, str, str, str], tuple[int, str]]


@pytest.fixture(scope="module")
def run_tests() -> Iterator[Run]:
    """Runs test files with one text of one module replaced, in a fork of a process of its own."""
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("mutant_server.py"))],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        requests, answers = server.stdin, server.stdout
        assert requests is not None
        assert answers is not None

        def run(module: str, old: str, new: str, names: str) -> tuple[int, str]:
            # Not those of `read`, which run scenarios of other packages.
            found = [path for name in names.split() for path in HERE.rglob(f"{name}.py")]
            files = [str(path) for path in found if path.parent.name != "read"]
            assert len(files) >= len(names.split())
            requests.write(json.dumps([module, old, new, files]) + "\n")
            requests.flush()
            status, printed = json.loads(answers.readline())
            return status, printed

        yield run
        requests.close()


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.rule for mutant in MUTANTS])
def test_a_broken_rule_is_noticed(mutant: Mutant, run_tests: Run) -> None:
    (path,) = LOCKDEP.rglob(mutant.file)
    assert path.read_text().count(mutant.old) == 1, "the mutant no longer fits the code"
    module = ".".join(("sugarbush", "lockdep", *path.relative_to(LOCKDEP).with_suffix("").parts))
    status, printed = run_tests(module, mutant.old, mutant.new, mutant.tests)
    assert status == 1, printed[-2000:]
    assert "failed" in printed


def test_without_a_mutant_the_same_tests_pass(run_tests: Run) -> None:
    names = " ".join(sorted({name for mutant in MUTANTS for name in mutant.tests.split()}))
    status, printed = run_tests("", "", "", names)
    assert status == 0, printed[-2000:]


def test_there_are_enough_mutants() -> None:
    assert len({mutant.rule for mutant in MUTANTS}) == len(MUTANTS) >= 40
