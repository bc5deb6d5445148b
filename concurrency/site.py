"""Where in the user's code something happened: the innermost frames that are not ours.

Taking a place is cheap; spelling it is left to whoever prints it.
"""

from __future__ import annotations

import sys
from types import FrameType

from lockdep.trace import RawFrame, Tracer, resolve, short_path

GENERATED = "<concurrency.shared>"
"""The file name of the accessors of shared fields."""

_tracer = Tracer(("concurrency", "lockdep"))
"""Passes over frames of ours and those of the standard library, between a `with` statement and what it enters, say."""
_files = _tracer.files
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
            user = _tracer.is_user(frame)
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
    """All frames of a thread that are the user's, innermost first, one ``function at file:line`` a frame."""
    # Frames of ours in the middle are passed over, too: a condition that wait_event() looks at has been called by
    # somebody who waits.
    found = []
    while frame is not None:
        if _tracer.is_user(frame):
            found.append(f"{frame.f_code.co_qualname} at {spell((frame.f_code, frame.f_lasti))}")
        frame = frame.f_back
    return tuple(found)


def stack(skip: int = 0) -> tuple[str, ...]:
    """The user's stack, spelt as by `stack_of`; `skip` callers are passed over."""
    return stack_of(sys._getframe(1 + skip))
