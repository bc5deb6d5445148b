"""Scenario files of a user's own: Python files that register scenarios and bugs when they are loaded."""

from __future__ import annotations

import sys
import traceback
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from sugarbush.concurrency import SugarbushError
from sugarbush.concurrency.core import from_outside
from sugarbush.lockdep.outside import UnusableFile, read_bytes, spelt

_loaded: list[str] = []


class BadFile(SugarbushError):
    """A scenario file cannot be loaded; the message says where and why."""


def load_file(path: Path) -> None:
    """Run the file, once; raises `BadFile` with the place of the error."""
    try:
        full = str(path.resolve())
        if full in _loaded:
            return
        # Python reads it once more, by itself; what is looked at here is that there is an end to it.
        read_bytes(path)
    except (UnusableFile, OSError, ValueError, RuntimeError) as error:
        raise BadFile(f"--load {path}: there is no such Python file: {error}") from None
    name = f"sugarbush_file_{path.stem}"
    spec = spec_from_file_location(name, full, loader=SourceFileLoader(name, full))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(name, None)
        # A file that exits, with whatever status, has registered nothing, or not all: that must not look like a run.
        if from_outside(error):
            raise
        raise BadFile(f"--load {path}: {spelt(error)}{_line(error, full)}") from None
    _loaded.append(full)


def loaded_files() -> tuple[str, ...]:
    """The files that were loaded, for a worker process to load as well."""
    return tuple(_loaded)


def place_of(error: BaseException) -> str | None:
    """``FILE, line N`` where a file that was loaded raised `error`, or what it called; None if it was none of them."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename in _loaded:
            return f"{frame.filename}, line {frame.lineno}"
    return None


def _line(error: BaseException, file: str) -> str:
    if isinstance(error, SyntaxError):
        return ""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" (line {lines[-1]})" if lines else ""
