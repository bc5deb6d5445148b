"""The example runs, and docs/lockdep.md says what is so."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from sugarbush.lockdep import Lockdep, ReportKind
from sugarbush.lockdep.python.threads import ThreadMonitor

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "lockdep.md").read_text()


def test_example_is_short_and_finds_both_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    path = ROOT / "examples" / "lockdep_threads.py"
    assert len(path.read_text().splitlines()) < 60
    monitor = runpy.run_path(str(path))["main"]()
    kinds = [report.kind for report in monitor.lockdep.reports]
    assert kinds == [ReportKind.CIRCULAR, ReportKind.RECURSIVE]
    assert "close (examples/lockdep_threads.py:" in capsys.readouterr().out


def test_code_blocks_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, object] = {}
    for block in blocks[:2]:
        exec(compile(block, "docs/lockdep.md", "exec"), names)
    monitor, lockdep = names["monitor"], names["lockdep"]
    assert isinstance(monitor, ThreadMonitor)
    assert isinstance(lockdep, Lockdep)
    assert [report.kind for report in monitor.lockdep.reports] == [ReportKind.CIRCULAR]
    assert lockdep.reports == []


def test_every_kind_of_report_is_in_the_table() -> None:
    assert {str(kind) for kind in ReportKind} == set(re.findall(r"`([a-z-]+)`(?=[,| ])", PAGE)) & set(
        ReportKind
    )


def test_every_call_in_the_table_exists() -> None:
    table = PAGE[PAGE.index("| call |") : PAGE.index("`prime(order)`")]
    cells = [line.split("|")[1] for line in table.splitlines()[2:] if line.startswith("|")]
    names = {name for cell in cells for name in re.findall(r"`([a-z_]+)\(?[^`]*`", cell) if "{" not in cell}
    missing = {
        name for name in names if not any(known.startswith(name.rstrip("_*")) for known in dir(Lockdep))
    }
    assert missing == set()
    assert len(names) > 40
