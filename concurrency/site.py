"""Where in the user's code something happened: the innermost frames that are not ours."""

from __future__ import annotations

import sys
from pathlib import PurePath
from types import FrameType

_INTERNAL = ("concurrency", "lockdep")


def _is_internal(frame: FrameType) -> bool:
    name = frame.f_globals.get("__name__", "")
    return name.partition(".")[0] in _INTERNAL


def _is_glue(frame: FrameType) -> bool:
    """A frame of the standard library between a `with` statement and what it enters."""
    return frame.f_globals.get("__name__") == "contextlib"


def _short(path: str) -> str:
    return "/".join(PurePath(path).parts[-2:])


def frames(skip: int = 1) -> list[FrameType]:
    """The user's frames, innermost first."""
    frame: FrameType | None = sys._getframe(skip)
    while frame is not None and (_is_internal(frame) or _is_glue(frame)):
        frame = frame.f_back
    found = []
    while frame is not None and not _is_internal(frame):
        if not _is_glue(frame):
            found.append(frame)
        frame = frame.f_back
    return found


def caller() -> str:
    """``file:line`` of the innermost frame of the user's."""
    for frame in frames(2):
        return f"{_short(frame.f_code.co_filename)}:{frame.f_lineno}"
    return "?"


def stack() -> tuple[str, ...]:
    """The user's stack, innermost first, one ``function at file:line`` a frame."""
    return tuple(
        f"{frame.f_code.co_qualname} at {_short(frame.f_code.co_filename)}:{frame.f_lineno}"
        for frame in frames(2)
    )
