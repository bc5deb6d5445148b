"""`sugarbush report`: what is on the page and in the trace."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from sugarbush.concurrency import (
    Mutex,
    Once,
    RwSemaphore,
    Shared,
    check,
    explore,
    join,
    rcu_reader,
    spawn,
    trace,
)
from sugarbush.stress.cli.app import main
from sugarbush.stress.kit import scenarios
from sugarbush.stress.kit.scenarios import scenario
from sugarbush.stress.report.data import packed
from sugarbush.stress.report.html import page
from sugarbush.stress.report.recording import Recorded, Span, recorded
from sugarbush.stress.report.tracing import perfetto
from sugarbush.stress.witness.artifact import load, saved

HOSTILE = "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=1>"


class Cell(Shared):
    value: Once[int] = 0


@pytest.fixture
def program() -> Iterator[scenarios.Scenario]:
    """A program with locks of two kinds, a reader, a wait, and a failure; its names are hostile."""

    @scenario("test-hostile", era="none", observers=tuple)
    def hostile() -> None:
        """Ends in a failing check."""
        cell, mutex, sem = Cell(), Mutex("mutex"), RwSemaphore("sem")

        def first() -> None:
            with mutex:
                sem.down_read()
                trace(HOSTILE, on=HOSTILE)
                cell.value = 1
                sem.up_read()

        def second() -> None:
            with rcu_reader():
                cell.value += 1
            with mutex:
                pass

        join(spawn(first, name=HOSTILE), spawn(second, name="second"))
        check(False, HOSTILE)

    yield hostile
    del scenarios._registered["test-hostile"]


@pytest.fixture
def artifact(program: scenarios.Scenario, tmp_path: Path) -> Path:
    result = explore(program.program, strategy="dfs", settings=program.settings())
    how = {"runtime": "simulated", "strategy": "dfs", "depth": None, "seed": 1}
    return saved(result.failures[0], program, frozenset(), how, tmp_path, name="hostile").path


def filmed(artifact: Path) -> Recorded:
    return recorded(load(artifact))


def test_a_film_has_what_was_held_and_when(artifact: Path) -> None:
    shown = filmed(artifact)
    held = {(span.task, span.what, span.how) for span in shown.spans}
    assert {(HOSTILE, "mutex", "alone"), (HOSTILE, "sem", "to read"), ("second", "mutex", "alone")} <= held
    assert ("second", "RCU", "to read") in held
    mutex: list[Span] = sorted((s for s in shown.spans if s.what == "mutex"), key=lambda span: span.start)
    assert mutex[0].end <= mutex[1].start
    assert [step.what for step in shown.steps if step.kind == "trace"] == [HOSTILE]
    assert all(0 <= span.start <= span.end <= shown.total + 1 for span in shown.spans)
    assert any(
        "test_report.py" in frame for stacks in shown.stacks for frames in stacks.values() for frame in frames
    )


def test_a_wait_is_a_span(tmp_path: Path) -> None:
    main_status = _run("run", "brk-false-vma", "--without", "coverage", "--out", str(tmp_path))
    assert main_status == 1
    shown = filmed(next(tmp_path.glob("*.json")))
    waits = [span for span in shown.spans if span.how == "waits"]
    assert ("main", "join(cc1)") in {(span.task, span.what) for span in waits}
    assert any(title == "cc1: VMAs" for title, _, _ in shown.worlds[-1])
    assert any("migration(" in line for world in shown.worlds for _, _, lines in world for line in lines)
    assert "mm-&gt;mmap_lock" in shown.lock_graph


def test_the_page_is_told_each_state_once_and_every_one(tmp_path: Path) -> None:
    """What stands at each step in the packed data is what the recording says."""
    assert _run("run", "brk-false-vma", "--without", "coverage", "--out", str(tmp_path)) == 1
    shown = filmed(next(tmp_path.glob("*.json")))
    data = packed(shown, [])
    assert len(set(data["texts"])) == len(data["texts"])
    assert len(set(map(tuple, data["states"]))) == len(data["states"])

    def stood(marks: list[list[int]], step: int) -> list[str]:
        place = bisect_right(marks[0], step) - 1
        number = marks[1][place] if place >= 0 else -1
        return [data["texts"][text] for text in data["states"][number]] if number >= 0 else []

    def filmed_at(marks: list[tuple[int, int]], states: list[Any], step: int) -> Any:
        place = bisect_right(marks, step, key=itemgetter(0)) - 1
        return states[marks[place][1]] if place >= 0 else []

    for step in range(shown.total + 1):
        stacks = dict(filmed_at(shown.stacks_at, shown.stacks, step))
        for task, marks in zip(shown.tasks, data["stacks"], strict=True):
            assert stood(marks, step) == stacks.get(task, [])
        world = [section for section in filmed_at(shown.world_at, shown.worlds, step) if section[2]]
        there = [(one["title"], one["form"], stood(one["marks"], step)) for one in data["world"]]
        assert [one for one in there if one[2]] == world


def test_two_sections_of_one_title_are_both_told(artifact: Path) -> None:
    shown = filmed(artifact)
    shown.worlds = [
        [("a", "lines", ["1"]), ("z", "lines", ["9"])],
        [("a", "lines", ["1"]), ("a", "lines", ["2"]), ("z", "lines", ["9"])],
    ]
    shown.world_at = [(1, 0), (2, 1)]
    assert [one["title"] for one in packed(shown, [])["world"]] == ["a", "a (2)", "z"]


def test_two_replays_give_the_same_page(tmp_path: Path) -> None:
    """Nothing of this process, as the address of an object, stands in it."""
    assert _run("run", "brk-false-vma", "--without", "coverage", "--out", str(tmp_path)) == 1
    page_of = next(tmp_path.glob("*.json"))
    first, second = filmed(page_of), filmed(page_of)
    assert packed(first, []) == packed(second, [])
    assert " object at 0x" not in json.dumps(packed(first, []))


def test_nothing_of_the_program_becomes_a_part_of_the_page(artifact: Path) -> None:
    html = page([filmed(artifact)], [()])
    assert HOSTILE not in html
    assert html.count("<script") == html.count("</script>") == 3 + html.count("<script>window.pwned")
    assert "window.pwned=1<" not in html


def test_the_trace_is_one_that_perfetto_reads(artifact: Path) -> None:
    events = json.loads(perfetto(filmed(artifact)))["traceEvents"]
    assert {event["ph"] for event in events} >= {"M", "X", "i"}
    names = {event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert names == {"main", HOSTILE, "second"}
    assert all(event["dur"] >= 0 for event in events if event["ph"] == "X")


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_info:
        main(list(arguments))
    return int(exit_info.value.code or 0)


def test_a_directory_becomes_one_page(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (artifact.parent / "broken.json").write_text("{", encoding="utf-8")
    assert _run("report", str(artifact.parent)) == 0
    said = capsys.readouterr().out
    assert "passed over: " in said
    assert (artifact.parent / "report.html").exists()


@pytest.mark.parametrize("arguments", [("no-such-file",), (".", "--perfetto", "x")])
def test_unusable_input_is_one_line(
    arguments: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _run("report", *arguments) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
