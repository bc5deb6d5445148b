"""The listings, the saved file, the pictures, and ``python -m sugarbush.lockdep`` (facts 1.20)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from lockdep_world import World

from sugarbush.lockdep import LockdepError, WaitType
from sugarbush.lockdep.cli.app import main
from sugarbush.lockdep.show.draw import to_dot, to_svg
from sugarbush.lockdep.show.listings import chains_text, held_text, lockdep_text, reports_text, stats_text
from sugarbush.lockdep.show.snapshot import Snapshot, from_json, load, take


@pytest.fixture
def busy(world: World) -> World:
    """Three classes, a cycle among two, a handler, and a lock that stays held."""
    a, b, c = world.locks("alpha beta gamma", WaitType.CONFIG)
    world.take(a, b)
    world.take(a, b)
    world.take(b, a)
    with world.hardirq():
        world.take(c, read=2)
    world.lockdep.acquire(a)
    world.take(c, trylock=True)
    return world


def test_lockdep_lists_classes_counts_and_direct_dependencies(busy: World) -> None:
    lines = lockdep_text(take(busy.lockdep)).splitlines()
    assert lines[0] == "all lock classes:"
    assert lines[1] == "ffffffff83000010 OPS:       4 FD:    2 BD:    2 +.+.: alpha"
    assert lines[2] == " -> [ffffffff83000020] beta"
    assert lines[7] == "ffffffff83000030 OPS:       2 FD:    1 BD:    1 +-+.: gamma"


def test_only_neighbours_are_listed_as_direct(world: World) -> None:
    a, b, c = world.locks("a b c")
    with world.held(a), world.held(b, trylock=True):
        world.take(c)
    text = lockdep_text(take(world.lockdep))
    assert text.count("] c") == 1
    assert [(e.prev, e.next, e.distance) for e in take(world.lockdep).edges] == [(1, 3, 2), (2, 3, 1)]


def test_reach_counts_follow_paths_both_ways(world: World) -> None:
    a, b, c, d = world.locks("a b c d")
    world.take(a, b, c)
    world.take(d, b)
    rows = {row.name: (row.forward, row.backward) for row in take(world.lockdep).classes}
    assert rows == {"a": (3, 1), "b": (2, 3), "c": (1, 4), "d": (3, 1)}


def test_chains_lists_stacks_with_their_irq_context(busy: World) -> None:
    blocks = chains_text(take(busy.lockdep)).split("\n\n")
    assert blocks[0] == "all lock chains:\nirq_context: 0\n[ffffffff83000010] alpha"
    assert blocks[1] == "irq_context: 0\n[ffffffff83000010] alpha\n[ffffffff83000020] beta"
    assert "irq_context: hardirq\n[ffffffff83000030] gamma" in blocks
    assert len([block for block in blocks if "irq_context" in block]) == 5


def test_stats_have_the_kernels_counters(busy: World) -> None:
    stats = take(busy.lockdep).stats
    expected = {
        "lock-classes": 3,
        "direct dependencies": 2,
        "indirect dependencies": 5,
        "dependency chains": 5,
        "in-hardirq chains": 1,
        "in-process chains": 4,
        "max locking depth": 2,
        "chain lookup hits": 3,
        "hardirq-unsafe": 3,
        "hardirq-read-safe": 1,
        "irq-safe": 0,
        "irq-unsafe": 3,
        "uncategorized locks": 0,
    }
    assert {name: stats[name] for name in expected} == expected
    assert " lock-classes:                               3\n" in stats_text(take(busy.lockdep))


def test_held_lists_every_task_that_holds_something(busy: World) -> None:
    text = held_text(take(busy.lockdep))
    assert "Showing all locks held in the system:" in text
    assert "1 lock held by main/1:\n #0: ffff888000000040 (alpha){+.+.}-{3:3}, at: busy (" in text


def test_saved_file_comes_back_the_same(busy: World, tmp_path: Path) -> None:
    snapshot = take(busy.lockdep)
    snapshot.save(tmp_path / "run.json")
    assert load(tmp_path / "run.json") == snapshot
    assert from_json(json.loads(json.dumps(snapshot.to_json())), "an artifact") == snapshot
    with pytest.raises(LockdepError, match="an artifact is not"):
        from_json(None, "an artifact")


def damaged(data: dict[str, Any]) -> list[Any]:
    return [
        [],
        {"format": "other"},
        {**data, "classes": None},
        {**data, "classes": [{"number": 1}]},
        {**data, "edges": [{**data["edges"][0], "next": 99}]},
        {**data, "chains": [{"context": "0", "locks": [[1]]}]},
        {**data, "stats": {"lock-classes": "many"}},
        {name: value for name, value in data.items() if name != "reports"},
    ]


def test_damaged_files_are_refused_with_one_sentence(
    busy: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.json"
    for data in damaged(take(busy.lockdep).to_json()):
        path.write_text(json.dumps(data))
        with pytest.raises(LockdepError, match=r"run\.json"):
            load(path)
        assert main([str(path)]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    for text in ("", "{", "\x00\x01"):
        path.write_text(text)
        assert main([str(path)]) == 2
    assert main([str(tmp_path / "missing")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_command_shows_the_reports_and_exits_1(
    busy: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot = take(busy.lockdep)
    snapshot.save(tmp_path / "run.json")
    assert main([str(tmp_path / "run.json")]) == 1
    assert capsys.readouterr().out == reports_text(snapshot)
    assert main([str(tmp_path / "run.json"), "--classes", "--stats"]) == 1
    assert capsys.readouterr().out == lockdep_text(snapshot) + "\n" + stats_text(snapshot)
    main([str(tmp_path / "run.json"), "--json"])
    assert json.loads(capsys.readouterr().out)["classes"][0]["name"] == "alpha"


def test_command_exits_0_when_nothing_was_found(tmp_path: Path) -> None:
    Snapshot().save(tmp_path / "run.json")
    command = [
        sys.executable,
        "-m",
        "sugarbush.lockdep",
        str(tmp_path / "run.json"),
        "--chains",
        "--lock-stat",
        "--held",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("all lock chains:\n")


def test_graph_is_written_as_dot_or_svg(busy: World, tmp_path: Path) -> None:
    take(busy.lockdep).save(tmp_path / "run.json")
    for name in ("graph.dot", "graph.svg"):
        main([str(tmp_path / "run.json"), "--graph", str(tmp_path / name)])
        assert "beta" in (tmp_path / name).read_text()
    assert main([str(tmp_path / "run.json"), "--graph", str(tmp_path / "graph.png")]) == 2
    assert main([str(tmp_path / "run.json"), "--graph", str(tmp_path / "no" / "graph.svg")]) == 2


def test_reported_dependencies_are_red(busy: World) -> None:
    snapshot = take(busy.lockdep)
    dot = to_dot(snapshot)
    assert 'c1 -> c2 [label="EN", color=red];' in dot
    assert 'c2 -> c1 [label="EN", color=red];' in dot
    assert 'c1 [label="alpha {+.+.}"];' in dot
    assert to_svg(snapshot).count('stroke="#c00"') == 2


def test_svg_puts_outer_locks_above_inner_ones_and_escapes_names(world: World) -> None:
    a, b, c = world.locks("&a<b> inner innermost")
    world.take(b, c)
    world.take(a, b, c)
    root = ElementTree.fromstring(to_svg(take(world.lockdep)))
    place = {}
    for group in root.iter("{http://www.w3.org/2000/svg}g"):
        rect, text = group[1], group[2]
        place[text.text] = (int(rect.get("x", "")), int(rect.get("y", "")))
    assert place["&a<b>"][1] < place["inner"][1] < place["innermost"][1]
    assert len(set(place.values())) == 3


def test_an_empty_graph_can_be_drawn() -> None:
    assert ElementTree.fromstring(to_svg(Snapshot())).tag.endswith("svg")
    assert to_dot(Snapshot()).startswith("digraph")
