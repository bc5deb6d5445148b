"""The code in docs/concurrency.md and the example run, and each limit that the page states has its test."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "concurrency.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "examples" / "concurrency_lost_update.py"


def test_there_are_code_blocks() -> None:
    """`test_docs` runs them, as those of every page."""
    assert len(re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)) >= 6


def test_each_limit_is_pinned_by_a_test() -> None:
    named = re.findall(r"`(test_limit_\w+)`", PAGE)
    tests = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "concurrency").rglob("test_*.py")
    )
    assert len(named) >= 4
    assert sorted(named) == sorted(re.findall(r"def (test_limit_\w+)\(", tests))


def test_the_example_finds_the_lost_update_and_is_short() -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) < 60
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "check failed: both increments count, under s1:" in done.stdout
    assert "replayed: check failed: both increments count at operation" in done.stdout
    assert "with a mutex: inconclusive after 1000 executions" in done.stdout
