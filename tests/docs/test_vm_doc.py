"""docs/vm.md: its code runs, its names exist; and the example shows what it says."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

from sugarbush.stress.kit.check_table import CHECK_TABLE, CHECKS
from sugarbush.vm.checks.lock_order import LOCK_ORDER

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "vm.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "examples" / "vm_migration.py"


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def first_column(text: str) -> list[str]:
    return re.findall(r"^\| `([^`]+)` \|", text, flags=re.MULTILINE)


def test_there_are_code_blocks() -> None:
    """`test_docs` runs them, as those of every page."""
    assert len(re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)) >= 3


def test_the_objects_are_where_the_page_says() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `([\w.]+)` \|", section("Objects"), flags=re.MULTILINE)
    assert len(rows) >= 8
    for name, module in rows:
        assert importlib.import_module(f"sugarbush.vm.{module}").__dict__[name].__name__ == name


def test_the_lock_order_is_the_one_that_is_asserted() -> None:
    assert tuple(first_column(section("Locks"))) == LOCK_ORDER


def test_each_invariant_is_a_check_that_can_be_switched_off() -> None:
    names = first_column(section("Invariants"))
    assert len(names) == 13
    assert set(names) <= set(CHECKS)


def test_each_check_has_a_row_in_a_page() -> None:
    rows = [
        row.split("|")[1]
        for page in sorted((ROOT / "docs").glob("*.md"))
        for row in page.read_text(encoding="utf-8").splitlines()
        if row.startswith("| `")
    ]
    told = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    missing = [check.name for check in CHECK_TABLE if check.name not in told]
    assert not missing, f"no table of docs/ has a row for {', '.join(missing)}: add one (docs/vm-pages.md)"


def test_the_example_is_short_and_shows_cause_and_effect() -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) < 60
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    lines = done.stdout.splitlines()
    assert lines[:2] == [
        "brk of v6.1, all checks: nothing found",
        "brk of v6.1, without coverage: nothing found",
    ]
    assert lines[2].startswith("brk of July 2022, all checks: coverage: no VMA in the anon_vma interval tree")
    effects = ("BUG_ON(is_migration_entry(entry) && !PageLocked(p))", "Bad rss-counter state")
    assert any(effect in lines[3] for effect in effects)
