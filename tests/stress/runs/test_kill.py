"""What was found is on disk, whatever ends a run: a killed worker, a scheduler that goes away, a full disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

FOUND = ("brk-false-vma", "--without", "coverage", "--keep-going")


def started(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sugarbush", "run", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until_found(process: subprocess.Popen[str], folder: Path) -> None:
    while not list(folder.glob("brk-false-vma*.json")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that run executions: children of the server that forks them."""
    family = psutil.Process(process.pid).children(recursive=True)
    return [one for one in family if one.ppid() != process.pid]


def test_a_killed_worker_loses_nothing(tmp_path: Path) -> None:
    process = started(*FOUND, "--schedules", 400, "--jobs", 2, "--out", tmp_path, "--json")
    until_found(process, tmp_path)
    killed = False
    while not killed and process.poll() is None:
        for one in workers(process):
            one.kill()
            killed = True
            break
        time.sleep(0.01)
    out, err = process.communicate()
    assert killed
    assert process.returncode == 1, err
    answer = json.loads(out.splitlines()[-1])
    assert answer["failures"]
    assert all(Path(failure["artifact"]).is_file() for failure in answer["failures"])


def test_a_run_that_is_killed_leaves_its_artifacts(tmp_path: Path) -> None:
    process = started(*FOUND, "--seconds", 60, "--out", tmp_path)
    until_found(process, tmp_path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (artifact,) = list(tmp_path.glob("brk-false-vma*.json"))[:1]
    done = subprocess.run(
        [sys.executable, "-m", "sugarbush", "replay", str(artifact)], capture_output=True, check=False
    )
    assert done.returncode == 1


def test_a_scheduler_that_goes_away_is_one_line_and_nothing_is_lost(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    script = (
        "import sys, distributed\n"
        "if __name__ == '__main__':\n"
        "    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, host='127.0.0.1', dashboard_address=None)"
        " as c:\n"
        "        print(c.scheduler_address, flush=True); sys.stdin.read()\n"
    )
    file = tmp_path / "cluster.py"
    file.write_text(script, encoding="utf-8")
    cluster = subprocess.Popen(
        [sys.executable, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert cluster.stdout is not None
        address = cluster.stdout.readline().strip()
        out = tmp_path / "out"
        process = started(*FOUND, "--seconds", 120, "--executor", address, "--out", out)
        until_found(process, out)
        for one in psutil.Process(cluster.pid).children(recursive=True):
            one.kill()
        cluster.kill()
        _, err = process.communicate()
    finally:
        cluster.kill()
        cluster.communicate()
    assert process.returncode in (1, 2), err
    assert "Traceback" not in err
    assert list(out.glob("brk-false-vma*.json"))


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for almost nothing."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        (place / "filler").write_bytes(b"x" * 8192)
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_said_and_the_schedule_is_printed(full_disk: Path) -> None:
    os.sync()
    process = started(*FOUND, "--schedules", 300, "--out", full_disk, "--json")
    out, err = process.communicate()
    assert process.returncode == 1, err
    answer = json.loads(out.splitlines()[-1])
    assert answer["failures"]
    assert "not saved" in out
    assert "schedule: s1:" in out
    assert [path.name for path in full_disk.iterdir()] == ["filler"]
