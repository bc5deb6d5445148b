"""Where in the user's code something happened: the innermost frames that are not ours.

Taking a place is cheap; spelling it is left to whoever prints it.
"""

from __future__ import annotations

import sys
from types import FrameType

from lockdep.trace import RawFrame, Tracer, resolve, short_path

GENERATED = "<concurrency.shared>"
"""The file name of the accessors of shared fields."""

_ours = Tracer(("concurrency", "lockdep"))
_ours_and_glue = Tracer(("concurrency", "lockdep", "contextlib"))
"""Glue: frames of the standard library between a `with` statement and what it enters."""
_files = _ours_and_glue.files
_files[GENERATED] = False


def place(skip: int = 1) -> RawFrame | None:
    """The innermost instruction of the user's; None if there is none. The `skip` innermost frames are known ours."""
    return place_in(sys._getframe(skip))


def place_in(frame: FrameType | None) -> RawFrame | None:
    """The innermost instruction of the user's, seen from `frame`; None if there is none."""
    while frame is not None:
        code = frame.f_code
        user = _files.get(code.co_filename)
        if user is None:
            user = _ours_and_glue.is_user(frame)
        if user:
            return code, frame.f_lasti
        frame = frame.f_back
    return None


def spell(where: RawFrame | None) -> str:
    """A place as ``file:line``."""
    if where is None:
        return "?"
    found = resolve(where)
    return f"{short_path(found.file)}:{found.line}"


def caller() -> str:
    """``file:line`` of the innermost frame of the user's."""
    return spell(place())


def stack_of(frame: FrameType | None) -> tuple[str, ...]:
    """All frames of a thread that are not ours, innermost first, spelt as by `stack`."""
    found = []
    while frame is not None:
        if _ours_and_glue.is_user(frame):
            found.append(f"{frame.f_code.co_qualname} at {spell((frame.f_code, frame.f_lasti))}")
        frame = frame.f_back
    return tuple(found)


def stack(skip: int = 0) -> tuple[str, ...]:
    """The user's stack, innermost first, one ``function at file:line`` a frame; `skip` callers are passed over."""
    frame: FrameType | None = sys._getframe(1 + skip)
    while frame is not None and not _ours_and_glue.is_user(frame):
        frame = frame.f_back
    found = []
    while frame is not None and _ours.is_user(frame):
        if _ours_and_glue.is_user(frame):
            found.append(f"{frame.f_code.co_qualname} at {spell((frame.f_code, frame.f_lasti))}")
        frame = frame.f_back
    return tuple(found)
