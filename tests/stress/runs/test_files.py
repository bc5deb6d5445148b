"""Files: what is read is small and regular, what is written appears whole, and nobody's artifact is taken away."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path

import pytest

from sugarbush.lockdep.outside.files import (
    UnusableFile,
    check_writable,
    read_json,
    read_text,
    save_text,
    write_text,
)
from sugarbush.stress.witness.artifact import Saved


def test_nobody_sees_half_a_file_while_two_write_it(tmp_path: Path) -> None:
    path = tmp_path / "campaign.json"
    texts = [json.dumps({"by": number, "long": "x" * 20_000}) for number in range(2)]
    write_text(path, texts[0])
    over = threading.Event()

    def write(text: str) -> None:
        for _ in range(60):
            write_text(path, text)

    writers = [threading.Thread(target=write, args=(text,)) for text in texts]
    broken = []

    def read() -> None:
        while not over.is_set():
            if path.read_text() not in texts:
                broken.append(path.read_text())

    reader = threading.Thread(target=read)
    for one in (reader, *writers):
        one.start()
    for one in writers:
        one.join()
    over.set()
    reader.join()
    assert not broken
    assert os.listdir(tmp_path) == ["campaign.json"]


def test_a_file_has_its_name_only_once_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    for name in ("fsync", "link", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, real=real: (done.append(name), real(*args))[1])
    write_text(tmp_path / "new", "a")
    write_text(tmp_path / "new", "b")
    # The last one of each is that of the directory.
    assert done == ["fsync", "link", "fsync", "fsync", "link", "replace", "fsync"]
    assert (tmp_path / "new").read_text() == "b"


def test_a_file_that_cannot_be_written_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "old", "a")

    def full(_file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UnusableFile, match="cannot be written: No space left on device"):
        save_text(tmp_path / "old", "b")
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("old", "a")]


def test_links_devices_and_permissions_stay_what_they_are(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "target", "a")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == 0o640
    (tmp_path / "link").symlink_to("target")
    write_text(tmp_path / "link", "b")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "b"
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == 0o640
    write_text(Path(os.devnull), "c")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_what_is_no_regular_file_or_too_large_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "large").write_bytes(b" " * 1001)
    for path, complaint in (
        (Path("/dev/zero"), "it is no regular file"),
        (tmp_path / "fifo", "it is no regular file"),
        (tmp_path, "it is a directory"),
        (tmp_path / "large", "is larger than"),
        (tmp_path / "none", "No such file"),
    ):
        with pytest.raises(UnusableFile, match=complaint):
            read_text(path, 1000)
    # A FIFO that nobody reads would be waited for when the run is over.
    with pytest.raises(UnusableFile, match="fifo cannot be written"):
        save_text(tmp_path / "fifo", "x")
    with pytest.raises(UnusableFile, match=r"--junit .* cannot be written: Is a directory"):
        check_writable(tmp_path, "--junit")


@pytest.mark.parametrize(
    "text", ["NaN", '{"a": 1e999}', '{"a": -Infinity}', '{"a": 1, "a": 2}', "[1]", '{"a": ' + "9" * 5000]
)
def test_what_python_takes_for_json_and_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x").write_text(text)
    with pytest.raises(UnusableFile, match="is not what it should be"):
        read_json(tmp_path / "x", "what it should be")


def test_what_somebody_else_wrote_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    mine = Saved(path, write_text(path, "a"))
    theirs = Saved(path, write_text(path, "a"))
    assert theirs.ours is None
    mine.remove()
    theirs.remove()
    assert path.exists()
    alone = Saved(tmp_path / "alone.json", write_text(tmp_path / "alone.json", "a"))
    alone.remove()
    assert not alone.path.exists()
