"""Breaking any one rule makes a test fail: the tests hold every rule, also those the kernel's matrix does
not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from lockdep_mutants import MUTANTS, Mutant

HERE = Path(__file__).parents[1]
ROOT = HERE.parents[1]


def run_tests(package: Path, names: str) -> subprocess.CompletedProcess[str]:
    """Runs test files against the copy of the package that stands in `package`."""
    # Not those of `read`, which run scenarios: the copy has no other package.
    files = [
        str(path) for name in names.split() for path in HERE.rglob(f"{name}.py") if path.parent.name != "read"
    ]
    options = ["-x", "-q", "-p", "pytest_timeout", "-p", "no:cacheprovider"]
    options += ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *files],
        cwd=package,
        env={**os.environ, "PYTHONPATH": str(package), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def copy_package(target: Path) -> Path:
    package = target / "sugarbush"
    package.mkdir()
    shutil.copy(ROOT / "src" / "sugarbush" / "__init__.py", package)
    shutil.copytree(ROOT / "lockdep", package / "lockdep")
    return target


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.rule for mutant in MUTANTS])
def test_a_broken_rule_is_noticed(mutant: Mutant, tmp_path: Path) -> None:
    (path,) = (copy_package(tmp_path) / "sugarbush" / "lockdep").rglob(mutant.file)
    source = path.read_text()
    assert source.count(mutant.old) == 1, "the mutant no longer fits the code"
    path.write_text(source.replace(mutant.old, mutant.new))
    done = run_tests(tmp_path, mutant.tests)
    assert done.returncode == 1, done.stdout[-2000:]
    assert "failed" in done.stdout


def test_without_a_mutant_the_same_tests_pass(tmp_path: Path) -> None:
    names = " ".join(sorted({name for mutant in MUTANTS for name in mutant.tests.split()}))
    done = run_tests(copy_package(tmp_path), names)
    assert done.returncode == 0, done.stdout[-2000:]


def test_there_are_enough_mutants() -> None:
    assert len({mutant.rule for mutant in MUTANTS}) == len(MUTANTS) >= 40
