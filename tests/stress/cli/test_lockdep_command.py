"""`sugarbush lockdep`: the kernel's listings, of one run or of all in a directory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sugarbush.lockdep.show.merging import merge
from sugarbush.stress.cli.app import main
from sugarbush.stress.witness.artifact import load
from sugarbush.stress.witness.locks import lock_snapshot


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_info:
        main(list(arguments))
    said = capsys.readouterr()
    return int(exit_info.value.code or 0), said.out, said.err


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifacts")
    for arguments in (("--without", "coverage"), ()):
        with pytest.raises(SystemExit):
            main(["run", "brk-false-vma", *arguments, "--out", str(folder)])
    return folder


def test_listings_of_one_artifact(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifact = str(next(folder.glob("*bug-on*.json")))
    status, said, _ = run(capsys, "lockdep", artifact, "--classes", "--chains", "--stats", "--lock-stat")
    assert status == 0
    for part in ("all lock classes:", "all lock chains:", "lock-classes:", "lock_stat version 0.4"):
        assert part in said
    for lock in ("mm->mmap_lock", "anon_vma->rwsem", "ptlock", "fs_reclaim"):
        assert lock in said


def test_a_directory_is_one_listing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said, _ = run(capsys, "lockdep", str(folder), "--json")
    assert status == 0
    merged = json.loads(said)
    names = [row["name"] for row in merged["classes"]]
    assert len(names) == len(set(names))
    alone = [lock_snapshot(load(path)) for path in sorted(folder.glob("*.json"))]
    assert set(names) == {row.name for snapshot in alone for row in snapshot.classes}
    ways = {(edge["prev"], edge["next"]) for edge in merged["edges"]}
    assert len(ways) == len(merged["edges"]) >= max(len(snapshot.edges) for snapshot in alone)
    for row in merged["classes"]:
        assert 1 <= row["forward"] <= len(names)


def test_of_one_snapshot_the_merge_is_that_one(folder: Path) -> None:
    snapshot = lock_snapshot(load(next(folder.glob("*.json"))))
    assert merge([snapshot]) is snapshot
    twice = merge([snapshot, snapshot])
    assert [(row.name, row.forward, row.backward) for row in twice.classes] == [
        (row.name, row.forward, row.backward) for row in snapshot.classes
    ]
    assert set(twice.chains) == {
        type(row)(
            row.context, tuple((number - snapshot.classes[0].number, read) for number, read in row.locks)
        )
        for row in snapshot.chains
    }


def test_a_graph_is_written(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("graph.svg", "graph.dot"):
        assert run(capsys, "lockdep", str(folder), "--graph", str(tmp_path / name))[0] == 0
        assert "mmap_lock" in (tmp_path / name).read_text(encoding="utf-8")
    status, _, complaint = run(capsys, "lockdep", str(folder), "--graph", "graph.png")
    assert status == 2
    assert "writes .dot or .svg" in complaint
