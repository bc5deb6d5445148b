"""Every kind of report, against a golden file, section by section; and as JSON.

With UPDATE_GOLDEN=1 in the environment the files are written instead of compared.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
from lockdep_painter import SCENARIOS
from lockdep_world import World

from sugarbush.lockdep import Lockdep, Report, ReportKind, TaskContext
from sugarbush.lockdep.reports import LOG_KINDS, PYTHON_KINDS

GOLDEN = Path(__file__).parents[2] / "data" / "lockdep" / "golden"


def play(name: str) -> list[Report]:
    """Runs a scenario as the task painter/204; its stack shows nothing of how it was called."""
    world = World()
    world.ctx = TaskContext("painter", 204)
    internal = ("sugarbush.lockdep", "lockdep_world", "threading", "contextlib")
    world.lockdep = Lockdep(lambda: world.ctx, internal=internal)
    thread = threading.Thread(target=SCENARIOS[name], args=(world,))
    thread.start()
    thread.join()
    return world.lockdep.reports


def sections(text: str) -> list[str]:
    return text.split("\n\n")


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_text_is_that_of_the_golden_file(name: str) -> None:
    text = "".join(report.render() for report in play(name))
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert sections(text) == sections(path.read_text())


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_a_scenario_gives_one_report_that_json_can_carry(name: str) -> None:
    (report,) = play(name)
    data = json.loads(json.dumps(report.to_json()))
    assert data["headline"] == report.headline
    assert data["kind"] == str(report.kind)
    assert data["task"] == {
        "comm": "painter",
        "pid": 204,
        "hardirq_depth": report.task.hardirq_depth,
        "softirq_depth": report.task.softirq_depth,
        "hardirqs_enabled": report.task.hardirqs_enabled,
        "softirqs_enabled": report.task.softirqs_enabled,
    }
    assert data["stack"][0]["file"].endswith("lockdep_painter.py")
    assert data["is_failure"] == (name != "guarded_circular")


def test_every_kind_has_a_scenario() -> None:
    assert {report.kind for name in SCENARIOS for report in play(name)} == set(
        ReportKind
    ) - LOG_KINDS - PYTHON_KINDS


def test_a_report_is_the_same_in_every_run() -> None:
    for name in SCENARIOS:
        assert play(name) == play(name)


def test_generated_code_is_told_apart_by_its_module() -> None:
    ctx = TaskContext("main", 1)
    lockdep = Lockdep(lambda: ctx)
    inside = {"__name__": "sugarbush.lockdep.generated", "lockdep": lockdep}
    exec("def take(lock):\n    lockdep.acquire(lock)", inside)
    outside = {"__name__": "user", "take": inside["take"]}
    exec("def work(lock):\n    take(lock)", outside)
    lock = World().lock("lock")
    for _ in range(2):
        outside["work"](lock)  # type: ignore[operator]
        (line,) = lockdep.held_locks(ctx)
        assert line.site.function == "work"
        lockdep.release(lock)
