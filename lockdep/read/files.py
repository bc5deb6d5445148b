"""Logs on disk and in pipes: opened so that nothing waits for ever, read as streams, also compressed ones."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, cast

from sugarbush.lockdep.outside import UnusableFile, reason
from sugarbush.lockdep.read.headlines import PARTS
from sugarbush.lockdep.read.model import LogReport
from sugarbush.lockdep.read.scan import BLOCK, read_stream

STDIN: Final = Path("-")
_MAGIC: Final[tuple[tuple[bytes, Callable[[BinaryIO], object]], ...]] = (
    (b"\x1f\x8b", lambda raw: gzip.GzipFile(fileobj=raw)),
    (b"BZh", bz2.BZ2File),
    (b"\xfd7zXZ", lzma.LZMAFile),
)
_OURS: Final = (b'"sugarbush"', b'"sugarbush-lockdep-')
_PARTS: Final = tuple(part.encode() for part in PARTS)


def is_log(path: Path) -> bool:
    """Whether a path is to be read as logs: standard input, what is no JSON file of ours, a directory without one.

    A directory in which a run has left artifacts has other files of that run, too: it is one of artifacts.
    """
    if path == STDIN:
        return True
    if path.is_dir():
        return not any(map(_is_ours, inside := _inside(path))) and any(map(is_log, inside))
    if path.suffix != ".json":
        return True
    head = _head(path)
    return not _is_ours(path) and any(part in head for part in _PARTS)


def _is_ours(path: Path) -> bool:
    """Whether a file is an artifact, or what a validator saved."""
    return path.suffix == ".json" and any(mark in _head(path)[:4096] for mark in _OURS)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(BLOCK)
    except OSError:
        # Whoever reads it next says why it cannot be read.
        return b""


def logs_in(paths: Iterable[Path]) -> Iterator[Path]:
    """The files that are meant: of a directory those in it, by name, without directories below and without
    our own JSON.
    """
    for path in paths:
        if path != STDIN and path.is_dir():
            yield from (one for one in _inside(path) if is_log(one))
        else:
            yield path


def _inside(path: Path) -> list[Path]:
    try:
        return sorted(one for one in path.iterdir() if one.is_file())
    except OSError as error:
        raise UnusableFile(f"{path} cannot be read: {reason(error)}") from None


def reports_of(paths: Iterable[Path]) -> Iterator[LogReport]:
    """The reports of logs, file by file; raises `UnusableFile` for one that cannot be read."""
    for path in logs_in(paths):
        with opened(path) as stream:
            yield from read_stream(stream, str(path))


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A log as a stream of bytes, uncompressed. Pipes are waited for, devices are refused: one may have no
    end.
    """
    try:
        if path == STDIN:
            yield _plain(sys.stdin.buffer)
            return
        with _file(path) as stream:
            yield _plain(stream)
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise UnusableFile(f"{path} cannot be read: {reason(error)}") from None


def _file(path: Path) -> BinaryIO:
    try:
        mode = os.stat(path).st_mode
    except ValueError as error:
        raise UnusableFile(f"{path} cannot be read: {reason(error)}") from None
    if stat.S_ISDIR(mode):
        raise UnusableFile(f"{path} cannot be read: it is a directory")
    if not stat.S_ISREG(mode) and not stat.S_ISFIFO(mode):
        raise UnusableFile(
            f"{path} cannot be read: it is neither a file nor a pipe; save what it gives to a file first"
        )
    return path.open("rb")


def _plain(stream: BinaryIO) -> BinaryIO:
    peek = getattr(stream, "peek", None)
    head = bytes(peek(6)[:6]) if peek is not None else b""
    for magic, unpacked in _MAGIC:
        if head.startswith(magic):
            return cast(BinaryIO, unpacked(stream))
    return stream
