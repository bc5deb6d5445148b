"""The same seed gives the same executions under every hash seed and every Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from concurrency_digest import digest, schedules

SCRIPT = Path(__file__).with_name("concurrency_digest.py")


GOLDEN = "678ca04bdfed9235"
"""Changes only with the operations that primitives make or with what a strategy draws: then old schedules are void."""


def test_the_schedules_are_those_of_every_other_machine() -> None:
    assert schedules() == GOLDEN


def digest_of(python: str, hash_seed: str = "0") -> str:
    done = subprocess.run(
        [python, str(SCRIPT)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_hash_seeds_do_not_matter() -> None:
    assert {digest_of(sys.executable, seed) for seed in ("0", "1", "2", "77", "12345")} == {digest()}


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_versions_of_python_do_not_matter(version: str) -> None:
    for python in (shutil.which(f"python{version}"), os.environ.get(f"PYTHON{version.replace('.', '')}")):
        if python is None:
            continue
        ready = subprocess.run([python, "-c", "import greenlet"], capture_output=True, check=False)
        if ready.returncode == 0:
            assert digest_of(python) == digest()
            return
    pytest.skip(
        f"no python{version} with greenlet on the path (PYTHON{version.replace('.', '')} may name one)"
    )
